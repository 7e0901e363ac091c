"""`POST /completion`: llama-server's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from ..answer import respond
from ..body import read_body
from ..choice import Choice, Delta
from ..endpoint import describes
from ..generation import Generation
from ..prompts import read_prompts
from ..requests.completion import CompletionBody
from ..responses.completion import Completion, CompletionChunk, Selected
from ..responses.error import ErrorAnswer
from ..shapes import probs_json, settings_json, timings_json
from ..state import Serving, serving
from ..wire import event

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


class Native:
    """Shapes of llama-server's `/completion`."""

    def __init__(self, server: Serving, wanted: Generation) -> None:
        self._server = server
        self._wanted = wanted

    def partial(self, choice: Choice, delta: Delta) -> bytes:
        """New text, with the tokens that it took."""
        chunk: dict[str, Any] = {
            "index": choice.index,
            "content": delta.text,
            "tokens": delta.tokens,
            "stop": False,
            "id_slot": choice.slot,
            "tokens_predicted": choice.n_predicted,
            "tokens_evaluated": len(choice.prompt),
        }
        if self._wanted.timings_per_token:
            chunk["timings"] = timings_json(choice.timings)
        if delta.probs:
            chunk["completion_probabilities"] = probs_json(delta.probs, self._server.pieces)
        return event(chunk)

    def last(self, choice: Choice) -> bytes:
        """The same facts as a whole answer; the text was sent before."""
        return event(self._final(choice))

    def tail(self, choices: Sequence[Choice]) -> bytes:
        """Nothing: llama-server sends `[DONE]` on OpenAI's endpoints only."""
        return b""

    def whole(self, choices: Sequence[Choice]) -> Any:
        """One object, or a list for several answers."""
        answers = [self._final(choice) for choice in choices]
        return answers[0] if len(answers) == 1 else answers

    def _final(self, choice: Choice) -> dict[str, Any]:
        final: dict[str, Any] = {
            "index": choice.index,
            "content": choice.text,
            "tokens": [] if self._wanted.stream else choice.tokens,
            "id_slot": choice.slot,
            "stop": True,
            "model": self._server.settings.model_name,
            "tokens_predicted": choice.n_predicted,
            "tokens_evaluated": len(choice.prompt),
            "generation_settings": settings_json(self._wanted),
            "prompt": self._server.all_pieces.join(choice.prompt).decode("utf-8", "replace"),
            "has_new_line": choice.has_new_line,
            "truncated": choice.truncated,
            "stop_type": choice.stop_type,
            "stopping_word": choice.stopping_word,
            "tokens_cached": len(choice.prompt) + max(choice.n_predicted - 1, 0),
            "timings": timings_json(choice.timings),
        }
        if choice.probs:
            final["completion_probabilities"] = probs_json(choice.probs, self._server.pieces)
        return _only(final, self._wanted.response_fields)


def _only(answer: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The fields that were asked for; slashes reach inside, absent ones are left out."""
    if not paths:
        return answer
    found: dict[str, Any] = {}
    for path in paths:
        value: Any = answer
        for key in path.split("/"):
            value = value.get(key, found) if isinstance(value, dict) else found
        if value is not found:
            found[path] = value
    return found
