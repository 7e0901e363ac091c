"""What the child process of a conversion tells its parent: JSON objects, one per line.

{"plan": {...}}                     the fields of `Plan`, before anything is written
{"tensor": name, "n_bytes": ..., "ended": bool}    bytes written since the last report
{"error": message}                  the last one, with exit status 1
"""

from __future__ import annotations

import json
import os
import time

REPORT_INTERVAL_S = 0.2


class Reporter:
    """Writes reports for the parent. A parent that is gone ends the work."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)
        self._unsaid = 0
        self._said_at = 0.0

    def __call__(self, **report: object) -> None:
        self._pipe.write(json.dumps(report) + "\n")

    def wrote(self, name: str, n_bytes: int, ended: bool = False) -> None:
        """Report bytes of a tensor, now and then until it ends."""
        self._unsaid += n_bytes
        if ended or time.monotonic() - self._said_at > REPORT_INTERVAL_S:
            self(tensor=name, n_bytes=self._unsaid, ended=ended)
            self._unsaid, self._said_at = 0, time.monotonic()
