"""`POST /completion`: llama-server's own form."""

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
from ..requests.completion import CompletionBody
from ..responses.completion import Completion, CompletionChunk, Selected
from ..responses.error import ErrorAnswer
from ..state import Serving, serving
from ..wire import event
from .native import native_chunk, native_final, native_progress

router = APIRouter()


@router.post("/completion")
@router.post("/completions")
@describes(
    answer=Completion | list[Completion] | Selected | list[Selected],
    event=CompletionChunk | Completion | Selected | ErrorAnswer,
    body=CompletionBody,
    example={"prompt": "Once upon a time", "n_predict": 16, "temperature": 0},
)
async def completion(request: Request) -> Response:
    """Text after a prompt, llama-server's form."""
    body = await read_body(request, CompletionBody)
    server = serving(request)
    wanted = body.generation(server)
    prompts = await read_prompts(body.prompt, server)
    return await respond(request, wanted, prompts, Native(server, wanted))


class Native(Format):
    """Shapes of llama-server's `/completion`."""

    def __init__(self, server: Serving, wanted: Generation) -> None:
        self._server = server
        self._wanted = wanted

    def progress(self, choice: Choice) -> bytes:
        """How far the prompt is."""
        return event(native_progress(choice))

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text, with the tokens that it took."""
        return event(native_chunk(choice, delta, self._server))

    def last(self, choice: Choice) -> bytes:
        """The same facts as a whole answer; the text was sent before."""
        return event(native_final(choice, self._server))

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """Nothing: llama-server sends `[DONE]` on OpenAI's endpoints only."""
        return b""

    def whole(self, choices: Sequence[Choice]) -> Any:
        """One object, or a list for several answers."""
        answers = [native_final(choice, self._server) for choice in choices]
        return answers[0] if len(answers) == 1 else answers
