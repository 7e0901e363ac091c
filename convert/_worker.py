"""Child process of a conversion: runs llama.cpp's own `conversion` package.

That package wants its tree, and the tree's own gguf, at the front of the module path. So it
runs in a process of its own, and the caller's interpreter stays as it was.

One argument, a JSON object with the fields of `Job`. Reports are JSON objects, one per line,
on the file descriptor `Job.reports`:

    {"plan": {"architecture": ..., "n_tensors": ..., "n_bytes": ..., "types": {...}, "pre": ...}}
    {"tensor": name, "n_bytes": ...}        written to the file
    {"error": message}                      the last one, with exit status 1
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ..errors import ConvertError
from .job import Job
from .pretokenizer import match_pretokenizer


class PlanOnly(Exception):
    """A dry run has reported its plan and ends before the first byte is written."""


class Reporter:
    """Writes reports for the parent. A parent that is gone ends the work."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def __call__(self, **report: object) -> None:
        self._pipe.write(json.dumps(report) + "\n")


class ReportedTensor:
    """Stands for a tensor in gguf's writer: same bytes, and a report once they are written."""

    def __init__(self, name: str, tensor: Any, report: Reporter) -> None:
        self._name, self._tensor, self._report = name, tensor, report
        self.nbytes: int = tensor.nbytes

    def tofile(self, file: Any) -> None:
        self._tensor.tofile(file)
        self._tensor = None
        file.flush()
        self._report(tensor=self._name, n_bytes=self.nbytes)


def watch_writer(writer_class: Any, job: Job, architecture: str, report: Reporter) -> None:
    """Report the plan before gguf's writer opens its file, and each tensor as it is written."""
    open_file, write_tensors = writer_class.write_header_to_file, writer_class.write_tensors_to_file

    def planned(writer: Any, *args: Any, **kwargs: Any) -> None:
        plan = plan_of(writer)
        report(plan={"architecture": architecture, **plan})
        if job.dry_run:
            raise PlanOnly
        require_space(Path(job.out).parent, plan["n_bytes"])
        open_file(writer, *args, **kwargs)

    def reported(writer: Any, *, progress: bool = False) -> None:
        for shard in writer.tensors:
            for name, info in shard.items():
                info.tensor = ReportedTensor(name, info.tensor, report)
        write_tensors(writer, progress=False)

    writer_class.write_header_to_file = planned
    writer_class.write_tensors_to_file = reported


def plan_of(writer: Any) -> dict[str, Any]:
    """What a writer that has all its tensors is about to write."""
    tensors = [info for shard in writer.tensors for info in shard.values()]
    pre = writer.kv_data[0].get("tokenizer.ggml.pre")
    return {
        "n_tensors": len(tensors),
        "n_bytes": sum(int(info.nbytes) for info in tensors),
        "types": dict(Counter(info.dtype.name for info in tensors)),
        "pre": pre and pre.value,
    }


def require_space(folder: Path, n_bytes: int) -> None:
    """Raise ConvertError if `folder`'s disk cannot take `n_bytes` and a little more."""
    free = shutil.disk_usage(folder).free
    needed = n_bytes + (64 << 20)
    if free < needed:
        raise ConvertError(
            f"not enough disk space in {folder}: the file needs {decimal(needed)}, "
            f"{decimal(free)} are free; choose another place with -o or a smaller --type"
        )


def accept_unknown_tokenizers(text_model: Any, pre: str | None) -> None:
    """Where upstream's hash does not know a tokenizer, decide by what its pre-tokenizer does."""
    by_hash = text_model.get_vocab_base_pre

    def get_vocab_base_pre(model: Any, tokenizer: Any) -> str:
        if pre is not None:
            return pre
        try:
            return str(by_hash(model, tokenizer))
        except NotImplementedError:
            matched = match_pretokenizer(model.dir_model)
            state_bos(model.gguf_writer, tokenizer)
            return matched

    text_model.get_vocab_base_pre = get_vocab_base_pre


def state_bos(writer: Any, tokenizer: Any) -> None:
    """Say whether texts start with BOS. llama.cpp otherwise goes by the pre-tokenizer's name
    (yes for llama-bpe), and takes a token of its own choice where the tokenizer has no BOS."""
    bos = tokenizer.bos_token_id
    writer.add_add_bos_token(bos is not None and tokenizer.encode("a")[0] == bos)


def drop_absent_mtp(model_class: Any) -> None:
    """A Qwen3Next-like checkpoint without multi-token-prediction tensors converts without them.

    Upstream counts those tensors while it indexes the checkpoint and asserts on zero afterwards
    (conversion/qwen.py, `_QwenMtpMixin.__init__`) unless `no_mtp` is set.
    """
    index = model_class.index_tensors

    def index_tensors(model: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = index(model, *args, **kwargs)
        if getattr(model_class, "opt_num_mtp_layers", None) == 0:
            model_class.no_mtp = True
        return tensors

    model_class.index_tensors = index_tensors


@contextmanager
def reported_errors(job: Job, report: Reporter) -> Iterator[None]:
    """Turn what escapes into one report; nothing half-written stays behind."""
    try:
        yield
    except PlanOnly:
        pass
    except BrokenPipeError:  # the parent is gone: nobody wants the file
        Path(job.out).unlink(missing_ok=True)
        os._exit(1)
    except BaseException as error:
        Path(job.out).unlink(missing_ok=True)
        traceback.print_exc()
        report(error=message_of(error))
        sys.exit(1)


def message_of(error: BaseException) -> str:
    """What the user reads: our own messages as they are, others with their type."""
    if isinstance(error, ConvertError):
        return str(error)
    last = (str(error).strip().splitlines() or [""])[-1]
    return f"{type(error).__name__}: {last}" if last else type(error).__name__


def convert(job: Job, report: Reporter) -> None:
    """Convert one checkpoint with upstream's classes, adjusted by the functions above."""
    sys.path[:0] = [job.tree, str(Path(job.tree) / "gguf-py")]
    import conversion
    import gguf
    import torch

    checkpoint = Path(job.checkpoint)
    file_type = {
        "f32": gguf.LlamaFileType.ALL_F32,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "bf16": gguf.LlamaFileType.MOSTLY_BF16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    }[job.type]
    hparams = conversion.ModelBase.load_hparams(checkpoint, False)
    architecture = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    model_class = conversion.get_model_class(architecture)
    watch_writer(gguf.GGUFWriter, job, architecture, report)
    accept_unknown_tokenizers(conversion.TextModel, job.pre)
    drop_absent_mtp(model_class)
    with torch.inference_mode():
        model_class(checkpoint, file_type, Path(job.out), model_name=job.name).write()


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    report = Reporter(job.reports)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with reported_errors(job, report):
        convert(job, report)


if __name__ == "__main__":
    main()
