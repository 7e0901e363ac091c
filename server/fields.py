"""Reading fields out of a request: types, ranges, and errors that name field and value.

A field that is absent or null takes its default, as in llama-server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ApiError, shown

INT32_MAX = 2**31 - 1
FLOAT32_MAX = 3.4028234663852886e38  # the engine's numbers are 32 bits wide
Body = Mapping[str, Any]


def wrong(field: str, expected: str, value: Any) -> ApiError:
    """A value of the wrong type or out of range."""
    return ApiError(f"Field '{field}': expected {expected}, got {shown(value)}")


@dataclass(frozen=True)
class Number:
    """A numeric field: kind, range, and what happens outside the range."""

    name: str
    target: str = ""
    """Name in `SamplingParams`; the same if empty."""
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    clamp: bool = False
    """Out of range is moved to the border instead of refused."""

    def read(self, value: Any) -> int | float:
        """The number. Raises `ApiError`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong(self.name, self._expected, value)
        if not -FLOAT32_MAX <= value <= FLOAT32_MAX or (self.whole and value != int(value)):
            raise wrong(self.name, self._expected, value)
        if not self.low <= value <= self.high:
            if not self.clamp:
                raise wrong(self.name, self._expected, value)
            value = min(max(value, self.low), self.high)
        return int(value) if self.whole else float(value)

    @property
    def _expected(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.clamp or (self.low, self.high) == (-math.inf, math.inf):
            return kind
        if self.high in (math.inf, INT32_MAX):
            return f"{kind} of at least {self.low}"
        return f"{kind} from {self.low} to {self.high}"


def whole(
    name: str, low: float = -INT32_MAX, high: float = INT32_MAX, *, clamp: bool = False
) -> Number:
    """A number without a fraction that fits 32 bits."""
    return Number(name, "", low, high, True, clamp)


def number(body: Body, spec: Number, default: int | float, *aliases: str) -> int | float:
    """The first of the field's names that is given, or the default."""
    for name in (spec.name, *aliases):
        value = body.get(name)
        if value is not None:
            named = spec if name == spec.name else _renamed(spec, name)
            return named.read(value)
    return default


def _renamed(spec: Number, name: str) -> Number:
    return Number(name, spec.target, spec.low, spec.high, spec.whole, spec.clamp)


def integer(body: Body, spec: Number, default: int, *aliases: str) -> int:
    """`number` for a whole one."""
    return int(number(body, spec, default, *aliases))


def boolean(body: Body, name: str, default: bool = False) -> bool:
    """A true or false field."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def text(body: Body, name: str, default: str = "") -> str:
    """A string field."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    return value


def mapping(body: Body, name: str) -> dict[str, Any]:
    """An object field; empty if absent."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    return value


def strings(body: Body, name: str) -> tuple[str, ...]:
    """A list of strings; one string alone will do."""
    value = body.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(name, "a string or a list of strings", value)
    return tuple(value)
