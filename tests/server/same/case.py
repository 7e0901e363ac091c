"""One request that both servers get, and what is compared of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A request. `name` is unique in its table."""

    name: str
    path: str
    body: Any = None
    """None: a GET."""
    method: str = ""
    """Empty: POST with a body, GET without."""
    world: str = "llama"
    """Which pair of servers: a key of `pair.WORLDS`."""
    ignore: Mapping[str, str] = field(default_factory=dict)
    """Differences of this case alone: a pattern of paths, as in `known`, and why they differ."""
    status: int = 200
    """What both answer."""
    before: tuple[tuple[str, Any], ...] = ()
    """Requests (path, body) that go ahead of this one; their answers are not compared."""

    @property
    def verb(self) -> str:
        return self.method or ("GET" if self.body is None else "POST")


def completion(
    name: str,
    path: str = "/completion",
    ignore: Mapping[str, str] | None = None,
    world: str = "llama",
    **body: Any,
) -> Case:
    """A greedy completion of a few tokens that starts from nothing; `body` changes it."""
    base = {"prompt": "Once upon a time", "n_predict": 8, "temperature": 0, "cache_prompt": False}
    return Case(name, path, {**base, **body}, world=world, ignore=ignore or {})


def refused(name: str, path: str, body: Any, status: int = 400, **more: Any) -> Case:
    """Both refuse it with this status and type; the words are each server's own."""
    return Case(name, path, body, status=status, **more)
