"""What the operator chose for the HTTP side's endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..modelfile.adapter import AdapterFile
from .chat_settings import ChatSettings
from .messages import Overflow


@dataclass(frozen=True)
class ServerSettings:
    """Each default is what holds where nothing is said."""

    model_path: str
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = ()
    """Empty: no key is asked for."""
    max_body_bytes: int = 64 << 20
    slots_endpoint: bool = True
    """`GET /slots` answers."""
    metrics_endpoint: bool = False
    """`GET /metrics` answers."""
    props_endpoint: bool = False
    """`POST /props` answers."""
    slot_save_path: str = ""
    """Folder for what clients save of slots; empty: they may not."""
    show_prompts: bool = False
    """`/slots` shows what clients wrote and got."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `SamplingParams` that are not the model's nor llama-server's."""
    n_predict: int = -1
    n_keep: int = 0
    stops: tuple[str, ...] = ()
    """Strings that end the answers of requests that name none."""
    adapters: tuple[AdapterFile, ...] = ()
    adapter_scales: tuple[float, ...] = ()
    """One for each."""
    n_batch: int = 2048
    """Most tokens in a step."""
    spm_infill: bool = False
    """`/infill` shows a model what comes after the gap first."""
    embeddings: bool = False
    """The engine embeds, and does nothing else."""
    reranking: bool = False
    """It scores documents, and embeds nothing."""
    special: bool = False
    """Control tokens are shown in answers."""
    cache_prompt: bool = True
    ping_interval_s: int = 30
    """Silence after which a stream gets an empty line; -1: never."""
    chat: ChatSettings = field(default_factory=ChatSettings)
    overflow: Overflow = "stop"
    """For requests that do not say what to do when the context is full."""
    build_info: str = ""
    hang_timeout_s: float = 600.0
    """An engine that has work and says nothing for so long is replaced; 0: never. It answers only
    between steps, so this has to be longer than the longest step."""

    @property
    def model_name(self) -> str:
        """First alias in sorted order, as llama-server, or the file's name."""
        if self.aliases:
            return min(self.aliases)
        return self.model_path.replace("\\", "/").rsplit("/", 1)[-1]
