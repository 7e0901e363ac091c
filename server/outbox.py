"""News on its way to the HTTP side: what nobody reads before the end waits for the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .messages import Output


class Outbox:
    """Holds back the outputs of requests that want their answer whole.

    Each message to the HTTP side wakes a process that takes time from the
    engine's threads; for such a request one message is enough.
    """

    def __init__(self) -> None:
        self._held: dict[int, Output] = {}

    def hold(self, id: int) -> None:
        """From now on keep this request's outputs until its last one."""
        self._held[id] = Output(id)

    def pass_on(self, outputs: Iterable[Output]) -> Iterator[Output]:
        """What is to be sent now, of these outputs and of those that waited for them."""
        for output in outputs:
            held = self._held.get(output.id)
            if held is None:
                yield output
                continue
            held.tokens += output.tokens
            held.logprobs += output.logprobs
            if output.finish is not None:
                output.tokens, output.logprobs = held.tokens, held.logprobs
                del self._held[output.id]
                yield output
