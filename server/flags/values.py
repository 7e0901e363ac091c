"""What stands behind a flag: from text to a checked value."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from ...expert_words import parse_experts
from ...host_words import parse_host_memory
from ...placement import dense_overrides
from ...sampling import DEFAULT_SEED, SAMPLER_CHARS, SAMPLERS
from .flag import FALSEY, TRUTHY

FLOAT32_MAX = 3.4028234663852886e38
N_SLOTS = 4
MAX_CPUS = 512  # ggml's GGML_MAX_N_THREADS
NO_LIMIT_MIB = 1 << 40
KV_BYTES = 127  # llama.h: llama_model_kv_override has room for 128
SAMPLER_ALIASES = {  # common/sampling.cpp: common_sampler_types_from_names
    "top-k": "top_k",
    "top-p": "top_p",
    "nucleus": "top_p",
    "top-n-sigma": "top_n_sigma",
    "typical-p": "typ_p",
    "typical": "typ_p",
    "typ-p": "typ_p",
    "typ": "typ_p",
    "min-p": "min_p",
    "temp": "temperature",
}


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
    return N_SLOTS if text == "-1" else at_least(1)(text)


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


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number of a range."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return read


def number(low: float = -FLOAT32_MAX, high: float = FLOAT32_MAX) -> Callable[[str], float]:
    """A finite number of a range, borders included."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number{between(low, high)}")
        return value

    return read


def between(low: float, high: float) -> str:
    """The range of a number, for a message; empty for no range."""
    if low == -FLOAT32_MAX:
        return "" if high == FLOAT32_MAX else f" of at most {high:g}"
    return f" of at least {low:g}" if high == FLOAT32_MAX else f" from {low:g} to {high:g}"


def clamped(low: float, high: float = FLOAT32_MAX) -> Callable[[str], float]:
    """A finite number, moved to the border where it is outside."""
    read = number()
    return lambda text: min(max(read(text), low), high)


def positive(text: str) -> float:
    """A number above 0 whose inverse is a 32-bit number too."""
    value = number()(text)
    if not value >= 1 / FLOAT32_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """A word out of a list."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(choices)})"
            )
        return text

    return read


def named(values: Mapping[str, str]) -> Callable[[str], str]:
    """A value by one of its names."""

    def read(text: str) -> str:
        return values[one_of(*values)(text)]

    return read


def on_off_auto(text: str) -> str:
    """on, off or auto, in any of llama.cpp's words for them."""
    words = {**dict.fromkeys(TRUTHY, "on"), **dict.fromkeys(FALSEY, "off"), "-1": "auto"}
    return one_of("on", "off", "auto")(words.get(text, text))


def names_of(text: str) -> tuple[str, ...]:
    """Names between commas, at least one."""
    found = comma_list(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return found


def readable(text: str) -> str:
    """The text of a file."""
    try:
        return Path(text).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error}") from error


def existing(kind: str) -> Callable[[str], str]:
    """A path to a "file" or "folder" that is there."""

    def read(text: str) -> str:
        path = Path(text).expanduser()
        if not (path.is_dir() if kind == "folder" else path.is_file()):
            raise argparse.ArgumentTypeError(f"{text!r} is no {kind}")
        return str(path)

    return read


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def sizes(text: str) -> tuple[int, ...]:
    """Sizes of memory between commas, as 8G, 7.5GiB or 900M, in binary units."""
    return tuple(size(part) for part in comma_list(text))


