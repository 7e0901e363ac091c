"""The engine side with guesses on: every answer is that of a fresh sequence without them."""

from __future__ import annotations

import json
import random
import threading
import urllib.request
from multiprocessing import Pipe
from pathlib import Path

import pytest

from pannier.sampling import SamplingParams
from pannier.server.config import EngineConfig
from pannier.server.engine import run_engine
from pannier.server.messages import Failed, Query, Ready, Shutdown, Started, StepOutputs, Submit

from .test_clients import serving

DATA = Path(__file__).parents[1] / "data"
MODELS = {
    "attention": DATA / "llama" / "model-f32.gguf",
    "window": DATA / "gemma3" / "model-f32.gguf",
    "hybrid": DATA / "qwen35moe-rollback.gguf",
}
NO_ROLLBACK = DATA / "qwen3next" / "model-f32.gguf"

GRAMMAR = 'root ::= ("ab"){40}'

pytestmark = pytest.mark.engine


class Engine:
    """`run_engine` in a thread."""

    def __init__(self, model, **options):
        # the rounding of flash attention and of a cache in f16 depends most on the batch's shape
        exact = {"cache_type_k": "f32", "cache_type_v": "f32", "flash_attn": "off"}
        sizes = {"n_ctx": 2048, "n_batch": 128, "n_ubatch": 128, "n_threads": 1}
        self.config = EngineConfig(str(model), **sizes, **exact, **options)
        self.ours, self.theirs = Pipe(duplex=True)
        self.thread = threading.Thread(target=run_engine, args=(self.theirs, self.config))

    def __enter__(self):
        self.thread.start()
        while not isinstance(news := self.ours.recv(), Ready):
            assert not isinstance(news, Failed), news.error
        self.ready = news
        return self

    def __exit__(self, *_):
        self.ours.send(Shutdown())
        self.thread.join(60)
        self.ours.close()
        assert not self.thread.is_alive()

    def run(self, requests):
        """Submit and finish. Returns each one's tokens, and its last timings."""
        for request in requests:
            self.ours.send(request)
        said = {request.id: [] for request in requests}
        timings = {}
        while len(timings) < len(requests):
            news = self.ours.recv()
            assert isinstance(news, (Started, StepOutputs))
            for output in getattr(news, "outputs", ()):
                said[output.id] += output.tokens
                assert output.finish != "error", output.error
                if output.finish:
                    timings[output.id] = output.timings
        return said, timings

    def slots(self):
        self.ours.send(Query(10**6, "slots"))
        return self.ours.recv().report


def requests_of(seed):
    """Clients with a common prompt, long and short answers, and every kind of sampler."""
    rng = random.Random(seed)
    common = [rng.randrange(10, 250) for _ in range(70)]
    kinds = [
        SamplingParams.greedy(),
        SamplingParams(temperature=0.0, grammar='root ::= ("one two three ")+'),
        SamplingParams(temperature=0.0, repeat_penalty=1.1, repeat_last_n=8),
        SamplingParams(seed=5, temperature=0.3),
    ]
    return [
        Submit(
            id,
            common + [rng.randrange(10, 250) for _ in range(rng.randrange(1, 30))],
            rng.choice(kinds),
            max_tokens=rng.choice([1, 7, 60, 120]),
            n_probs=rng.choice([0, 0, 2]),
        )
        for id in range(1, 13)
    ]


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
@pytest.mark.parametrize("kind", MODELS)
def test_answers_are_those_of_a_fresh_sequence_alone(kind, kv_unified):
    requests = requests_of(kind)
    expected = {}
    for request in requests:
        with Engine(MODELS[kind], n_parallel=1) as alone:
            expected |= alone.run([request])[0]
    guessing = {"spec_type": "ngram-simple", "spec_size_m": 4, "kv_unified": kv_unified}
    with Engine(MODELS[kind], n_parallel=4, **guessing) as engine:
        assert not engine.ready.notice
        assert all(slot["speculative"] for slot in engine.slots())
        said, timings = engine.run(requests)
    assert said == expected
    n_drafted = sum(timing.draft_n for timing in timings.values())
    n_accepted = sum(timing.draft_n_accepted for timing in timings.values())
    assert 0 < n_accepted < n_drafted


@pytest.mark.parametrize(
    ("sizes", "n_draft"),
    [
        ({}, 8),
        ({"spec_size_m": 100}, 100),
        ({"spec_size_m": 200}, 126),  # 4 * (1 + 126) tokens in a ubatch of 512, with some to spare
        ({"n_ubatch": 32}, 6),
        ({"n_ctx": 16}, 2),
        ({"n_parallel": 256}, 0),
        ({"spec_type": "none"}, 0),
    ],
)
def test_the_guesses_of_all_slots_fit_one_ubatch(sizes, n_draft):
    assert EngineConfig("m", **{"spec_type": "ngram-simple", **sizes}).n_draft == n_draft


def test_timings_tell_of_guesses_where_there_were_any(cpu_engine):
    body = {
        "prompt": [50] * 20,
        "n_predict": 64,
        "temperature": 0,
        "return_tokens": True,
        "grammar": GRAMMAR,
    }
    with serving(cpu_engine, "-c", "512", "-t", "1", model=MODELS["attention"]) as server:
        plain = post(server, body)
    guessing = ("--spec-type", "ngram-simple", "--spec-ngram-simple-size-m", "5")
    with serving(
        cpu_engine, "-c", "512", "-t", "1", *guessing, model=MODELS["attention"]
    ) as server:
        faster = post(server, body)
        stopped = post(server, {**body, "stop": ["babababab"], "n_probs": 1})
    assert plain["content"] == faster["content"]
    assert "draft_n" not in plain["timings"]
    assert 40 < faster["timings"]["draft_n_accepted"] <= faster["timings"]["draft_n"]
    assert faster["timings"]["predicted_n"] == plain["timings"]["predicted_n"] == 64
    assert stopped["content"] == "a"
    assert stopped["stop_type"] == "word"
    assert stopped["timings"]["predicted_n"] == stopped["tokens_predicted"] == 10
    assert stopped["timings"]["draft_n_accepted"] > 0


def post(server, body):
    data = json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.port}/completion"
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
        return json.load(answer)


def test_off_unless_asked_for():
    with Engine(MODELS["attention"], n_parallel=2) as engine:
        assert not any(slot["speculative"] for slot in engine.slots())
        _, timings = engine.run(requests_of(1)[:2])
        assert all(timing.draft_n == 0 for timing in timings.values())


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (NO_ROLLBACK, {}, "this model's state"),
        (MODELS["attention"], {"n_parallel": 64}, "no room for guesses of 64 slots"),
    ],
)
def test_what_cannot_guess_says_so_at_the_start_and_serves(model, options, words):
    with Engine(model, **{"n_parallel": 2, **options}, spec_type="ngram-simple") as engine:
        assert "--spec-type ngram-simple is off" in engine.ready.notice
        assert words in engine.ready.notice
        assert not any(slot["speculative"] for slot in engine.slots())
        said, _ = engine.run([Submit(1, [5] * 40, SamplingParams.greedy(), max_tokens=9)])
        assert len(said[1]) == 9
