"""The conversion itself: check, run llama.cpp's conversion in a child process, rename."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich.filesize import decimal

from ..engine import source_tree
from ..errors import ConvertError
from .checkpoint import Checkpoint, open_checkpoint
from .job import Job
from .upstream import require_architecture, require_modules, require_pretokenizer

WeightType = Literal["f32", "f16", "bf16", "q8_0", "auto"]

_BYTES_PER_WEIGHT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}
_AUTO = {"bfloat16": "bf16"}


@dataclass(frozen=True)
class Plan:
    """What a conversion writes."""

    out: Path
    architecture: str
    type: str
    n_tensors: int
    n_bytes: int
    """Bytes of the tensors; the file adds its header and vocabulary."""
    types: dict[str, int]
    """How many tensors of each type."""
    pre: str | None
    """llama.cpp's name of the pre-tokenizer; None for tokenizers without one."""


@dataclass
class ConvertProgress:
    """How far a conversion is. `plan` is known before the first byte is written."""

    plan: Plan
    tensor: str = ""
    n_tensors: int = 0
    n_bytes: int = 0


OnProgress = Callable[[ConvertProgress], None]


@dataclass(frozen=True)
class Request:
    """A conversion as asked for, checked and with its defaults filled in."""

    checkpoint: Checkpoint
    tree: Path
    out: Path
    type: str
    name: str | None = None
    pre: str | None = None
    dry_run: bool = False
    verbose: bool = False


