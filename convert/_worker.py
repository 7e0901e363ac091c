"""Child process of a conversion: runs llama.cpp's own `conversion` package, quantises, writes.

That package wants its tree, and the tree's own gguf, at the front of the module path. So it
runs in a process of its own, and the caller's interpreter stays as it was.

One argument, a JSON object with the fields of `Job`. What it reports: see `reports`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import PannierError
from .job import Job
from .reports import Reporter


@contextmanager
def reported_errors(job: Job, report: Reporter) -> Iterator[None]:
    """Turn what escapes into one report."""
    try:
        yield
    except BrokenPipeError:  # the parent is gone: nobody wants the file
        shutil.rmtree(job.folder, ignore_errors=True)
        os._exit(1)
    except BaseException as error:
        traceback.print_exc()
        report(error=message_of(error))
        sys.exit(1)


def message_of(error: BaseException) -> str:
    """What the user reads: our own messages as they are, others with their type."""
    if isinstance(error, PannierError):
        return str(error)
    if "trust_remote_code" in str(error):
        return (
            "the checkpoint's tokenizer or configuration is Python code of its own, which is not "
            "run: read it, then allow it with --trust-remote-code"
        )
    last = (str(error).strip().splitlines() or [""])[-1]
    return f"{type(error).__name__}: {last}" if last else type(error).__name__


def main() -> None:
    job = Job.from_json(json.loads(sys.argv[1]))
    report = Reporter(job.reports)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with reported_errors(job, report):
        sys.path[:0] = [job.tree, str(Path(job.tree) / "gguf-py")]
        from .conversion_run import run

        run(job, report)


if __name__ == "__main__":
    main()
