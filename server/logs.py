"""The server's log: what is said, where, and how a line looks."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass
from typing import TextIO

from ..errors import ServerError

ERROR, WARNING, INFO, REQUESTS, EVERYTHING = 1, 2, 3, 4, 5
"""llama-server's verbosities."""
TRACE = 15
"""Python's level for lines about requests."""
LEVELS = {ERROR: logging.ERROR, WARNING: logging.WARNING, INFO: logging.INFO, REQUESTS: TRACE}
LETTERS = {logging.ERROR: "E", logging.WARNING: "W", logging.INFO: "I", TRACE: "T"}
COLORS = {"E": "\033[31m", "W": "\033[35m"}
PLAIN = "\033[0m"

log = logging.getLogger("pannier")
requests = logging.getLogger("pannier.requests")


@dataclass(frozen=True)
class LogSettings:
    """What the operator wants to see."""

    verbosity: int = INFO
    file: str = ""
    """Gets the lines too; empty: no file."""
    jsonl: bool = False
    """To stdout, one JSON object per line."""
    colors: str = "auto"
    prefix: bool = False
    timestamps: bool = False

    @property
    def level(self) -> int:
        """Python's level; lines below are not shown."""
        if self.verbosity <= 0:
            return logging.CRITICAL
        return LEVELS.get(self.verbosity, logging.DEBUG)


class Lines(logging.Formatter):
    """One line: the time, the level and the text, as far as they are wanted."""

    def __init__(self, settings: LogSettings, *, colored: bool = False) -> None:
        super().__init__()
        self._settings = settings
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        letter = letter_of(record)
        parts = []
        if self._settings.timestamps:
            parts.append(stamp(record))
        if self._settings.prefix:
            parts.append(letter)
        line = " ".join([*parts, text_of(self, record)])
        color = COLORS.get(letter) if self._colored else None
        return f"{color}{line}{PLAIN}" if color else line


class JsonLines(logging.Formatter):
    """One JSON object: `timestamp` in seconds, `level`, `message`, and a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        fields = getattr(record, "fields", {})
        row = {"timestamp": round(record.created, 3), "level": letter_of(record)}
        return json.dumps({**row, "message": text_of(self, record), **fields}, ensure_ascii=False)


def letter_of(record: logging.LogRecord) -> str:
    """E, W, I, T or D."""
    return LETTERS.get(record.levelno, "D")


def stamp(record: logging.LogRecord) -> str:
    """When, in UTC."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{moment}.{int(record.msecs):03d}Z"


def text_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The message on one line, and the traceback below it."""
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return text


def engine_level(verbosity: int) -> int:
    """Of llama.cpp's own log, which tells much: errors, and more only to those who ask."""
    if verbosity <= 0:
        return logging.CRITICAL
    return logging.ERROR if verbosity < EVERYTHING else logging.DEBUG


def set_up(settings: LogSettings) -> None:
    """Send what pannier says where the operator wants it. Raises `ServerError`."""
    log.setLevel(settings.level)
    log.propagate = False
    logging.getLogger("pannier.engine").setLevel(engine_level(settings.verbosity))
    # what strangers send is no news
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    log.handlers = [_console(settings)]
    if settings.file:
        log.addHandler(_file(settings))


def _console(settings: LogSettings) -> logging.Handler:
    if settings.jsonl:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonLines())
        return handler
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(settings, colored=is_colored(settings.colors, sys.stderr)))
    return handler


def _file(settings: LogSettings) -> logging.Handler:
    try:
        handler = logging.FileHandler(settings.file, encoding="utf-8")
    except OSError as error:
        raise ServerError(f"cannot write --log-file {settings.file}: {error.strerror}") from error
    handler.setFormatter(JsonLines() if settings.jsonl else Lines(settings))
    return handler


def is_colored(colors: str, stream: TextIO) -> bool:
    """Whether lines are coloured; "auto" looks at the stream."""
    return stream.isatty() if colors == "auto" else colors == "on"
