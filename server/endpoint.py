"""What an endpoint takes and answers, said where it is made: the documentation's source.

    @router.post("/tokenize")
    @describes(answer=Tokens, body=TokenizeBody, example={"content": "Hello"})
    async def tokenize_content(request: Request) -> Response:
        '''The first line is the summary; the rest is the description.'''

Where a handler has several paths, the uppermost is its name and the others are aliases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Endpoint:
    """Models of what goes in and what comes out."""

    answer: Any = None
    """A model, or a type made of models; None where all answers are streams."""
    media_type: str = "application/json"
    """Of the answer."""
    body: Any = None
    """A `RequestBody`, or a list of such."""
    event: Any = None
    """Of the stream, where there is one."""
    path: type[BaseModel] | None = None
    """Parameters in the path."""
    query: type[BaseModel] | None = None
    """Parameters behind the question mark."""
    example: Mapping[str, Any] | Sequence[Any] | None = None
    """A body that a real server answers."""
    example_path: str = ""
    """A path that a real server answers, where the endpoint's own has parameters."""
    example_answer: Any = None
    needs: str = ""
    """What a server must have been started with to answer the example."""
    errors: tuple[int, ...] = ()
    """Statuses beside those that every endpoint has."""


ENDPOINTS: dict[Callable[..., Any], Endpoint] = {}


def describes(**facts: Any) -> Callable[[Handler], Handler]:
    """Decorate a handler with an `Endpoint` of these facts."""

    def register(handler: Handler) -> Handler:
        ENDPOINTS[handler] = Endpoint(**facts)
        return handler

    return register
