"""What the HTTP side and the engine side say to each other.

Small data classes, both ways, over one `multiprocessing` connection; no object
is shared. The engine side may be a thread or a child process: neither side can
tell. To the engine go `Submit`, `Cancel`, `Query` and `Shutdown`. From it come
some `Loading`, one `Ready` or `Failed`, then one `StepOutputs` for each step that had
something to say, and one `Answer` for each `Query`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..sampling import SamplingParams

FinishReason = Literal["eos", "length", "cancelled", "error"]
QueryKind = Literal["memory", "slots"]


@dataclass(frozen=True, slots=True)
class Submit:
    """A request: run this prompt and sample up to `max_tokens` tokens."""

    id: int
    prompt: list[int]
    sampling: SamplingParams
    max_tokens: int = -1
    """-1: until the end of generation or of the context."""
    n_probs: int = 0
    """Report this many of the most likely tokens with each sampled one."""
    whole: bool = False
    """Send one output, the last, with all tokens: nobody reads them before."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this request and free what it holds. Unknown ids are ignored.

    The request ends with one last `Output` whose `finish` is "cancelled".
    """

    id: int


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for a report; answered between two steps."""

    id: int
    kind: QueryKind


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the engine loop. Running requests end with finish "cancelled"."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded and the context exists."""

    n_ctx: int
    """Cells of the KV cache, over all sequences."""
    n_ctx_slot: int
    """Most tokens (prompt and output) that one request may take."""
    n_slots: int
    n_batch: int
    load_seconds: float
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON-ready facts: engine, backends, model description, sizes."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being loaded: the fraction done, 0 to 1. Any number of them, before `Ready`."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine side could not start, or ended. Nothing follows."""

    error: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A sampled token's log-probability and the most likely alternatives, best first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """What one request cost, in tokens and in engine time."""

    prompt_n: int
    """Prompt tokens that were computed."""
    prompt_s: float
    predicted_n: int
    predicted_s: float
    queued_s: float = 0.0
    cache_n: int = 0
    """Prompt tokens that were already in the cache."""


@dataclass(slots=True)
class Output:
    """One request's news from one step."""

    id: int
    tokens: list[int] = field(default_factory=list)
    """New tokens. An end-of-generation token is never among them."""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """One per token when `n_probs` was asked, else empty."""
    finish: FinishReason | None = None
    error: str = ""
    """Why, when `finish` is "error": a sentence for the client."""
    status: int = 500
    """HTTP status that suits `error`: 400 for a request that can never run."""
    timings: Timings | None = None
    """With the last output; with the first too where the engine side has them:
    the HTTP side ends a request at a stop string before the last one comes."""
    slot: int = -1
    """Slot that runs the request; -1 where it has none yet."""


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """Everything that one step produced, for all requests."""

    outputs: list[Output]


@dataclass(frozen=True, slots=True)
class Answer:
    """The report asked for by the `Query` with the same id, JSON-ready."""

    id: int
    report: Any


ToEngine = Submit | Cancel | Query | Shutdown
FromEngine = Loading | Ready | Failed | StepOutputs | Answer
