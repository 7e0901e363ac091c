"""One context, many callers: threads, coroutines, lists of prompts."""

import asyncio
import os
import threading
import time

import numpy as np
import pytest

from tests.bindings.conftest import DATA
from tests.conftest import run_python

PROMPTS = [[1 + i, 20, 30 + i % 3, 40, 50] for i in range(12)]
SMALL = {"n_ctx": 2048, "n_parallel": 4, "n_threads": 1, "n_threads_batch": 1, "warmup": False}

pytestmark = pytest.mark.engine


@pytest.fixture
def pool(model):
    with model.pool(**SMALL) as pool:
        yield pool


@pytest.fixture
def greedy(pannier):
    return pannier.SamplingParams.greedy()


def alone(model, greedy, prompt, n):
    """The tokens of a context that nobody shares."""
    from pannier import Batch

    with model.context(n_ctx=1024, n_parallel=1, n_threads=1) as context:
        context.set_sampler(0, greedy)
        tokens, found = prompt, []
        while len(found) < n:
            batch = Batch()
            batch.add(0, tokens, sample=True)
            found.append(context.step(batch).sampled[0].token)
            tokens = found[-1:]
        return found


def tokens_of(call):
    return [token for output in call for token in output.tokens]


def test_threads_get_what_each_would_have_got_alone(model, pool, greedy):
    expected = [alone(model, greedy, prompt, 8) for prompt in PROMPTS]
    found = {}

    def work(i):
        found[i] = tokens_of(pool.submit(PROMPTS[i], greedy, max_tokens=8))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(PROMPTS))] == expected


def test_coroutines(pool, greedy):
    async def one(prompt):
        call = pool.submit_async(prompt, greedy, max_tokens=8)
        return [token async for output in call for token in output.tokens]

    async def all_of_them():
        return await asyncio.gather(*map(one, PROMPTS))

    assert asyncio.run(all_of_them()) == [
        tokens_of(pool.submit(prompt, greedy, max_tokens=8)) for prompt in PROMPTS
    ]


def test_an_event_loop_that_was_closed_disturbs_nobody(pool, greedy):
    async def begin():
        return pool.submit_async(PROMPTS[0], greedy, max_tokens=64)

    loop = asyncio.new_event_loop()
    call = loop.run_until_complete(begin())
    loop.close()
    assert len(tokens_of(pool.submit(PROMPTS[1], greedy, max_tokens=64))) == 64
    call.close()


def test_a_call_that_is_left_frees_its_slot(pool, greedy):
    for _ in range(20):  # five times as many as there are slots, each without an end
        for output in pool.submit(PROMPTS[0], greedy, max_tokens=1900):
            assert output.tokens
            break
    assert len(tokens_of(pool.submit(PROMPTS[1], greedy, max_tokens=4))) == 4
    assert pool._calls == {}


def test_a_prompt_that_never_fits(pannier, pool, greedy):
    with pytest.raises(pannier.ArgumentError, match="the prompt has 5000 tokens"):
        list(pool.submit([1] * 5000, greedy))
    with pytest.raises(pannier.ArgumentError, match="empty prompt"):
        pool.submit([], greedy)
    assert len(tokens_of(pool.submit(PROMPTS[0], greedy, max_tokens=4))) == 4


def test_closing_ends_what_runs(pannier, model, greedy):
    pool = model.pool(**SMALL)
    errors = []

    def work():
        with pytest.raises(pannier.ClosedError) as caught:
            for _ in pool.submit(PROMPTS[0], greedy, max_tokens=2000):
                started.set()
        errors.append(str(caught.value))

    started = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(6)]  # two of them wait
    for thread in threads:
        thread.start()
    assert started.wait(30)
    model.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 6
    assert all("the pool was closed" in error for error in errors)
    pool.close()
    with pytest.raises(pannier.ClosedError, match="make another one"):
        pool.submit(PROMPTS[0], greedy)
    assert not [one for one in threading.enumerate() if one.name.startswith("pannier-")]


def test_a_pool_that_failed_says_so_and_can_be_closed(pannier, model, greedy, monkeypatch):
    from pannier.server.loop import EngineLoop

    def fail(loop):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(EngineLoop, "run", fail)
    pool = model.pool(**SMALL)
    with pytest.raises(pannier.errors.ClosedError, match="failed: out of luck"):
        list(pool.submit(PROMPTS[0], greedy, max_tokens=4))
    pool.close()
    pool.close()
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(pannier.errors.ClosedError, match="context is closed"):
        pool.context.memory()


