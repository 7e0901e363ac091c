"""Bodies of `/completion` and `/v1/completions`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import PlainValidator

from ..generation import Generation
from ..state import Serving
from . import not_yet
from .constraint import ConstraintBody
from .generation import GenerationBody
from .prompt import Prompts
from .types import whole


def _count(value: Any) -> int | float:
    return int(value) if isinstance(value, bool) else whole(0).read(value)


class CompletionBody(ConstraintBody, GenerationBody):
    """A prompt and how to go on from it."""

    not_yet = not_yet.COMPLETION

    echo: bool = False
    """Taken and without meaning, as in llama-server: the answer never repeats the prompt."""
    prompt: Prompts
    """The text to go on from; a list of such lists or of strings is several prompts."""
    logprobs: Annotated[int, PlainValidator(_count, json_schema_input_type=int | bool)] = 0
    """Counts where `n_probs` is not given; true is 1."""

    @property
    def n_alternatives(self) -> int:
        return self.n_probs if self.given("n_probs") else self.logprobs

    def generation(self, server: Serving, stops: tuple[str, ...] = ()) -> Generation:
        wanted = super().generation(server, stops)
        changes = self.constraint(wanted.sampling.grammar, server.vocabulary)
        return replace(
            wanted,
            sampling=wanted.sampling.with_changes(**changes),
            preserved=self.preserved(server.vocabulary),
        )


class OpenAICompletionBody(CompletionBody):
    """OpenAI's legacy completions."""

    not_yet = not_yet.OPENAI_COMPLETION
