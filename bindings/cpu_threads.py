"""On which CPUs a context's threads run, and how eagerly."""

from __future__ import annotations

from dataclasses import dataclass

from . import _ffi


@dataclass(frozen=True)
class CpuThreads:
    """Threads that stay between graphs. Names and meanings are llama.cpp's.

    Source: `ggml_threadpool_params` in `ggml/include/ggml.h`.
    """

    cpus: tuple[int, ...] = ()
    """Empty: any."""
    strict: bool = False
    """Each thread stays on one of them."""
    priority: int = 0
    """-1 low, 0 normal, 1 medium, 2 high, 3 realtime."""
    poll: int = 50
    """0: threads that have nothing to do sleep at once; 100: they look for work longest."""

    def native(self) -> _ffi.thread_params:
        """As the engine takes it; valid for as long as it is kept. Raises `ArgumentError`."""
        return _ffi.thread_params(
            n_cpus=len(self.cpus),
            cpus=_ffi.int32s(self.cpus) if self.cpus else None,
            strict=self.strict,
            priority=self.priority,
            poll=self.poll,
        )


def set_numa(strategy: str) -> None:
    """Spread threads over the nodes of a NUMA machine: "distribute", "isolate" or "numactl".

    Once in a process, before any model is loaded.
    """
    library = _ffi.library()
    library.check(library.numa_init({"distribute": 1, "isolate": 2, "numactl": 3}[strategy]))
