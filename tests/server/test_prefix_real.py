"""Shared, forked, stored, cut and replayed runs on real engines say what a fresh sequence says.

Random trees of requests go through the scheduler, its cache and a real context; each answer is
compared with a greedy run alone. Where two logits differ by less than the noise of a batch's
shape, either token is right: such a flip ends the comparison, and must be rare.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pannier.batch import Batch
from pannier.sampling import SamplingParams
from pannier.server.context_memory import ContextMemory
from pannier.server.engine import limits
from pannier.server.loop import to_sampled
from pannier.server.messages import Submit
from pannier.server.prefix_cache import CacheSizes
from pannier.server.scheduler import Scheduler
from pannier.server.state_store import StateStore

pytestmark = pytest.mark.engine

DATA = Path(__file__).parents[1] / "data"
NOISE = 1e-3
"""Logits closer than this may change places with the shape of a batch."""
EXACT = {"n_threads": 1, "type_k": "f32", "type_v": "f32", "flash_attn": "off"}
"""Keys and values without rounding: what is left is the order of sums."""
N_SLOTS = 4
MODELS = {
    "attention": "llama/model-f32.gguf",
    "experts": "qwen3moe/model-f32.gguf",
    "sliding window": "gemma3/model-f32.gguf",
    "recurrent": "mamba2/model-f32.gguf",
    "hybrid": "qwen3next/model-f32.gguf",
    "hybrid with rollback": "qwen35moe-rollback.gguf",
}


class World:
    """The engine side of a server without its messages."""

    def __init__(self, model, directory=None, host_bytes=2_000_000, **context):
        options = {"n_ctx": 1024, "n_parallel": N_SLOTS + 5, "n_batch": 64, "n_ubatch": 32}
        self.context = model.context(**{**options, **EXACT, **context})
        sizes = CacheSizes(
            self.context.kv_cell_bytes,
            self.context.recurrent_seq_bytes + self.context.window_seq_bytes,
            host_bytes,
            10**8 if directory else 0,
        )
        bounds = limits(self.context, min(N_SLOTS, self.context.n_parallel))
        self.scheduler = Scheduler(bounds, (), None, sizes)
        self.store = StateStore(directory, "test")
        self.memory = ContextMemory(self.context, self.store)
        self.said: dict[int, list[int]] = {}
        self.ended: dict[int, str] = {}
        self.n_reused: dict[int, int] = {}

    def submit(self, request):
        self.said[request.id] = []
        self.note([self.scheduler.submit(request)])

    def note(self, outputs):
        for output in outputs:
            if output is not None:
                self.said[output.id] += output.tokens
                if output.finish:
                    self.ended[output.id] = output.finish

    def carry_out(self, operations):
        whole = self.memory.perform(operations)
        if not whole:
            self.scheduler.lose(self.memory.lost, self.memory.bad_keys)
        return whole

    def step(self, fail=False):
        plan = self.scheduler.schedule()
        whole = self.carry_out(plan.operations)
        for running in plan.started:
            self.n_reused[running.id] = running.n_reused
            self.context.set_sampler(running.seq, running.request.sampling)
        if not whole or not plan.chunks:
            return
        if fail:
            for chunk in plan.chunks:
                self.context.sequence(chunk.request.seq).clear()
            self.note(self.scheduler.retry(plan, "on purpose"))
            return
        batch = Batch()
        for chunk in plan.chunks:
            batch.add(chunk.request.seq, chunk.tokens, sample=chunk.sample)
        by_seq = {chunk.request.seq: chunk.request.id for chunk in plan.chunks}
        sampled = self.context.step(batch).sampled
        self.note(
            self.scheduler.update(plan, [to_sampled(by_seq[r.seq_id], r, False) for r in sampled])
        )

    def run(self):
        while not self.scheduler.is_idle:
            self.step()

    def close(self):
        self.context.close()


class Alone:
    """A fresh sequence for each prompt."""

    def __init__(self, model):
        self.context = model.context(n_ctx=1024, n_parallel=1, n_batch=512, **EXACT)

    def gap_at_first_difference(self, prompt, said):
        """None if every token is the likeliest; else how much likelier the first other one is."""
        sequence = self.context.sequence(0)
        sequence.clear()
        tokens = list(prompt)
        for token in [*said]:
            batch = Batch()
            batch.add(0, tokens, logits=False)
            batch.outputs[-1] = 2
            self.context.step(batch)
            logits = self.context.logits(len(batch) - 1)
            gap = float(logits.max() - logits[token])
            if gap > 0:
                return gap
            tokens = [token]
        return None

    def close(self):
        self.context.close()


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS.keys())
def model(request, pannier):
    with pannier.Model(DATA / request.param) as model:
        yield model


@pytest.fixture(scope="module")
def alone(model):
    alone = Alone(model)
    yield alone
    alone.close()


def request(id, prompt, max_tokens=8, **more):
    return Submit(id, prompt, SamplingParams.greedy(), max_tokens=max_tokens, **more)


def words(rng, n):
    return [rng.randrange(3, 250) for _ in range(n)]


def check(alone, world, prompts):
    """Returns the number of flips."""
    gaps = [
        gap
        for id, prompt in prompts.items()
        if (gap := alone.gap_at_first_difference(prompt, world.said[id])) is not None
    ]
    assert max(gaps, default=0) < NOISE, gaps
    return len(gaps)


def test_a_prefix_is_computed_once_and_serves_all(model, alone):
    rng = random.Random(1)
    common = words(rng, 150)
    prompts = {id: common + words(rng, 12) for id in range(1, 9)}
    world = World(model)
    for id, prompt in prompts.items():
        world.submit(request(id, prompt))
    world.run()
    assert sum(world.n_reused.values()) >= 7 * 150
    assert world.scheduler.tree.n_cells <= 150 + 8 * 20
    held = [world.context.sequence(i).memory() for i in range(world.context.n_parallel)]
    most = world.scheduler.limits.n_sequences * 20 + 150
    assert sum(m.n_cells - m.n_cells_shared for m in held) <= most
    assert check(alone, world, prompts) <= 1
    world.close()


def test_conversations_over_a_restart_with_the_disk(model, alone, tmp_path):
    rng = random.Random(2)
    histories = {c: words(rng, 60) for c in range(4)}
    id, prompts, n_computed, n_new = 0, {}, 0, 0
    world = World(model, tmp_path, host_bytes=0)
    for turn in range(6):
        if turn == 3:
            world.scheduler.cache.flush()
            world.carry_out(world.scheduler.take_operations())
            world.close()
            world = World(model, tmp_path, host_bytes=0)
            for tokens, path in world.store.found():
                world.store.adopt(world.scheduler.cache.add_stored(tokens), path)
        now = {}
        for c in histories:
            id += 1
            new = words(rng, 15)
            n_new += len(new) + 1 + (60 if turn == 0 else 0)
            now[c], prompts[id] = id, histories[c] + new
            world.submit(request(id, prompts[id]))
        world.run()
        turn_prompts = {i: prompts[i] for i in now.values()}
        assert check(alone, world, turn_prompts) <= 1
        for c, i in now.items():
            n_computed += len(prompts[i]) - world.n_reused[i]
            histories[c] = prompts[i] + world.said[i]
    assert n_computed <= 1.05 * n_new
    world.close()


def random_requests(rng, n):
    prompts = [[]]
    for id in range(1, n + 1):
        base = rng.choice(prompts)
        base = base[: rng.choice([len(base), rng.randrange(len(base) + 1)])]
        prompt = (base + words(rng, rng.randrange(1, 70)))[:300]
        prompts = [*prompts[-12:], prompt]
        ends = tuple(sorted(rng.choices(range(1, len(prompt) + 1), k=rng.randrange(3))))
        yield request(id, prompt, rng.choice([1, 4, 12, 25]), boundaries=ends)


@pytest.mark.parametrize("seed", range(3))
def test_random_trees_with_cancels_failures_and_evictions(model, alone, tmp_path, seed):
    rng = random.Random(seed)
    directory = tmp_path if seed == 1 else None
    unified = seed != 2
    shape = {"n_ctx": 640} if unified else {"n_ctx": N_SLOTS * 512, "n_parallel": N_SLOTS}
    world = World(model, directory, host_bytes=60_000 * seed, kv_unified=unified, **shape)
    waiting = list(random_requests(rng, 40))
    prompts = {asked.id: asked.prompt for asked in waiting}
    while waiting or not world.scheduler.is_idle:
        if waiting and rng.random() < 0.4:
            world.submit(waiting.pop(0))
        if rng.random() < 0.02:
            world.note([world.scheduler.cancel(rng.choice(list(prompts)))])
        if world.scheduler.is_idle:
            world.scheduler.cache.flush(1)
        world.step(fail=rng.random() < 0.02)
    assert set(world.ended) == set(prompts)
    assert "error" not in world.ended.values()
    assert sum(world.n_reused.values()) > 0
    assert check(alone, world, prompts) <= 3
    world.close()
