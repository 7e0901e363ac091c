"""What stands behind a flag of `pannier serve`: from text to a checked value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path


def at_least(low: int) -> Callable[[str], int]:
    """A whole number from `low` up."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return read


def not_negative(text: str) -> float:
    """A number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def parallel(text: str) -> int:
    """Slots: a number, or -1 for the default."""
    return -1 if text == "-1" else at_least(1)(text)


def port(text: str) -> int:
    """A TCP port; 0 takes a free one."""
    value = at_least(0)(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; they end at 65535")
    return value


def gpu_layers(text: str) -> int:
    """Layers on the devices: a number, or "all" or "auto", which here are the same."""
    return -1 if text in ("all", "auto") else at_least(0)(text)


def comma_list(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def shares(text: str) -> tuple[float, ...]:
    """Numbers from 0 up between commas, not all of them 0."""
    values = tuple(not_negative(part) for part in comma_list(text))
    if not any(values):
        raise argparse.ArgumentTypeError(f"{text!r} gives no device a share")
    return values


def sizes(text: str) -> tuple[int, ...]:
    """Sizes of memory between commas, as in 8G, 7.5GiB or 900M, in binary units."""
    return tuple(_size(part) for part in comma_list(text))


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])(?:i?B)?", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, as in 8G or 900M")
    return int(float(match[1]) * 1024 ** ("KMGT".index(match[2].upper()) + 1))


def overrides(text: str) -> tuple[tuple[str, str], ...]:
    """Rows of PATTERN=BUFFER between commas."""
    rows = []
    for row in comma_list(text):
        pattern, sign, buffer = row.rpartition("=")
        if not (pattern and sign and buffer):
            raise argparse.ArgumentTypeError(
                f"{row!r} is not PATTERN=BUFFER, as in 'ffn_.*_exps=CPU'"
            )
        rows.append((pattern, buffer))
    return tuple(rows)


def key_file(text: str) -> tuple[str, ...]:
    """Keys, one per line; lines that begin with # are comments."""
    try:
        lines = Path(text).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error}") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise argparse.ArgumentTypeError(f"{text!r} holds no key: put one on each line")
    return keys
