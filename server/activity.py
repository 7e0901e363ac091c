"""What an engine has done since it started, for `/memory`: totals that only grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .reasons import NONE
from .running import Running

if TYPE_CHECKING:
    from .message_loop import MessageLoop


def activity(loop: MessageLoop[Any]) -> dict[str, Any]:
    """Requests, tokens, and why prompts had to be computed again."""
    counters, scheduler = loop.counters, loop.scheduler
    n_refused = counters.n_refused + counters.n_timed_out
    n_failed = counters.ends["error"] - n_refused
    running = [one for one in scheduler.running.values() if isinstance(one, Running)]
    return {
        "n_running": len(scheduler.running),
        "n_waiting": len(scheduler.waiting),
        "max_queue": scheduler.policy.max_queue,
        "n_started": counters.starts.total(),
        "n_hits": counters.n_hits,
        "n_finished": counters.ends.total() - n_failed - n_refused,
        "n_refused": n_refused,
        "n_failed": n_failed,
        "n_prompt_tokens": counters.prompt.n_tokens,
        "n_cached_tokens": counters.n_cached,
        "n_generated_tokens": counters.predicted.n_tokens + sum(map(n_sampled, running)),
        "uptime_s": round(loop.clock() - counters.since, 3),
        "reasons": {reason: n for reason, n in counters.starts.items() if reason != NONE},
    }


def n_sampled(running: Running) -> int:
    """Tokens that a request got from this engine: what came before was another's."""
    return running.n_generated - len(running.request.generated)


def progress(running: Running | None) -> dict[str, Any]:
    """How far the request of a sequence is; a prefix that is kept has none."""
    if running is None:
        return {"state": "kept", "n_prompt": 0, "n_reused": 0, "n_computed": 0, "n_generated": 0}
    return {
        "state": "decoding" if running.is_decoding else "prompt",
        "n_prompt": running.n_prompt,
        "n_reused": running.n_reused,
        "n_computed": running.n_computed,
        "n_generated": running.n_generated,
    }