def size(text: str) -> int:
    """A size of memory, as 8G, 7.5GiB or 900M, in binary units."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])(?:i?B)?", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, as in 8G or 900M")
    return int(float(match[1]) * 1024 ** ("KMGT".index(match[2].upper()) + 1))


def tensor_split(text: str) -> tuple[float, ...]:
    """Proportions between commas or slashes, as 3,1."""
    shares = tuple(number(0)(part) for part in re.split("[,/]+", text))
    if not sum(shares):
        raise argparse.ArgumentTypeError(f"{text!r} gives no device a share")
    return shares


def kv_overrides(text: str) -> tuple[tuple[str, str, str], ...]:
    """Rows of KEY=TYPE:VALUE between commas: key, type and value as text."""
    return tuple(_kv_override(row) for row in comma_list(text))


def _kv_override(row: str) -> tuple[str, str, str]:
    key, sign, rest = row.partition("=")
    kind, colon, text = rest.partition(":")
    readers: dict[str, Callable[[str], Any]] = {
        "int": whole(-(2**63), 2**63 - 1),
        "float": number(),
        "bool": one_of("true", "false"),
        "str": str,
    }
    if not (key and sign and colon) or kind not in readers or len(key.encode()) > KV_BYTES:
        raise argparse.ArgumentTypeError(
            f"{row!r} is not KEY=TYPE:VALUE, as in tokenizer.ggml.add_bos_token=bool:false; "
            f"types are {', '.join(readers)}"
        )
    readers[kind](text)
    if len(text.encode()) > KV_BYTES:
        raise argparse.ArgumentTypeError(f"the value of {key} is longer than {KV_BYTES} bytes")
    return key, kind, text


def cpu_mask(text: str) -> tuple[int, ...]:
    """CPUs by the bits of a hexadecimal number."""
    try:
        bits = int(text, 16)
    except ValueError:
        bits = -1
    if bits <= 0 or bits >> MAX_CPUS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a hexadecimal mask of at most {MAX_CPUS} CPUs, as 0xff"
        )
    return tuple(cpu for cpu in range(MAX_CPUS) if bits >> cpu & 1)


def cpu_range(text: str) -> tuple[int, ...]:
    """CPUs from one to another, as 0-3; either may be left out."""
    low, sign, high = text.partition("-")
    try:
        first, last = int(low or 0), int(high or MAX_CPUS - 1)
    except ValueError:
        sign, first, last = "", 0, 0
    if not sign or not 0 <= first <= last < MAX_CPUS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of CPUs, as 0-3")
    return tuple(range(first, last + 1))


def token_bias(text: str) -> tuple[tuple[int, float], ...]:
    """A token and what is added to its logit, as 15043+1 or 15043-inf."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*([+-])\s*(\d+\.?\d*(?:e[+-]?\d+)?|inf)\s*", text, re.I)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not TOKEN+BIAS or TOKEN-BIAS, as 15043-1")
    token, sign, size = match.groups()
    return ((int(token), float(sign + size)),)


def sampler_names(text: str) -> tuple[str, ...]:
    """Samplers in order, between semicolons."""
    names = tuple(name.strip() for name in text.split(";") if name.strip())
    return tuple(one_of(*SAMPLERS)(SAMPLER_ALIASES.get(name, name)) for name in names)


def sampler_letters(text: str) -> tuple[str, ...]:
    """Samplers in order, one letter each."""
    for letter in text:
        one_of(*SAMPLER_CHARS)(letter)
    return tuple(SAMPLER_CHARS[letter] for letter in text)


def breaker(text: str) -> tuple[str, ...]:
    """A string at which DRY begins anew; "none" for none at all."""
    return () if text == "none" else (text,)


def threads(text: str) -> int:
    """A number of threads; 0 and -1 leave it to the machine."""
    return max(0, whole(-1, MAX_CPUS)(text))


def rope_scale(text: str) -> float:
    """The frequency scale behind a factor on the context."""
    return 1 / positive(text)


def unified(text: str) -> bool:
    """The kind of KV cache."""
    return one_of("unified", "split", "auto")(text) != "split"


def cache_mib(text: str) -> int:
    """MiB; -1 for no limit."""
    return NO_LIMIT_MIB if text == "-1" else at_least(0)(text)


def n_cpu_ffn(text: str) -> tuple[tuple[str, str], ...]:
    """Rows that keep the dense feed-forward weights of the first layers on the CPU."""
    return tuple(dense_overrides(whole(0, 9999)(text)))


def experts(text: str) -> str:
    """Words that say where experts go."""
    return _read_by(parse_experts, text)


def host_memory(text: str) -> str:
    """Words that say what weights in system memory lie in."""
    return _read_by(parse_host_memory, text)


def _read_by(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def spec_type(text: str) -> str:
    """Where guesses come from; of llama-server's kinds two are here."""
    kinds = set(comma_list(text)) - {"none"}
    if kinds - {"ngram-simple"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not here: use ngram-simple or none")
    return "ngram-simple" if kinds else "none"


def seed(text: str) -> int:
    """A seed; -1 draws one."""
    return whole(-1, 2**32 - 1)(text) & DEFAULT_SEED


def api_prefix(text: str) -> str:
    """A path that begins with a slash and ends without one; empty for none."""
    if text and not re.fullmatch(r"(/[\w.~-]+)+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path without its last slash, as /llm")
    return text


def cors_list(text: str) -> str:
    """What a CORS header says: text that a header can hold."""
    if not re.fullmatch(r"[\x21-\x7e ]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot stand in a header")
    return text.strip()


def mib(text: str) -> int:
    """Bytes of so many MiB."""
    return at_least(1)(text) << 20


def adapters(text: str) -> tuple[tuple[str, float], ...]:
    """Files of LoRA adapters between commas, each with the scale 1."""
    return tuple((path, 1.0) for path in comma_list(text))


def scaled_adapters(text: str) -> tuple[tuple[str, float], ...]:
    """Rows of FILE:SCALE between commas."""
    rows = []
    for row in comma_list(text):
        path, colon, number = row.rpartition(":")
        try:
            scale = float(number)
        except ValueError:
            scale = math.nan
        if not (path and colon and math.isfinite(scale)):
            raise argparse.ArgumentTypeError(f"{row!r} is not FILE:SCALE, as in 'sql.gguf:0.5'")
        rows.append((path, scale))
    return tuple(rows)
