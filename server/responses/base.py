"""What every answer has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A JSON object that the server sends: these fields and no others. The docstring of a field is
    its documentation."""

    model_config = ConfigDict(
        strict=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True
    )


def sometimes(alias: str | None = None) -> Any:
    """A field that is not always there."""
    return Field(default_factory=lambda: None, alias=alias)
