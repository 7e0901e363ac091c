"""What a driver takes of a device's memory beside the buffers: its context, kernels, pools.

Measured once for a device, driver and engine: the device's free memory is read before and after a
tiny model works there, less the buffers that the engine knows of. A process that asks how much is
free has a context already, so what that takes is seen by a second one.

A driver without VK_EXT_memory_budget (Mesa's software driver, some old ones) always says that all
is free, and nothing can be measured: the share is 0 then, and the first plan says so. For a
software device 0 is right: what its driver takes comes out of the system's memory, and the size
of its heap is only a number that no buffer but ours counts against.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import _ffi
from ..convert.byte_vocabulary import ByteVocabulary
from ..convert.random_dense import Qwen3Spec
from ..convert.random_gguf import write_random
from ..device import Device
from ..engine.cache import cache_directory
from ..engine.progress import say
from ..errors import EngineError
from ..part import whole

TIMES = 3

PROBE = """
import sys
from pathlib import Path

from pannier import Batch, Model, _ffi, devices

engine, device, path = sys.argv[1:]

_ffi.load(Path(engine))


def free():
    return next(one.memory_free for one in devices() if one.name == device)


def say(*numbers):
    print(*numbers, flush=True)


say(free())
if sys.stdin.readline():
    say(free())
if sys.stdin.readline():
    before = free()
    with Model(path, devices=(device,)) as model:
        with model.context(n_ctx=512, n_parallel=2, n_threads=1) as context:
            for tokens in (list(range(1, 65)), [1]):
                batch = Batch()
                batch.add(0, tokens, logits=len(tokens) == 1)
                context.step(batch)
            rows = context.memory().rows
            say(before, free(), sum(row.bytes for row in rows if row.device == device))
"""


@dataclass(frozen=True)
class Sample:
    """Free bytes of the device: with one process that has a context, with a second one, and in the
    first, before and after it worked with so many bytes of buffers."""

    alone: int
    beside: int
    before: int
    after: int
    buffers: int

    @property
    def tells(self) -> bool:
        """Whether the driver says what is in use: buffers leave less free."""
        return len({self.alone, self.beside, self.before, self.after}) > 1

    @property
    def share_bytes(self) -> int:
        """One context's share, and what working adds beside the buffers."""
        return max(0, self.alone - self.beside) + max(0, self.before - self.after - self.buffers)


def headroom_bytes(device: Device) -> int:
    """Of a device, measured at the first call on this machine; 0 for the CPU.

    Raises EngineError where the device does not work.
    """
    if device.type not in ("gpu", "igpu"):
        return 0
    known = _read()
    key = identity(device)
    if key not in known:
        known[key] = measured(device)
        _write(known)
    return known[key]


def measured(device: Device) -> int:
    """The median of a few measurements, which other processes on the device disturb."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(Path(folder) / "probe.gguf", probe_spec())
        samples = [_measure(device, path) for _ in range(TIMES)]
    if not any(sample.tells for sample in samples):
        say(
            f"{device.name} ({device.description}) does not tell how much of its memory is in use: "
            "what its driver takes beside buffers is not known and counts as 0"
        )
    return int(statistics.median(sample.share_bytes for sample in samples))


def probe_spec() -> Qwen3Spec:
    """A model of two layers and a few megabytes."""
    return Qwen3Spec(
        name="probe",
        n_embd=256,
        n_layer=2,
        n_head=4,
        n_head_kv=2,
        head_dim=64,
        n_ff=512,
        vocabulary=ByteVocabulary((" a", " b", "cd")),
        tied=True,
    )


def identity(device: Device) -> str:
    """Tells devices, drivers and engines apart."""
    words = (device.backend, device.description, device.memory_total, driver_version(),
             _ffi.library().path.parent.parent.name)  # fmt: skip
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def driver_version() -> str:
    """NVIDIA's, or that of the kernel, which other drivers come with."""
    driver = Path("/proc/driver/nvidia/version")
    return driver.read_text() if driver.exists() else platform.release()


def _measure(device: Device, model: Path) -> Sample:
    with _probe(device, model) as one:
        [alone] = _read_numbers(one)
        with _probe(device, model) as other:
            _read_numbers(other)
            [beside] = _ask(one)
        before, after, buffers = _ask(one)
    return Sample(alone, beside, before, after, buffers)


def _probe(device: Device, model: Path) -> subprocess.Popen[str]:
    """Ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", PROBE, str(_ffi.library().path), device.name, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ask(probe: subprocess.Popen[str]) -> list[int]:
    assert probe.stdin is not None
    probe.stdin.write("\n")
    probe.stdin.flush()
    return _read_numbers(probe)


def _read_numbers(probe: subprocess.Popen[str]) -> list[int]:
    assert probe.stdout is not None and probe.stderr is not None
    line = probe.stdout.readline()
    if not line:
        raise EngineError(
            "the engine ended while the driver's share of a device was measured: "
            + probe.stderr.read().strip().rpartition("\n")[2]
        )
    return [int(word) for word in line.split()]


def _path() -> Path:
    return cache_directory() / "headroom.json"


def _read() -> dict[str, int]:
    try:
        known = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): int(value) for key, value in known.items()}


def _write(known: dict[str, int]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(known, indent=1))
