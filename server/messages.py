"""What the HTTP side and the engine side say to each other.

Small data classes, both ways, over one `multiprocessing` connection; no object
is shared. The engine side may be a thread or a child process: neither side can
tell. To the engine go `Submit` or `Embed`, `Cancel`, `Query` and `Shutdown`. From it come
some `Loading`, one `Ready` or `Failed`, then one `StepOutputs` for each step that had
something to say, one `Started` for each step that begins with new requests, and one
`Answer` for each `Query`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..sampling import SamplingParams

FinishReason = Literal["eos", "length", "embedded", "cancelled", "error"]
Overflow = Literal["stop", "shift", "error"]
Logits = Literal["", "last", "all"]
Adapters = tuple[tuple[int, float], ...]
"""LoRA adapters with their scales, by id, without those whose scale is 0: what a request is
computed with. Requests with different ones share neither a step nor a prefix."""
QueryKind = Literal[
    "memory", "slots", "metrics", "alive", "slot_save", "slot_restore", "slot_erase"
]


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
    boundaries: tuple[int, ...] = ()
    """Lengths of prefixes of the prompt from which later prompts are likely to go on: up to the
    end of the system prompt, of each message."""
    generated: tuple[int, ...] = ()
    """Tokens that an engine which is gone sampled for this request: computed like the prompt,
    known to the sampler as its own, counted in `max_tokens`, not sent again."""
    cache_prompt: bool = True
    """Start from a prefix that is there; otherwise compute the whole prompt."""
    overflow: Overflow = "stop"
    """At the end of the context: finish with "length", or forget the middle and go on, or refuse
    at once a request whose `max_tokens` do not fit."""
    n_keep: int = 0
    """Tokens at the start of the prompt that a shift keeps; -1: the whole prompt."""
    priority: int = 0
    """Higher starts first; equal ones in order of arrival."""
    key: str = ""
    """Whose request this is, for limits per client; empty: nobody's."""
    adapters: Adapters = ()
    slot: int = -1
    """The slot that it waits for; -1: any."""
    n_discard: int = 0
    """Tokens that a shift forgets; 0: half of those that it may."""
    progress: bool = False
    """Tell how far the prompt is, from its start on and with each step."""
    report_memory: bool = False
    """Tell with the last output what the request held."""
    prompt_counts: bool = True
    """Penalties look back on the prompt, and not only on what was sampled."""
    logits: Logits = ""
    """Bring the logits of the last token of the prompt, or of all that are computed. Only between
    threads of one process: they are large."""


@dataclass(frozen=True, slots=True)
class Embed:
    """A request to an engine that embeds; its one `Output` has the `rows`."""

    id: int
    prompts: list[list[int]]
    """None of them empty, or longer than a ubatch of the engine."""
    priority: int = 0
    key: str = ""
    adapters: Adapters = ()
    """As in `Submit`."""

    @property
    def n_tokens(self) -> int:
        """Of all prompts."""
        return sum(map(len, self.prompts))


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
    slot: int = -1
    """For those about a slot, which wait until it is idle."""
    path: str = ""
    """File to save to or restore from."""

    @property
    def is_action(self) -> bool:
        """It is about what an engine holds: another engine cannot answer it."""
        return self.kind.startswith("slot_")


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
    notice: str = ""
    """What the operator asked for and does not get, and why."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is being loaded: the fraction done, 0 to 1. Any number of them, before `Ready`."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine side could not start, or ended. Nothing follows."""

    error: str


@dataclass(frozen=True, slots=True)
class Started:
    """These requests got a slot and are computed from now on. Sent before their first step: if
    the engine ends in it, one of them may be why."""

    ids: tuple[int, ...]


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
    cache_reason: str = ""
    """Why the others were not: one of `scheduler.reasons`."""
    drift_at: int = -1
    """Where the prompt leaves what the cache holds; -1 where it shares nothing or all of it."""
    draft_n: int = 0
    """Tokens that were guessed before they were sampled."""
    draft_n_accepted: int = 0
    """Those that came true."""


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
    """HTTP status that suits `error`: 400 for a request that can never run, 503 for one that may
    run later."""
    retry_after_s: int = 0
    """With status 503: when to try again."""
    timings: Timings | None = None
    """With the last output; with the first too where the engine side has them, and with each one
    of a request that has guesses: the HTTP side ends a request at a stop string before the last
    one comes."""
    slot: int = -1
    """Slot that runs the request; -1 where it has none yet."""
    rows: list[Any] = field(default_factory=list)
    """When `finish` is "embedded": of each prompt a float32 array, [n_embd_out], or [n_tokens,
    n_embd_out] where nothing is pooled."""
    processed: list[int] = field(default_factory=list)
    """How many tokens of the prompt were computed or there, at its start and after each step;
    only for requests that ask."""
    memory: dict[str, int] | None = None
    """What the request held at its end, with the last output of those that ask."""
    logits: list[Any] = field(default_factory=list)
    """Of those that ask: float32 arrays, [n_vocab], of tokens of the prompt, in their order."""


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """Everything that one step produced, for all requests."""

    outputs: list[Output]


@dataclass(frozen=True, slots=True)
class Answer:
    """The report asked for by the `Query` with the same id, JSON-ready."""

    id: int
    report: Any


AnyRequest = Submit | Embed
ToEngine = AnyRequest | Cancel | Query | Shutdown
FromEngine = Loading | Ready | Failed | Started | StepOutputs | Answer
