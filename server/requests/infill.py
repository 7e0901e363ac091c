"""Body of `/infill`."""

from __future__ import annotations

from pydantic import Field

from ..infill import Extra
from .base import RequestBody
from .completion import CompletionBody
from .prompt import Content


class ExtraText(RequestBody):
    """A text beside the one with the gap."""

    text: str
    filename: str = "tmp"
    """Its name, for models that know files."""


class InfillBody(CompletionBody):
    """A text with a gap, and how to fill it."""

    input_prefix: Content
    """The text before the gap: a string, a list of tokens, or a list that mixes both."""
    input_suffix: Content
    """The text after the gap, likewise."""
    input_extra: list[ExtraText] = Field(default_factory=list)
    """Other texts of the project; the last ones are kept where there is no room for all."""
    prompt: str = ""
    """What is there of the filling."""

    @property
    def extra(self) -> list[Extra]:
        return [Extra(one.filename, one.text) for one in self.input_extra]
