"""Requests in and out: what both schedulers do with those that wait and those that run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from .limits import Policy
from .messages import AnyRequest, FinishReason, Output
from .refusal import refusal
from .waiting import WaitingLine

MAX_FAILURES = 3
"""A request that is in so many steps that fail is ended."""

Request = TypeVar("Request", bound=AnyRequest)


class AtWork(Protocol):
    """A request that runs."""

    @property
    def request(self) -> AnyRequest:
        """What is wanted."""
        ...


Work = TypeVar("Work", bound=AtWork)


class Admission(ABC, Generic[Request, Work]):
    """Waiting and running requests."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.waiting: WaitingLine[Request] = WaitingLine()
        self.running: dict[int, Work] = {}

    @abstractmethod
    def why_never(self, request: Request) -> str:
        """Why a request can never run; empty if it can."""

    @abstractmethod
    def _release(self, work: Work) -> int:
        """Take back what a running request has. Returns its slot."""

    @property
    @abstractmethod
    def n_idle_slots(self) -> int:
        """So many more may run."""

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def submit(self, request: Request) -> Output | None:
        """Put a request in line. One that cannot run, or has no place there, is refused."""
        refused = self.why_never(request)
        if refused:
            return refusal(request, refused)
        n_waiting = len(self.waiting) - self.n_idle_slots  # the first of them are about to start
        if 0 < self.policy.max_queue <= n_waiting:
            error = f"the queue is full ({n_waiting} of {self.policy.max_queue}); try again later"
            return refusal(request, error, 503, self.policy.retry_after_s)
        self.waiting.add(request)
        return None

    def cancel(self, id: int) -> Output | None:
        """Drop a request wherever it is. None if it is not known (any more)."""
        return self._end(id, "cancelled")

    def fail(self, id: int, error: str, status: int = 500, retry_after_s: int = 0) -> Output | None:
        """End a request that cannot go on."""
        output = self._end(id, "error")
        if output is not None:
            output.error, output.status, output.retry_after_s = error, status, retry_after_s
        return output

    def _end(self, id: int, finish: FinishReason) -> Output | None:
        if id in self.running:
            return Output(id, finish=finish, slot=self._release(self.running[id]))
        if self.waiting.remove(id) is not None:
            return Output(id, finish=finish)
        return None

    def _has_its_share(self, request: Request) -> bool:
        """Whether as many of its key run as may."""
        most = self.policy.max_per_key
        same = sum(work.request.key == request.key for work in self.running.values())
        return bool(request.key) and 0 < most <= same
