"""How much of a device a plan may take."""

from __future__ import annotations

from dataclasses import dataclass

from .. import memory

HOST = memory.HOST
"""The device that system memory is counted under."""


@dataclass(frozen=True)
class Budget:
    """A device and what may be used of it, in bytes."""

    device: str
    limit_bytes: int
    """All that this process may take there."""
    headroom_bytes: int = 0
    """What a context's driver, kernels and pools take of that, outside any buffer."""
    type: str = "gpu"
    """"gpu", "igpu" or "cpu"."""

    @property
    def usable_bytes(self) -> int:
        """For buffers."""
        return max(0, self.limit_bytes - self.headroom_bytes)
