"""What an engine has done since it started, for `/metrics` and `/memory`."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .messages import Output
from .plan import Plan
from .running import Running
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from .scheduler import Scheduler


@dataclass(slots=True)
class Work:
    """Tokens, and the seconds that they took."""

    n_tokens: int = 0
    n_timed: int = 0
    """Of these, those with a step of their own: the first token of an answer has none."""
    seconds: float = 0.0

    def add(self, n_tokens: int, n_timed: int, seconds: float) -> None:
        """Some more."""
        self.n_tokens += n_tokens
        self.n_timed += n_timed
        self.seconds += seconds

    @property
    def per_second(self) -> float:
        return self.n_timed / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Counters:
    """Totals; the `recent` ones since they were last reported."""

    since: float
    """When it started, by the loop's clock."""
    prompt: Work = field(default_factory=Work)
    recent_prompt: Work = field(default_factory=Work)
    predicted: Work = field(default_factory=Work)
    recent_predicted: Work = field(default_factory=Work)
    n_cached: int = 0
    n_steps: int = 0
    n_busy: int = 0
    """Requests that ran, over all steps."""
    n_tokens_max: int = 0
    n_drafted: int = 0
    n_draft_accepted: int = 0
    n_draft_steps: int = 0
    n_refused: int = 0
    n_timed_out: int = 0
    starts: Counter[str] = field(default_factory=Counter)
    """By why the prompt had to be computed."""
    n_hits: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def note_start(self, running: Running) -> None:
        """A request starts."""
        self.starts[running.reason] += 1
        self.n_hits += running.n_reused > 0
        self.n_cached += running.n_reused

    def note_step(self, plan: Plan, seconds: float, n_running: int) -> None:
        """A step was computed, and the requests in it are not told yet."""
        self.n_steps += 1
        self.n_busy += n_running
        n_prompt = 0
        for chunk in plan.chunks:
            running = chunk.request
            n_prompt += 0 if running.is_decoding else len(chunk.tokens)
            self.n_tokens_max = max(self.n_tokens_max, running.n_computed + len(chunk.tokens))
            self.n_draft_steps += bool(chunk.draft.tokens)
        if n_prompt:
            self.prompt.add(n_prompt, n_prompt, seconds)
            self.recent_prompt.add(n_prompt, n_prompt, seconds)

    def note_output(self, output: Output) -> None:
        """A request that generates nothing has news."""
        if output.finish is not None:
            self.ends[output.finish] += 1

    def note_end(self, watch: Stopwatch, output: Output, now: float) -> None:
        """A request ends."""
        self.ends[output.finish or ""] += 1
        n = watch.n_predicted + (output.finish == "eos")
        seconds = now - watch.first_token if watch.first_token else 0.0
        for work in (self.predicted, self.recent_predicted):
            work.add(n, max(0, n - 1), seconds)
        self.n_drafted += watch.n_drafted
        self.n_draft_accepted += watch.n_draft_accepted

    def report(self, scheduler: Scheduler) -> dict[str, Any]:
        """Everything, JSON-ready; what is recent begins again."""
        policy = scheduler.policy
        found = {
            "prompt_tokens": self.prompt.n_tokens,
            "prompt_seconds": self.prompt.seconds,
            "prompt_per_second": self.recent_prompt.per_second,
            "predicted_tokens": self.predicted.n_tokens,
            "predicted_seconds": self.predicted.seconds,
            "predicted_per_second": self.recent_predicted.per_second,
            "cached_tokens": self.n_cached,
            "n_steps": self.n_steps,
            "n_busy": self.n_busy,
            "n_tokens_max": self.n_tokens_max,
            "n_drafted": self.n_drafted,
            "n_draft_accepted": self.n_draft_accepted,
            "n_draft_steps": self.n_draft_steps,
            "n_refused": self.n_refused,
            "n_timed_out": self.n_timed_out,
            "starts": dict(self.starts),
            "n_hits": self.n_hits,
            "ends": dict(self.ends),
            "n_running": len(scheduler.running),
            "n_waiting": len(scheduler.waiting),
            "max_queue": policy.max_queue,
            "max_per_key": policy.max_per_key,
            "clients": clients(scheduler),
        }
        self.recent_prompt, self.recent_predicted = Work(), Work()
        return found


def clients(scheduler: Scheduler) -> list[dict[str, Any]]:
    """Requests by key. A key is a secret: only a digest of it is told."""
    running = Counter(r.request.key for r in scheduler.running.values())
    waiting = Counter(request.key for request in scheduler.waiting)
    return [
        {"client": client_name(key), "n_running": running[key], "n_waiting": waiting[key]}
        for key in sorted(running | waiting)
    ]


def client_name(key: str) -> str:
    """A name for whoever shows this key, the same in every report."""
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else ""
