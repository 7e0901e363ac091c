"""Files of the Hugging Face hub."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..errors import ArgumentError


def download(
    repo_id: str,
    pattern: str | None,
    others: Sequence[str],
    local_dir: str | None,
    cache_dir: str | None,
) -> str:
    """The path of the one file of a repository that a pattern matches, when it and what `others`
    match are there. Raises ArgumentError, and ImportError without huggingface-hub."""
    from huggingface_hub import HfApi, hf_hub_download

    files = HfApi().list_repo_files(repo_id)
    name = _only(repo_id, pattern, files)
    for one in [name, *(_only(repo_id, other, files) for other in others)]:
        path = hf_hub_download(repo_id, one, local_dir=local_dir, cache_dir=cache_dir)
        if one == name:
            found = path
    return os.fspath(found)


def _only(repo_id: str, pattern: str | None, files: Sequence[str]) -> str:
    """Names match in whole, or without their folder."""
    wanted = pattern or "*.gguf"
    found = [
        file
        for file in files
        if fnmatch.fnmatch(file, wanted) or fnmatch.fnmatch(PurePosixPath(file).name, wanted)
    ]
    if len(found) != 1:
        what = "No file" if not found else "Multiple files"
        raise ArgumentError(
            f"{what} found in {repo_id} that match {wanted}: it has "
            f"{', '.join(found or files) or 'no files'}"
        )
    return found[0]
