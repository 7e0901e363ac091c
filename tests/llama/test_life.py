"""The end of a `Llama`, and of calls that nobody waits for any more."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_python

DATA = Path(__file__).parents[1] / "data"
LLAMA = str(DATA / "llama" / "model-f32.gguf")
HYBRID = str(DATA / "qwen3next" / "model-f32.gguf")
SMALL: dict[str, Any] = {"n_threads": 1, "n_threads_batch": 1, "verbose": False}
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8}
ENDLESS: dict[str, Any] = {"temperature": 0.0, "max_tokens": -1, "logit_bias": {2: -100.0}}

pytestmark = pytest.mark.engine

ROUNDS = """
import ctypes, gc, json, os, sys, threading
import pannier

def work(llama, i, started, errors):
    never = pannier.StoppingCriteriaList([lambda tokens, logits: False])
    try:
        while True:
            if i == 0:
                for _ in llama("hi", stream=True, max_tokens=-1):
                    started.set()
            elif i == 1:
                llama("hello", max_tokens=8, stopping_criteria=never)
            elif i == 2:
                llama.create_chat_completion([{"role": "user", "content": "x"}], max_tokens=8)
            else:
                llama.eval(llama.tokenize(b"hello world"))
                llama.sample()
                llama.reset()
    except pannier.ClosedError as error:
        errors.append(str(error))

def once(model):
    llama = pannier.Llama(model, n_ctx=512, n_parallel=2, n_threads=1, verbose=False)
    started, errors = threading.Event(), []
    threads = [
        threading.Thread(target=work, args=(llama, i, started, errors)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    llama.close()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return errors

def facts():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(open("/proc/self/statm").read().split()[1])
    return [
        pages * os.sysconf("SC_PAGESIZE"),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    ]

errors, seen = [], []
for _ in range(20):
    errors += once(sys.argv[1])
    seen.append(facts())
print(json.dumps([errors, seen]))
"""
MOST_GROWTH_BYTES = 16 << 20
"""What the allocator may keep after the first rounds: one leaked context of these models and the
Python around it are a few MiB each round."""


@pytest.mark.parametrize("model", [LLAMA, HYBRID], ids=["attention", "hybrid"])
def test_nothing_is_left_of_one_that_was_closed_under_its_threads(
    cpu_engine: Any, model: str
) -> None:
    errors, seen = json.loads(run_python(cpu_engine, ROUNDS, model))
    assert len(errors) == 80
    assert all("closed" in error for error in errors)
    sizes, n_files, n_threads = zip(*seen, strict=True)
    assert set(n_threads) == {1}
    assert len(set(n_files)) == 1
    assert sizes[-1] - sizes[7] < MOST_GROWTH_BYTES


def test_closing_does_not_wait_for_those_who_evaluate(pannier: Any) -> None:
    """They never let go of their turn for long, and nobody else needs it."""
    llama = pannier.Llama(LLAMA, n_parallel=2, **SMALL)
    tokens = llama.tokenize(b"hello")
    with llama._position_lock:  # as during `eval`
        with_others: list[Any] = []
        thread = threading.Thread(target=lambda: with_others.append(llama("hi", **GREEDY)))
        thread.start()
        thread.join(60)
        assert with_others
        closing = threading.Thread(target=llama.close)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()
    with pytest.raises(pannier.ClosedError, match="is closed"):
        llama.eval(tokens)


def test_a_sampler_does_not_outlive_its_model(pannier: Any) -> None:
    import numpy as np

    model = pannier.Model(LLAMA)
    sampler = pannier.Sampler(model, pannier.SamplingParams())
    row = np.zeros(model.n_vocab, dtype=np.float32)
    sampler.accept(sampler.choose(row))
    model.close()
    for use in (lambda: sampler.choose(row), lambda: sampler.accept(1)):
        with pytest.raises(pannier.ClosedError, match=r"the model .* is closed"):
            use()
    sampler.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stepped", [False, True], ids=["sampled", "stepped"])
def test_a_cancelled_coroutine_frees_its_slot(pannier: Any, stream: bool, stepped: bool) -> None:
    never = pannier.StoppingCriteriaList([lambda tokens, logits: False]) if stepped else None
    options = {**ENDLESS, "stopping_criteria": never}

    async def endless(llama: Any) -> None:
        rows = await llama.acreate_completion("once", stream=stream, **options)
        async for _ in rows:
            pass

    async def work(llama: Any) -> Any:
        tasks = [asyncio.create_task(endless(llama)) for _ in range(3)]  # one of them waits
        while len(llama._pool._calls) < 2:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        return await llama.acreate_completion("hello", **GREEDY)

    with pannier.Llama(LLAMA, n_ctx=4096, n_parallel=2, **SMALL) as llama:
        expected = llama("hello", **GREEDY)["choices"]
        assert asyncio.run(asyncio.wait_for(work(llama), 60))["choices"] == expected
        assert llama._pool._calls == {}


def test_streams_that_are_left_free_their_slots(pannier: Any) -> None:
    async def first(llama: Any) -> Any:
        rows = await llama.acreate_completion("once", stream=True, **ENDLESS)
        row = await anext(rows)
        await rows.aclose()
        return row

    with pannier.Llama(LLAMA, n_ctx=4096, n_parallel=1, **SMALL) as llama:
        for _ in range(3):
            rows = llama("once", stream=True, **ENDLESS)
            assert next(rows)["choices"]
            del rows
            assert asyncio.run(first(llama))["choices"]
        assert llama._pool._calls == {}
        assert llama("hello", **GREEDY)["choices"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_functions_raise_ends_only_their_call(pannier: Any, stream: bool) -> None:
    def processor(tokens: Any, logits: Any) -> Any:
        if len(tokens) > 5:
            raise KeyError(len(tokens))
        return logits

    with pannier.Llama(LLAMA, n_parallel=1, **SMALL) as llama:
        processors = pannier.LogitsProcessorList([processor])
        for _ in range(3):
            with pytest.raises(KeyError):
                list(llama("hi", stream=stream, logits_processor=processors, **GREEDY))
        assert llama._pool._calls == {}
        assert llama("hello", **GREEDY)["choices"]


def test_what_does_not_fit_is_told_by_the_arguments_of_a_llama(pannier: Any) -> None:
    with pannier.Llama(LLAMA, n_ctx=256, **SMALL) as llama:
        for call in (llama.eval, llama, lambda tokens: next(llama.generate(tokens))):
            with pytest.raises(ValueError, match="n_ctx"):
                call([5] * 300)
        with pytest.raises(ValueError, match="grammar"):
            llama("hi", grammar=pannier.LlamaGrammar.from_string('root ::= ("a"', verbose=False))
        with pytest.raises(ValueError, match="mirostat_mode is 3"):
            llama("hi", mirostat_mode=3)
    for name in ("n_ctx", "n_cells", "n_batch"):
        with pytest.raises(ValueError, match=f"{name} is -1; it must be at least"):
            pannier.Llama(LLAMA, **{name: -1}, **SMALL)
    with pytest.raises(ValueError, match="flash_attn"):
        pannier.Llama(LLAMA, type_v=8, **SMALL)