def convert(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    type: WeightType = "auto",
    name: str | None = None,
    pre: str | None = None,
    source: Path | str | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Path:
    """Convert the checkpoint folder `src` to a GGUF file and return its path.

    out: file, or folder for a file named after the checkpoint; default the current folder.
    type: type of the weight matrices; "auto" is bf16 for bf16 checkpoints, else f16.
    name: `general.name` in the file; default from the model card or the folder's name.
    pre: llama.cpp's name of the pre-tokenizer, where it cannot be found out.
    source: llama.cpp tree or archive to take the conversion from; default the pinned one.
    on_progress: called with the plan before the first byte, then after each tensor.

    The file is written beside `out` and renamed when whole: whatever happens, `out` is the old
    file, the new one, or absent. Raises ConvertError, before any long work where it can.
    """
    request = make_request(src, out, type=type, name=name, pre=pre, source=source, verbose=verbose)
    return run(request, on_progress).out


def plan(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Plan:
    """What `convert` with the same arguments would write. Reads headers, writes nothing."""
    return run(make_request(src, out, dry_run=True, **options))


def make_request(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    type: str = "auto",
    source: Path | str | None = None,
    pre: str | None = None,
    **options: Any,
) -> Request:
    """Check all that can be checked without torch; see `convert` for the arguments."""
    if type not in get_args(WeightType):
        raise ConvertError(f"no weight type {type!r}: one of {', '.join(get_args(WeightType))}")
    checkpoint = open_checkpoint(Path(src).absolute())
    tree = source_tree(source)
    require_architecture(checkpoint, tree)
    if pre is not None:
        require_pretokenizer(pre, tree)
    require_modules()
    type = _AUTO.get(checkpoint.dtype, "f16") if type == "auto" else type
    target = output_path(checkpoint, out, type)
    request = Request(checkpoint, tree, target, type, pre=pre, **options)
    if not request.dry_run:
        require_room(request)
    return request


def output_path(checkpoint: Checkpoint, out: str | os.PathLike[str] | None, type: str) -> Path:
    """The file to write. Raises ConvertError if its folder does not exist."""
    path = Path.cwd() if out is None else Path(out).absolute()
    if path.is_dir():
        path /= f"{checkpoint.folder.resolve().name}-{type}.gguf"
    if not path.parent.is_dir():
        raise ConvertError(f"there is no folder {path.parent} to write {path.name} to")
    return path


def require_room(request: Request) -> None:
    """Raise ConvertError if the file will clearly not fit; the child looks again, exactly."""
    n_weights = request.checkpoint.n_weights
    if n_weights is None:
        return
    free = shutil.disk_usage(request.out.parent).free
    needed = int(n_weights * _BYTES_PER_WEIGHT[request.type])
    if free < needed:
        raise ConvertError(
            f"not enough disk space in {request.out.parent}: {n_weights} weights in "
            f"{request.type} need {decimal(needed)}, {decimal(free)} are free; choose another "
            "place with -o or a smaller --type"
        )


def run(request: Request, on_progress: OnProgress | None = None) -> Plan:
    """Run one conversion in a child process, and put the file in its place."""
    sweep(request.out)
    part = part_path(request.out, os.getpid())
    try:
        with log_file(request) as log:
            plan = follow(request, part, log, on_progress)
        if not request.dry_run:
            part.replace(request.out)
        return plan
    finally:
        part.unlink(missing_ok=True)


def part_path(out: Path, pid: int) -> Path:
    """Where a process writes before it renames: beside `out`, hidden, with its id."""
    return out.with_name(f".{out.name}.{pid}.part")


def sweep(out: Path) -> None:
    """Remove what conversions to `out` left that were killed together with their child."""
    for part in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        pid = part.suffixes[-2].lstrip(".")
        if pid.isdecimal() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def log_file(request: Request) -> Iterator[Any]:
    """Where the child's chatter goes: the caller's stderr when verbose, else a file, which is
    kept, and named in the error, only if the conversion fails."""
    if request.verbose:
        yield None
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix="pannier-convert-", suffix=".log", delete=False
    ) as log:
        try:
            yield log
        except ConvertError as error:
            raise ConvertError(f"{error} (log: {log.name})") from None
        except BaseException:
            Path(log.name).unlink()
            raise
    Path(log.name).unlink()


def follow(request: Request, part: Path, log: Any, on_progress: OnProgress | None) -> Plan:
    """Start the child and follow its reports to the end. It never outlives this call."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as reports:
        try:
            child = start(request, part, log, writer)
        finally:
            os.close(writer)
        try:
            progress = read_reports(request, reports, on_progress)
            if child.wait() != 0 or progress is None:
                raise ConvertError(_death_message(child.returncode))
            return progress.plan
        finally:
            child.kill()
            child.wait()


def start(request: Request, part: Path, log: Any, writer: int) -> subprocess.Popen[bytes]:
    """The child, in a session of its own so that Ctrl-C reaches only this process."""
    job = Job(
        tree=str(request.tree),
        checkpoint=str(request.checkpoint.folder),
        out=str(part),
        type=request.type,
        name=request.name,
        pre=request.pre,
        dry_run=request.dry_run,
        reports=writer,
    )
    # -P: what lies in the current folder must not stand in for a module
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    sink = log or sys.__stderr__
    return subprocess.Popen(
        [sys.executable, *safe_path, "-m", f"{__package__}._worker", json.dumps(asdict(job))],
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        start_new_session=True,
    )


def read_reports(
    request: Request, reports: Any, on_progress: OnProgress | None
) -> ConvertProgress | None:
    """Follow the child's reports; None if it died before it had a plan."""
    progress: ConvertProgress | None = None
    for line in reports:
        report = json.loads(line)
        if "error" in report:
            raise ConvertError(report["error"])
        if "plan" in report:
            progress = ConvertProgress(Plan(request.out, type=request.type, **report["plan"]))
        elif progress is not None:
            progress.tensor = report["tensor"]
            progress.n_tensors += 1
            progress.n_bytes += report["n_bytes"]
        if progress is not None and on_progress is not None:
            on_progress(progress)
    return progress


def _death_message(status: int) -> str:
    if status == -9:
        return "the conversion was killed (signal 9): most likely the memory did not suffice"
    return f"the conversion ended without a result (exit status {status})"
