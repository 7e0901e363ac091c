"""Types of fields: llama-server's numbers, strings and lists, checked and described.

A validator says what it had expected; `mistakes.py` adds the field's name and the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

INT32_MAX = 2**31 - 1
FLOAT32_MAX = 3.4028234663852886e38  # the engine's numbers are 32 bits wide


def unexpected(expected: str, value: Any) -> PydanticCustomError:
    """A value of the wrong type or out of range, for a validator to raise."""
    return PydanticCustomError(
        "unexpected", "expected {expected}", {"expected": expected, "value": value}
    )


@dataclass(frozen=True)
class Number:
    """A numeric type, for `Annotated`: kind, range, and what happens outside the range."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    clamp: bool = False
    """Out of range is moved to the border instead of refused."""

    def read(self, value: Any) -> int | float:
        """The number. A whole one may be written with a fraction of zero."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise unexpected(self.expected, value)
        if not -FLOAT32_MAX <= value <= FLOAT32_MAX or (self.whole and value != int(value)):
            raise unexpected(self.expected, value)
        if not self.low <= value <= self.high:
            if not self.clamp:
                raise unexpected(self.expected, value)
            value = min(max(value, self.low), self.high)
        return int(value) if self.whole else float(value)

    @property
    def expected(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.clamp or (self.low, self.high) == (-math.inf, math.inf):
            return kind
        if self.high in (math.inf, INT32_MAX):
            return f"{kind} of at least {self.low}"
        return f"{kind} from {self.low} to {self.high}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kind = "integer" if self.whole else "number"
        known = {"minimum": self.low, "maximum": self.high}
        limits = {name: limit for name, limit in known.items() if math.isfinite(limit)}
        return {"type": kind, "x-clamped": limits} if self.clamp else {"type": kind, **limits}


def whole(low: float = -INT32_MAX, high: float = INT32_MAX, *, clamp: bool = False) -> Number:
    """A number without a fraction that fits 32 bits."""
    return Number(low, high, True, clamp)


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise unexpected("a string or a list of strings", value)
    return tuple(value)


ModelName = Annotated[Any, WithJsonSchema({"type": "string"})]
"""Shown in the answer; there is one model only."""
Natural = Annotated[int, whole(0)]
Limit = Annotated[int, whole(-1)]
"""A count, or -1 for no limit."""
Real = Annotated[float, Number()]
Share = Annotated[float, Number(0, 1, clamp=True)]
Strings = Annotated[
    tuple[str, ...], PlainValidator(_strings, json_schema_input_type=str | list[str])
]
"""A list of strings; one string alone will do."""
