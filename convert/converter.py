"""The conversion itself: check, run llama.cpp's conversion in a child process, move into place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..engine import Engine, ensure_engine, find_engine, source_tree
from ..errors import ConvertError, EngineNotFound
from ..placement import PlacementRow
from .checkpoint import Checkpoint, open_checkpoint
from .hub import local_folder
from .job import Job
from .options import Options, make_options
from .parts import PartFolder
from .table import ConvertProgress, Plan, TensorPlan
from .upstream import require_architecture, require_modules, require_pretokenizer

OnProgress = Callable[[ConvertProgress], None]

_PRECISIONS = {"bfloat16": "BF16"}


REUSE_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""Have glibc keep the memory of a matrix for the next one instead of giving it back: new pages
cost more than the arithmetic on them. (Other C libraries ignore these.)"""


@dataclass(frozen=True)
class Request:
    """A conversion as asked for, checked and with its defaults filled in."""

    checkpoint: Checkpoint
    tree: Path
    folder: Path
    file_name: str
    """"{quant}" in it stands for the recipe."""
    options: Options
    engine: Engine
    """Quantises; any backend's will do."""
    dry_run: bool = False
    verbose: bool = False

    @property
    def precision(self) -> str:
        """The recipe that keeps the checkpoint's own precision."""
        return _PRECISIONS.get(self.checkpoint.dtype, "F16")


