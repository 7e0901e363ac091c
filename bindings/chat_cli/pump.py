"""A reply in a thread of its own, so that Ctrl-C is heard while the engine computes."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from .session import Reply, ReplyEnd, Speaker

POLL_S = 0.1
GRACE_S = 1.0
"""A step that ends within this time after Ctrl-C need not be aborted."""

News = str | ReplyEnd | BaseException


def run_reply(reply: Reply, speaker: Speaker, show: Callable[[str], None]) -> ReplyEnd:
    """Show a reply's pieces as they come. To be called in the main thread.

    The first Ctrl-C stops the reply, which then ends as "interrupted"; a second
    one aborts the step that runs. Raises what the reply raises.
    """
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    worker = threading.Thread(target=_work, args=(reply, news.put), name="pannier-reply")
    with ctrl_c() as presses:
        worker.start()
        try:
            while not isinstance(item := _next(news, presses, speaker), ReplyEnd):
                if isinstance(item, BaseException):
                    raise item
                show(item)
            return item
        finally:
            _end(worker, speaker)


@contextlib.contextmanager
def ctrl_c() -> Iterator[list[float]]:
    """Collects the times of Ctrl-C instead of raising KeyboardInterrupt."""
    presses: list[float] = []

    def press(_signal: int, _frame: FrameType | None) -> None:
        presses.append(time.monotonic())

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # a job in the background does not hear it
        signal.signal(signal.SIGINT, press)
    try:
        yield presses
    finally:
        signal.signal(signal.SIGINT, before)


def _work(reply: Reply, tell: Callable[[News], None]) -> None:
    try:
        while True:
            tell(next(reply))
    except StopIteration as ended:
        tell(ended.value)
    except BaseException as error:  # the main thread raises it
        tell(error)


def _next(news: queue.SimpleQueue[News], presses: list[float], speaker: Speaker) -> News:
    while True:
        _pass_on(presses, speaker)
        with contextlib.suppress(queue.Empty):
            return news.get(timeout=POLL_S)


def _pass_on(presses: list[float], speaker: Speaker) -> None:
    """Again and again: a stop that comes before the reply has begun is not heard."""
    if len(presses) > 1 or (presses and time.monotonic() - presses[0] > GRACE_S):
        speaker.abort()
    elif presses:
        speaker.stop()


def _end(worker: threading.Thread, speaker: Speaker) -> None:
    """Whoever listened may be gone: the thread must not outlive the engine's owner."""
    while worker.is_alive():
        speaker.stop()
        worker.join(POLL_S)
