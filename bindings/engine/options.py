"""What a user may choose about an engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

BACKENDS = ("cuda", "metal", "hip", "vulkan", "cpu")
"""Backends by preference, best first."""
SANITIZERS = ("address", "undefined")


@dataclass(frozen=True)
class BuildOptions:
    """The choices that make one engine different from another; `jobs` is the exception."""

    backend: str = "auto"
    """One of `BACKENDS`, or "auto": the best that this machine can build."""
    rpc: bool = False
    """Also build llama.cpp's RPC backend and its server."""
    unpatched: bool = False
    """Leave the patch series out."""
    bench_patches: tuple[str, ...] = ()
    """Patches of `patches/bench` on top of the series, for an engine that is only measured."""
    sanitize: tuple[str, ...] = ()
    """Sanitisers of our own native files: "address", "undefined"."""
    tools: bool = False
    """Also build llama-server, llama-quantize, llama-bench and their like."""
    cuda_architectures: tuple[str, ...] = ()
    """As in CMAKE_CUDA_ARCHITECTURES; empty means those of the cards found."""
    source: Path | None = None
    """A llama.cpp tree or archive instead of the pinned one."""
    definitions: tuple[tuple[str, str], ...] = ()
    """More CMake definitions, as (name, value)."""
    jobs: int | None = None
    """Compile jobs at once; None means one per processor. Changes nothing in the result."""

    def __post_init__(self) -> None:
        """Refuse names that do not exist. Raises ValueError."""
        _known("backend", (self.backend,), ("auto", *BACKENDS))
        _known("sanitizer", self.sanitize, SANITIZERS)

    def with_backend(self, backend: str) -> BuildOptions:
        """The same choices for another backend."""
        return replace(self, backend=backend)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a manifest; `from_dict` reads them back."""
        return {
            "backend": self.backend,
            "rpc": self.rpc,
            "unpatched": self.unpatched,
            "bench_patches": list(self.bench_patches),
            "sanitize": list(self.sanitize),
            "tools": self.tools,
            "cuda_architectures": list(self.cuda_architectures),
            "source": None if self.source is None else str(self.source),
            "definitions": [list(pair) for pair in self.definitions],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BuildOptions:
        """Read what `as_dict` wrote. Raises KeyError, TypeError, ValueError on anything else."""
        return cls(
            backend=str(values["backend"]),
            rpc=bool(values["rpc"]),
            unpatched=bool(values["unpatched"]),
            bench_patches=tuple(values.get("bench_patches", ())),
            sanitize=tuple(values["sanitize"]),
            tools=bool(values["tools"]),
            cuda_architectures=tuple(values["cuda_architectures"]),
            source=None if values["source"] is None else Path(values["source"]),
            definitions=tuple((str(name), str(value)) for name, value in values["definitions"]),
        )


def _known(what: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}: choose from {', '.join(known)}")