def convert(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    split_mtp: bool = False,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Path:
    """Convert a checkpoint to a GGUF file and return its path.

    Args:
        src: a checkpoint folder, or a model of the Hugging Face hub, "org/name" or
            "org/name@revision", which is fetched into the hub's cache.
        out: file, or folder for a file named after the checkpoint; default the current folder.
        quant: a recipe of llama-quantize ("Q4_K_M", "IQ3_XS", "BF16", ...), or "auto": BF16 for
            BF16 checkpoints, else F16.
        tensor_types: rows "PATTERN=TYPE" or (pattern, type) that go before the recipe.
        experts_quant, output_quant: types of the routed experts and of the output matrix.
        imatrix: importance matrix in GGUF, as llama-imatrix writes it.
        exact_recipe: follow llama.cpp's recipe to the letter; else gates and decays of recurrent
            layers stay as they are in the checkpoint.
        requantize: let the recipe have what is NVFP4 or MXFP4 in the checkpoint.
        target_size: such as "20G": the best recipe that fits, in place of `quant`.
        experts: "cpu", "gpu" or "auto" (decided at load): where the routed experts belong,
            written into the file.
        split_experts: the experts in a shard of their own.
        mtp: "keep", "drop" or "only": blocks for multi-token prediction.
        split_mtp: drop them, and write them to a second file, "...-mtp.gguf".
        name: `general.name` in the file; default from the model card or the folder's name.
        pre: llama.cpp's name of the pre-tokenizer, where it cannot be found out.
        trust_remote_code: run code that the checkpoint brings along.
        source: llama.cpp tree or archive to take the conversion from; default the pinned one.
        verbose: let the conversion's own messages through.
        on_progress: called with the plan before the first byte, then as tensors are written.

    Files are written beside `out` and renamed when whole: whatever happens, `out` is the old
    file, the new one, or absent. Raises ConvertError, before any long work where it can.
    """
    if split_mtp and options.setdefault("mtp", "drop") != "drop":
        raise ConvertError(f"split_mtp writes two files; mtp={options['mtp']!r} contradicts it")
    request = make_request(src, out, **options)
    written = run(request, on_progress).out
    if split_mtp:
        run(mtp_request(request), on_progress)
    return written


def plan(
    src: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, **options: Any
) -> Plan:
    """What `convert` with the same arguments would write. Reads headers, writes nothing."""
    return run(make_request(src, out, dry_run=True, **options))


def make_request(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    source: Path | str | None = None,
    dry_run: bool = False,
    verbose: bool = False,
    **options: Any,
) -> Request:
    """Check all that can be checked without torch; see `convert` for the arguments."""
    checked = make_options(**options)
    checkpoint = open_checkpoint(local_folder(src))
    tree = source_tree(source)
    require_architecture(checkpoint, tree)
    if checked.pre is not None:
        require_pretokenizer(checked.pre, tree)
    require_modules()
    folder, file_name = output_path(src, checkpoint, out)
    engine = any_engine()
    return Request(checkpoint, tree, folder, file_name, checked, engine, dry_run, verbose)


def any_engine() -> Engine:
    """The engine that is there, or the best one for this machine, built now."""
    try:
        return find_engine()
    except EngineNotFound:
        return ensure_engine()


def mtp_request(request: Request) -> Request:
    """The same for the blocks for multi-token prediction alone."""
    name = f"{request.file_name.removesuffix('.gguf')}-mtp.gguf"
    options = replace(request.options, mtp="only", split_experts=False, target_bytes=None)
    return replace(request, file_name=name, options=options)


def output_path(
    src: str | os.PathLike[str], checkpoint: Checkpoint, out: str | os.PathLike[str] | None
) -> tuple[Path, str]:
    """Folder and name of the file to write. Raises ConvertError if the folder does not exist."""
    path = Path.cwd() if out is None else Path(out).absolute()
    if path.is_dir():
        named = checkpoint.folder.resolve() if Path(src).exists() else Path(os.fspath(src))
        return path, f"{named.name.partition('@')[0]}-{{quant}}.gguf"
    if not path.parent.is_dir():
        raise ConvertError(f"there is no folder {path.parent} to write {path.name} to")
    return path.parent, path.name


def run(request: Request, on_progress: OnProgress | None = None) -> Plan:
    """Run one conversion in a child process, and put the files in their places."""
    if request.dry_run:
        with tempfile.TemporaryDirectory() as folder, log_file(request) as log:
            return follow(request, Path(folder), log, on_progress)
    stem = request.file_name.replace("-{quant}", "").removesuffix(".gguf")
    with PartFolder(request.folder, stem) as parts:
        with log_file(request) as log:
            plan = follow(request, parts.path, log, on_progress)
        parts.publish(plan.files)
    return plan


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


def follow(request: Request, folder: Path, log: Any, on_progress: OnProgress | None) -> Plan:
    """Start the child and follow its reports to the end. It never outlives this call."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as reports:
        try:
            child = start(request, folder, log, writer)
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


def start(request: Request, folder: Path, log: Any, writer: int) -> subprocess.Popen[bytes]:
    """The child, in a session of its own so that Ctrl-C reaches only this process."""
    job = Job(
        tree=str(request.tree),
        checkpoint=str(request.checkpoint.folder),
        folder=str(folder),
        file_name=request.file_name,
        precision=request.precision,
        options=request.options,
        dry_run=request.dry_run,
        reports=writer,
    )
    # -P: what lies in the current folder must not stand in for a module
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    sink = log or sys.__stderr__
    settings = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PANNIER_ENGINE": str(request.engine.directory),
        **REUSE_MEMORY,
    }
    return subprocess.Popen(
        [sys.executable, *safe_path, "-m", f"{__package__}._worker", json.dumps(asdict(job))],
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        env=os.environ | settings,
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
            progress = ConvertProgress(plan_from(request, report["plan"]))
        elif progress is not None:
            progress.tensor = report["tensor"]
            progress.n_tensors += report["ended"]
            progress.n_bytes += report["n_bytes"]
        if progress is not None and on_progress is not None:
            on_progress(progress)
    return progress


def plan_from(request: Request, report: dict[str, Any]) -> Plan:
    """The child's plan, with the files where they will be in the end."""
    tensors = [TensorPlan(**row | {"shape": tuple(row["shape"])}) for row in report["tensors"]]
    return Plan(
        files=tuple(request.folder / name for name in report["files"]),
        architecture=report["architecture"],
        quant=report["quant"],
        pre=report["pre"],
        tensors=tuple(tensors),
        placement=tuple(PlacementRow(**row) for row in report["placement"]),
        peak_memory_bytes=report["peak_memory_bytes"],
    )


def _death_message(status: int) -> str:
    if status == -9:
        return "the conversion was killed (signal 9): most likely the memory did not suffice"
    return f"the conversion ended without a result (exit status {status})"
