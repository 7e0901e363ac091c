"""Sequences of one context for any number of callers: each call is a slot of the same steps.

A thread owns the context. Calls that come from other threads, or from coroutines, are batched
together and share what their prompts have in common, by the scheduler of `pannier serve`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from .completion import Completion, Progress, generate
from .errors import ArgumentError, ClosedError, DecodeError, PannierError
from .owner import Closing
from .sampling import SamplingParams
from .server.config import EngineConfig
from .server.engine import make_loop
from .server.loading import make_context
from .server.messages import Cancel, FromEngine, Output, Shutdown, StepOutputs, Submit, ToEngine

if TYPE_CHECKING:
    from .model import Model

logger = logging.getLogger("pannier.pool")

CLOSED = "the pool was closed"

OPTIONS = frozenset(
    {
        *("n_ctx", "n_parallel", "n_batch", "n_ubatch", "n_threads", "n_threads_batch"),
        *("cache_type_k", "cache_type_v", "state_type", "flash_attn", "kv_unified", "swa_full"),
        *("offload_kqv", "op_offload", "moe_cache_mib", "strict", "warmup", "logits_all"),
        *("n_prefixes", "cache_ram_mib", "prefix_cache_dir", "prefix_cache_mib"),
        *("max_queue", "queue_timeout_s", "max_per_key", "max_itl_ms", "n_ctx_slot"),
        *("spec_type", "spec_size_n", "spec_size_m"),
        *("rope_scaling", "rope_freq_base", "rope_freq_scale", "yarn_orig_ctx", "yarn_ext_factor"),
        *("yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"),
    }
)
"""Fields of `EngineConfig` that a pool takes."""

ERRORS = {400: ArgumentError, 410: ClosedError, 500: DecodeError}

Deliver = Callable[[Output], None]


class Call:
    """One prompt that is computed: its outputs, for the thread or the coroutine that takes them.

    Iterate over it once, with `for` or `async for`. Leaving it early, or `close`, frees its slot
    within a step.
    """

    def __init__(self, pool: Pool, submit: Submit, deliver: Deliver, take: Any = None) -> None:
        self.id = submit.id
        self.n_prompt = len(submit.prompt)
        self.finish = ""
        """ "eos" or "length", when it has ended."""
        self.deliver = deliver
        """Takes news, in the thread that listens."""
        self._pool = pool
        self._take = take

    def __iter__(self) -> Iterator[Output]:
        try:
            while not self.finish:
                yield self.check(self._take())
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            while not self.finish:
                yield self.check(await self._take())
        finally:
            self.close()

    def close(self) -> None:
        """Compute no more of it. From any thread; twice does nothing."""
        self._pool.forget(self.id)

    def cancel(self, why: str) -> None:
        """The same, and whoever waits for its outputs gets a ClosedError that says why."""
        if self._pool.forget(self.id):
            self.deliver(Output(self.id, finish="error", error=why, status=410))

    def check(self, output: Output) -> Output:
        """Note how it ends. Raises what the output says went wrong."""
        if output.finish == "cancelled":
            raise ClosedError(f"{CLOSED} while this call was computed")
        if output.finish == "error":
            raise ERRORS.get(output.status, PannierError)(output.error or "the engine failed")
        self.finish = output.finish or ""
        return output


class Pool(Closing):
    """Answers prompts with one context, from any thread and from coroutines.

    Args:
        model: stays open for as long as the pool is.
        config: the context and how it is shared; `model` of it is not read. See `EngineConfig`.

    Raises ContextError or ArgumentError where there can be no such context.
    """

    def __init__(self, model: Model, config: EngineConfig) -> None:
        self.model = model
        self.config = replace(config, model=str(model.path), stream_interval_ms=0.0)
        with model.gate:  # it is not closed before it knows the pool
            self._begin()

    def _begin(self) -> None:
        model = self.model
        self.context = make_context(model, self.config)
        self._connection, theirs = Pipe()
        self._loop = make_loop(theirs, self.config, model, self.context)
        self._calls: dict[int, Call] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        """Over `_calls`, `_failure` and `_closed`."""
        self._sending = threading.Lock()
        """A message longer than the pipe waits for the end of a step; news are dealt meanwhile."""
        self._failure = ""
        self._closed = False
        self._pid = os.getpid()
        self._threads = (
            threading.Thread(
                target=self._compute, args=(theirs,), name="pannier-pool", daemon=True
            ),
            threading.Thread(target=self._listen, name="pannier-pool-news", daemon=True),
        )
        for thread in self._threads:
            thread.start()
        _open.add(self)
        model.add_pool(self)

    # ------------------------------------------------------------ calls

    def submit(self, prompt: Sequence[int], sampling: SamplingParams, **options: Any) -> Call:
        """Have a prompt answered; iterate over the call for its outputs.

        `options` are other fields of `Submit`. Raises ClosedError.
        """
        inbox: queue.SimpleQueue[Output] = queue.SimpleQueue()
        return self._submit(prompt, sampling, inbox.put, inbox.get, options)

    def submit_async(self, prompt: Sequence[int], sampling: SamplingParams, **options: Any) -> Call:
        """The same for a coroutine: iterate with `async for`."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Output] = asyncio.Queue()

        def deliver(output: Output) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(inbox.put_nowait, output)

        return self._submit(prompt, sampling, deliver, inbox.get, options)

    def submit_to(
        self, deliver: Deliver, prompt: Sequence[int], sampling: SamplingParams, **options: Any
    ) -> Call:
        """The same for somebody who takes outputs as they come: `deliver` is called with each, in
        a thread of the pool's, and must not wait. `Call.check` says what went wrong."""
        return self._submit(prompt, sampling, deliver, None, options)

    def generate(
        self,
        prompts: Iterable[str | Sequence[int]],
        sampling: SamplingParams | None = None,
        *,
        max_tokens: int = -1,
        stop: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Answer many prompts, as many at once as there are slots.

        Args:
            prompts: texts or tokens; taken as there is room for them, so they may be a generator.
            sampling: as `SamplingParams()`.
            max_tokens: most of each answer; -1: until the model or the context ends it.
            stop: strings that end an answer, and are not part of its text.
            progress: called with the number of answers that are there.

        Raises ArgumentError for a prompt that can never be answered, which ends the call.
        """
        tokens = (
            self.model.tokenize(prompt, parse_special=True) if isinstance(prompt, str) else prompt
            for prompt in prompts
        )
        sampling = sampling or SamplingParams()
        return generate(self, tokens, sampling, stop, progress, max_tokens=max_tokens)

    def _submit(
        self,
        prompt: Sequence[int],
        sampling: SamplingParams,
        deliver: Deliver,
        take: Any,
        options: dict[str, Any],
    ) -> Call:
        if not prompt:
            raise ArgumentError("an empty prompt; give at least one token")
        self._check_process()
        submit = Submit(next(self._ids), list(prompt), sampling, **options)
        if submit.logits == "all" and not self.config.logits_all:
            raise ArgumentError("logits of all tokens: make the pool with logits_all=True")
        call = Call(self, submit, deliver, take)
        with self._lock:
            self._check_open()
            self._calls[submit.id] = call
        self._send(submit)
        return call

    def forget(self, id: int) -> bool:
        """Deliver nothing more of a call, and stop it if it runs. Whether it did."""
        with self._lock:
            runs = self._calls.pop(id, None) is not None and not self._failure
        if runs:
            self._send(Cancel(id))
        return runs

    def _send(self, message: ToEngine) -> None:
        """To a thread that has ended, nothing: it has ended every call."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(message)

    # ------------------------------------------------------------ end

    def close(self) -> None:
        """End the calls that run with ClosedError, and free the context. Twice does nothing."""
        self._check_process()
        with self._lock:
            was_closed, self._closed = self._closed, True
            self._failure = self._failure or CLOSED
        if was_closed:
            return
        self._loop.stopping = True
        self.context.interrupt()  # the step may be long
        self._send(Shutdown())
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._connection.close()
        self.context.close()
        _open.discard(self)

    def _check_open(self) -> None:
        if self._failure:
            raise ClosedError(f"{self._failure}; make another one")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ClosedError(
                "this process was forked from the one that made the pool, whose threads are not "
                "here: make a pool in each process, or use the method spawn of multiprocessing"
            )

    # ------------------------------------------------------------ threads

    def _compute(self, connection: Any) -> None:
        with connection:
            try:
                self._loop.run()
            except Exception as error:
                logger.exception("the pool's thread ended")
                with self._lock:
                    self._failure = self._failure or f"the pool failed: {error}"

    def _listen(self) -> None:
        try:
            while True:
                self._deal(self._connection.recv())
        except (EOFError, OSError):
            self._end_all()

    def _deal(self, message: FromEngine) -> None:
        for output in message.outputs if isinstance(message, StepOutputs) else ():
            with self._lock:
                ended = output.finish is not None
                call = self._calls.pop(output.id, None) if ended else self._calls.get(output.id)
            if call is not None:
                call.deliver(output)

    def _end_all(self) -> None:
        """Calls whose end did not come."""
        with self._lock:
            self._failure = self._failure or "the pool's thread ended"
            calls, self._calls = self._calls, {}
        for call in calls.values():
            call.deliver(Output(call.id, finish="error", error=self._failure, status=410))


def make_pool(model: Model, options: Mapping[str, Any]) -> Pool:
    """A pool over a model, by the names of `EngineConfig`. Raises ArgumentError."""
    for name in options:
        if name not in OPTIONS:
            raise ArgumentError(
                f"a pool has no option {name!r}: it has {', '.join(sorted(OPTIONS))}; where "
                "weights go is said to Model"
            )
    return Pool(model, EngineConfig(model=str(model.path), **options))


_open: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """No thread may be in the engine when the interpreter takes its memory away."""
    for pool in tuple(_open):
        if pool._pid == os.getpid():
            pool.close()
