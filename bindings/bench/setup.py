"""The servers that a bench compares: one for each number of clients, alike but for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ArgumentError
from ..modelfile import ModelFile
from ..server.config import EngineConfig
from ..server.loading import n_prefixes
from .load import Load

PANNIER, SPLIT, UNFIXED = "pannier", "pannier, split cache", "without the fix, split cache"


@dataclass(frozen=True)
class Setup:
    """A way of serving. Its memory is reserved at the start, so each number of clients gets a
    server of its own: one server would show the same bytes whoever is connected."""

    label: str
    config: EngineConfig
    """That of the most clients. With `n_ctx` 0, a context has what its clients need."""

    def at(self, n_clients: int, load: Load) -> EngineConfig:
        """The server for so many clients. It has as many sequences for prefixes as any other, so
        that what is between two servers is their clients."""
        most = self.config
        n_ctx = most.n_ctx or load.n_ctx(n_clients, most.kv_unified)
        return replace(most, n_parallel=n_clients, n_ctx=n_ctx)


def setups(config: EngineConfig, unfixed: str | None, file: ModelFile, load: Load) -> list[Setup]:
    """What to measure; `unfixed` is the engine without the fix, to compare with, if any.

    There the size of the cache is one and the same for all numbers of clients: that it grew all
    the same was the fault.
    """
    if unfixed is None:
        return [_setup(PANNIER, config, file, load)]
    n_ctx = config.n_ctx or load.n_ctx(config.n_parallel, unified=False)
    config = replace(config, n_ctx=n_ctx)
    split = replace(config, kv_unified=False)
    return [
        _setup(PANNIER, config, file, load),
        _setup(SPLIT, split, file, load),
        _setup(UNFIXED, replace(split, engine=unfixed), file, load),
    ]


def _setup(label: str, config: EngineConfig, file: ModelFile, load: Load) -> Setup:
    n_train = n_ctx_train(file)
    most = Setup(label, config).at(config.n_parallel, load)
    return Setup(label, replace(config, n_prefixes=n_prefixes(most, n_train)))


def check(config: EngineConfig, file: ModelFile, load: Load, *, compared: bool) -> None:
    """Raises ArgumentError for clients that this model or this context has no room for."""
    metadata = file.metadata
    if not metadata.get(f"{file.architecture}.attention.causal", True):
        raise ArgumentError(
            f"{file.path.name} ({file.architecture}) has no memory of tokens: it embeds, and its "
            "clients hold nothing"
        )
    n_client = load.n_prompt + load.n_predict
    n_train = n_ctx_train(file)
    if not config.n_ctx and n_train and n_client > n_train:
        raise ArgumentError(
            f"--prompt {load.n_prompt} and --predict {load.n_predict} are {n_client} tokens; "
            f"this model was trained with {n_train}: ask for less, or set a context with -c"
        )
    unified = config.kv_unified and not compared
    n_needed = load.n_ctx(config.n_parallel, unified)
    if config.n_ctx and n_needed > config.n_ctx:
        shared = f", {load.n_shared} of them shared" if unified else " in a split cache"
        raise ArgumentError(
            f"-c {config.n_ctx} has no room for {config.n_parallel} clients of {n_client} tokens"
            f"{shared}: that takes {n_needed}; lower --prompt, --predict or -np, or raise -c"
        )


def n_ctx_train(file: ModelFile) -> int:
    """Tokens that the model was trained with; 0 where the file does not say."""
    return int(_number(file.metadata, f"{file.architecture}.context_length"))


def _number(metadata: Mapping[str, object], key: str) -> int:
    value = metadata.get(key, 0)
    return value if isinstance(value, int) else 0
