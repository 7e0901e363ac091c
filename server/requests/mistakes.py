"""What pydantic found wrong, as the API's error: the field's path, what was expected, the value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import ApiError, wrong

EXPECTED = {
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "too_short": "a list that is not empty",
    "dict_type": "an object",
    "model_type": "an object",
    "literal_error": "{expected}",
    "unexpected": "{expected}",
}


def as_api_error(error: ValidationError, body: Mapping[str, Any]) -> ApiError:
    """The first of the deepest errors: where a field may have several types, the one that went
    furthest is the one that was meant."""
    found = error.errors(include_url=False)
    paths = [_path(detail["loc"], body) for detail in found]
    deepest = max(len(path) for path in paths)
    path = next(path for path in paths if len(path) == deepest)
    there = [detail for detail, other in zip(found, paths, strict=True) if other == path]
    name = _shown(path)
    if there[0]["type"] == "missing":
        return ApiError(f"'{name}' is required")
    value = there[0].get("ctx", {}).get("value", there[0]["input"])
    return wrong(name, " or ".join(dict.fromkeys(map(_expected, there))), value)


def _expected(detail: ErrorDetails) -> str:
    return EXPECTED.get(detail["type"], detail["msg"]).format(**detail.get("ctx", {}))


def _path(loc: tuple[str | int, ...], body: Any) -> tuple[str | int, ...]:
    """The location without pydantic's words for the types that it tried."""
    path: list[str | int] = []
    value = body
    for i, key in enumerate(loc):
        known = key in value if isinstance(value, dict) else isinstance(key, int)
        if known:
            value = value[key]
        elif i + 1 < len(loc) or not isinstance(value, dict):
            continue
        path.append(key)
    return tuple(path)


def _shown(path: tuple[str | int, ...]) -> str:
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return "".join(parts).removeprefix(".")
