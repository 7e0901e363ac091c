"""An engine like another one, without llama.cpp's fix of the hybrid models' KV cache."""

from __future__ import annotations

from dataclasses import replace

from ..engine import Engine, ensure_engine
from ..errors import ArgumentError

PATCH = "unfixed"


def unfixed_engine(engine: Engine) -> Engine:
    """Built at the first call. Raises ArgumentError for an engine that is no patched one of ours,
    and what a build raises."""
    options = engine.manifest.options
    if options.unpatched or options.bench_patches or options.sanitize:
        raise ArgumentError(
            f"{engine.name} is made to compare or to debug: compare with a plain engine"
        )
    return ensure_engine(replace(options, tools=False, bench_patches=(PATCH,)))
