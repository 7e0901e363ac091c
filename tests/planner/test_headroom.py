"""The driver's share, measured by real processes on a device that a file plays.

What is faked is what the probe asks of the engine: each process takes a context's bytes when it
starts, and buffers and pools when it works, as a driver would, and gives them back when it ends.
"""

from __future__ import annotations

import json

import pytest

from pannier.device import Device
from pannier.errors import EngineError
from pannier.planner import headroom

TOTAL, CONTEXT, POOL, BUFFERS = 1 << 30, 100 << 20, 7 << 20, 40 << 20

# The file holds what is in use. Argument 3 is the model's path, which nothing here reads.
PROBE = """
import fcntl, pathlib, sys

engine, device, model = sys.argv[1:]
used = pathlib.Path(engine)
held = 0


def take(n):
    global held
    held += n
    with used.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = int(file.read()) + n
        file.seek(0)
        file.write(f"{left:020}")


def free():
    return {TOTAL} - int(used.read_text()) if {TELLS} else {TOTAL}


def say(*numbers):
    print(*numbers, flush=True)


try:
    take({CONTEXT})
    say(free())
    if sys.stdin.readline():
        say(free())
    if sys.stdin.readline():
        before = free()
        take({BUFFERS} + {POOL})
        {EVENT}
        say(before, free(), {BUFFERS})
finally:
    take(-held)
"""


class Machine:
    """A GPU whose memory is a file."""

    def __init__(self, folder, monkeypatch):
        self.used = folder / "used"
        self.used.write_text(f"{50 << 20:020}")
        self.device = Device("GPU0", "a card", "fake", "gpu", TOTAL, TOTAL)
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PANNIER_CACHE", str(folder / "cache"))

        class Library:
            path = self.used

        monkeypatch.setattr(headroom._ffi, "library", Library)
        self.probe()

    def probe(self, tells=True, event="pass"):
        values = {"TOTAL": TOTAL, "CONTEXT": CONTEXT, "POOL": POOL, "BUFFERS": BUFFERS}
        text = PROBE
        for name, value in (values | {"TELLS": tells, "EVENT": event}).items():
            text = text.replace(f"{{{name}}}", str(value))
        self._monkeypatch.setattr(headroom, "PROBE", text)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def test_a_context_and_pools_but_no_buffers(machine, capsys):
    assert headroom.measured(machine.device) == CONTEXT + POOL
    assert int(machine.used.read_text()) == 50 << 20, "a probe is still there"
    assert capsys.readouterr().err == ""


def test_a_driver_that_tells_nothing(machine, capsys):
    machine.probe(tells=False)
    assert headroom.headroom_bytes(machine.device) == 0
    assert "GPU0 (a card) does not tell how much" in capsys.readouterr().err
    assert headroom.headroom_bytes(machine.device) == 0
    assert capsys.readouterr().err == "", "said at every plan"


def test_it_is_measured_once(machine):
    share = headroom.headroom_bytes(machine.device)
    machine.probe(event="raise SystemExit(1)")
    assert headroom.headroom_bytes(machine.device) == share
    other = Device("GPU1", "another card", "fake", "gpu", TOTAL, TOTAL)
    with pytest.raises(EngineError):
        headroom.headroom_bytes(other)


def test_a_record_that_is_damaged_is_made_again(machine):
    share = headroom.headroom_bytes(machine.device)
    path = headroom._path()
    assert list(json.loads(path.read_text()).values()) == [share]
    path.write_text("{")
    assert headroom.headroom_bytes(machine.device) == share
    assert list(json.loads(path.read_text()).values()) == [share]
    assert [file.name for file in path.parent.iterdir()] == ["headroom.json"]


def test_a_device_that_does_not_work(machine):
    machine.probe(event="raise RuntimeError('device lost')")
    with pytest.raises(EngineError, match=r"was measured: RuntimeError: device lost"):
        headroom.measured(machine.device)


def test_another_driver_or_engine_is_another_device(machine, monkeypatch):
    seen = {headroom.identity(machine.device)}
    for change in ({"description": "b"}, {"backend": "b"}, {"memory_total": 1}):
        seen.add(headroom.identity(Device(**(machine.device.__dict__ | change))))
    monkeypatch.setattr(headroom.platform, "release", lambda: "another kernel")
    seen.add(headroom.identity(machine.device))
    assert len(seen) == 5
    freer = Device(**(machine.device.__dict__ | {"memory_free": 1}))
    assert headroom.identity(freer) in seen


def test_the_cpu_has_no_driver():
    assert headroom.headroom_bytes(Device("CPU", "", "cpu", "cpu", TOTAL, TOTAL)) == 0


@pytest.mark.parametrize(
    ("sample", "share", "tells"),
    [
        (headroom.Sample(10, 8, 8, 3, 4), 2 + 1, True),
        (headroom.Sample(10, 10, 10, 10, 4), 0, False),
        (headroom.Sample(10, 12, 12, 9, 4), 0, True),
    ],
)
def test_a_sample(sample, share, tells):
    """Somebody else's memory that comes free meanwhile makes no negative share."""
    assert (sample.share_bytes, sample.tells) == (share, tells)