def test_many_prompts(pool, greedy):
    seen = []
    prompts = ([1, 2, 3 + i] for i in range(40))
    answers = pool.generate(prompts, greedy, max_tokens=6, progress=seen.append)
    assert seen == list(range(1, 41))
    for i, answer in enumerate(answers):
        assert list(answer.tokens) == tokens_of(pool.submit([1, 2, 3 + i], greedy, max_tokens=6))
        assert (answer.finish_reason, answer.n_prompt) == ("length", 3)
    assert pool.generate([]) == []


def test_a_stop_string_ends_an_answer(pannier):
    with pannier.Model(DATA / "llama" / "model-f32.gguf") as model, model.pool(**SMALL) as pool:
        greedy = pannier.SamplingParams.greedy()
        [whole] = pool.generate(["a prompt"], greedy, max_tokens=12)
        stop = max(whole.text.split("\N{REPLACEMENT CHARACTER}"), key=len)[:2]
        [cut] = pool.generate(["a prompt"], greedy, max_tokens=12, stop=[stop])
        assert (cut.finish_reason, cut.stop) == ("stop", stop)
        assert stop
        assert whole.text.startswith(cut.text + stop)
        assert pool._calls == {}


def test_an_error_ends_the_others_too(pannier, pool, greedy):
    with pytest.raises(pannier.ArgumentError, match="5000"):
        pool.generate([[1, 2], [1] * 5000, [1, 2, 3]], greedy, max_tokens=4)
    deadline = time.monotonic() + 30
    while pool._calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pool._calls == {}


def test_options(pannier, model):
    with pytest.raises(pannier.ArgumentError, match=r"no option 'n_gpu_layers'.*said to Model"):
        model.pool(n_gpu_layers=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_is_told(cpu_engine):
    """The threads of a pool stay in the process that made it."""
    code = f"""
import os
import pannier

with pannier.Model({str(DATA / "llama" / "model-f32.gguf")!r}) as model:
    pool = model.pool(**{SMALL!r})
    child = os.fork()
    if child == 0:
        try:
            pool.submit([1, 2], pannier.SamplingParams.greedy())
        except pannier.ClosedError as error:
            print("told" if "forked" in str(error) else error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    pool.close()
"""
    assert run_python(cpu_engine, code).strip() == "told"


def test_the_interpreter_may_end_with_an_open_pool(cpu_engine):
    code = f"""
import pannier

model = pannier.Model({str(DATA / "llama" / "model-f32.gguf")!r})
pool = model.pool(**{SMALL!r})
call = pool.submit([1, 2], pannier.SamplingParams.greedy(), max_tokens=2000)
next(iter(call))
print("end", flush=True)
"""
    assert run_python(cpu_engine, code).strip() == "end"


def logits_alone(model, tokens):
    """[n_tokens, n_vocab] from a context of its own."""
    from pannier import Batch

    with model.context(n_ctx=1024, n_parallel=1, n_threads=1, n_outputs_max=512) as context:
        batch = Batch()
        batch.add(0, tokens, logits=True)
        context.step(batch)
        return np.stack([context.logits(row) for row in range(len(tokens))])


def test_logits(pannier, model, greedy):
    """Of all tokens, over several steps; of the last one, token by token, beside others."""
    prompt = [3 + i % 90 for i in range(150)]
    expected = logits_alone(model, prompt)
    with model.pool(**SMALL | {"n_batch": 64, "n_ubatch": 64}, logits_all=True) as pool:
        others = [pool.submit([9, i], greedy, max_tokens=200) for i in range(3)]
        call = pool.submit(prompt, greedy, max_tokens=0, logits="all", cache_prompt=False)
        found = np.stack([row for output in call for row in output.logits])
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-2  # chunks of another length
        for n in range(140, 150):
            call = pool.submit(prompt[:n], greedy, max_tokens=0, logits="last")
            outputs = list(call)
            [row] = [row for output in outputs for row in output.logits]
            assert np.abs(row - expected[n - 1]).max() < 1e-2
            assert n == 140 or outputs[-1].timings.prompt_n == 1, "goes on from the last one"
        assert [len(tokens_of(other)) for other in others] == [200] * 3
    with model.pool(**SMALL) as pool, pytest.raises(pannier.ArgumentError, match="logits_all=True"):
        pool.submit(prompt, greedy, logits="all")
