"""`POST /v1/completions`: OpenAI's legacy form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ..answer import Format, respond
from ..body import read_body
from ..choice import Choice, Delta
from ..endpoint import describes
from ..generation import Generation
from ..prompts import read_prompts
from ..requests.completion import OpenAICompletionBody
from ..responses.error import ErrorAnswer
from ..responses.openai import TextCompletion, TextCompletionChunk
from ..shapes import finish_reason, reports_json, usage_json
from ..state import Serving, serving
from ..wire import DONE
from .openai import Envelope

router = APIRouter()


@router.post("/v1/completions")
@describes(
    answer=TextCompletion,
    event=TextCompletionChunk | ErrorAnswer,
    body=OpenAICompletionBody,
    example={"prompt": ["One", "Two"], "max_tokens": 8},
)
async def completions(request: Request) -> Response:
    """Text after a prompt, OpenAI's form."""
    body = await read_body(request, OpenAICompletionBody)
    server = serving(request)
    wanted = body.generation(server)
    prompts = await read_prompts(body.prompt, server)
    return await respond(request, wanted, prompts, Completion(server, wanted))


class Completion(Format):
    """Shapes of OpenAI's text completions."""

    def __init__(self, server: Serving, wanted: Generation) -> None:
        self._envelope = Envelope(server, wanted, "text_completion", "text_completion")

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text."""
        if self._envelope.plain:
            after = b',"index":%d,"logprobs":null,"finish_reason":null}' % choice.index
            return self._envelope.text_chunk(b'{"text":', delta.text, after)
        return self._envelope.chunk(
            self._shape(choice, delta.text, None, self._envelope.logprobs(choice, delta)),
            **self._envelope.verbose(choice, delta),
            **self._envelope.extras(choice, last=False),
        )

    def progress(self, choice: Choice) -> bytes:
        """How far the prompt is."""
        shape = self._shape(choice, "", None, None)
        extras = self._envelope.extras(choice, last=False)
        return self._envelope.chunk(shape, prompt_progress=choice.progress, **extras)

    def last(self, choice: Choice) -> bytes:
        """Why the choice ended, and its usage: llama-server tells it with or without asking."""
        return self._envelope.chunk(
            {**self._shape(choice, "", finish_reason(choice), None), **reports_json(choice)},
            usage=usage_json([choice], 1),
            **self._envelope.verbose(choice),
            **self._envelope.timings(choice),
        )

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """The end of the stream."""
        return DONE

    def whole(self, choices: Sequence[Choice]) -> Any:
        """Everything in one body."""
        envelope = self._envelope
        shapes = [
            {**self._shape(c, c.text, finish_reason(c), envelope.logprobs(c)), **reports_json(c)}
            for c in choices
        ]
        return envelope.answer(choices, shapes)

    def _shape(
        self, choice: Choice, text: str, reason: str | None, logprobs: Any
    ) -> dict[str, Any]:
        return {
            "text": text,
            "index": choice.index,
            "logprobs": logprobs,
            "finish_reason": reason,
        }
