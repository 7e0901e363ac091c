"""Checkpoints by their name on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import ConvertError

HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

_FILES = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.safetensors", "*.md")
"""What a conversion reads; other formats of the weights are left where they are."""

_NEXT_STEP = {
    "GatedRepoError": "accept its terms on the hub, then log in with `hf auth login` or set "
    "HF_TOKEN",
    "RepositoryNotFoundError": "check the spelling; a private model needs `hf auth login` or "
    "HF_TOKEN",
    "RevisionNotFoundError": "check the part after @",
    "LocalEntryNotFoundError": "it is not in the cache and the hub cannot be reached; check the "
    "network, HF_ENDPOINT and HF_HUB_OFFLINE, or name a local folder",
}


def local_folder(src: str | os.PathLike[str]) -> Path:
    """The folder of a checkpoint: `src` itself, or the hub's cache with `src` in it.

    A folder or file of that name goes before the hub. huggingface_hub does the fetching, by its
    own rules: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. Raises ConvertError.
    """
    match = HUB_ID.fullmatch(os.fspath(src))
    if match is None or Path(src).exists():
        return Path(src).absolute()
    return fetch(match["id"], match["revision"])


def fetch(model_id: str, revision: str | None) -> Path:
    """Fetch a model's configuration, tokenizer and safetensors into the hub's cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConvertError(
            f"to fetch {model_id} from the hub this Python needs huggingface_hub: "
            "pip install 'pannier[convert]'"
        ) from error
    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=list(_FILES)))
    except Exception as error:  # its own errors, and those of two HTTP libraries
        name = next((c.__name__ for c in type(error).__mro__ if c.__name__ in _NEXT_STEP), "")
        shown = f"{model_id}@{revision}" if revision else model_id
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = _NEXT_STEP.get(name, "there is no folder of that name either")
        raise ConvertError(f"{shown} cannot be fetched: {reason}; {hint}") from error
