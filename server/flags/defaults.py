"""What holds where a flag is not given: the defaults of what the flags set."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from ...sampling import DEFAULT_SEED, SamplingParams
from ..config import EngineConfig
from ..http_settings import HttpSettings
from ..logs import LogSettings
from ..settings import ServerSettings
from .flag import Flag
from .values import NO_LIMIT_MIB

PARTS: dict[str, type] = {
    "engine": EngineConfig,
    "server": ServerSettings,
    "http": HttpSettings,
    "log": LogSettings,
    "sampling": SamplingParams,
}
NUMBERS = {DEFAULT_SEED: "-1", NO_LIMIT_MIB: "-1"}


def default_of(flag: Flag) -> Any:
    """The value of the field that it sets; None where there is no such field."""
    name, _, attribute = flag.sets.partition(".")
    for field in fields(PARTS[name]) if name in PARTS else ():
        if field.name == attribute:
            return None if field.default is MISSING else field.default
    return None


def default_text(flag: Flag) -> str:
    """For a help text; "" where there is nothing to say, or the text says it."""
    value = default_of(flag)
    if value is None or "default:" in flag.help or (not flag.metavar and flag.on_value is not True):
        return ""
    if isinstance(value, bool):
        return ("on" if value else "off") if flag.off or flag.metavar else ""
    if isinstance(value, tuple):
        return ", ".join(repr(item)[1:-1] for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return NUMBERS.get(value, str(value))
