"""The scheduler against a plain model of the engine: no clock, no native code."""

import random

import pytest

from pannier.sampling import SamplingParams
from pannier.server.messages import Submit
from pannier.server.scheduler import Limits, SampledToken, Scheduler

EOG = 0


def make(n_slots=4, n_ctx=1024, n_ctx_seq=None, n_batch=64, n_mixed=32, unified=True):
    limits = Limits(n_slots, n_ctx, n_ctx_seq or n_ctx, n_batch, n_mixed, unified)
    return Scheduler(limits, eog={EOG})


def request(id, n_prompt=10, max_tokens=5):
    return Submit(id, list(range(1, n_prompt + 1)), SamplingParams.greedy(), max_tokens=max_tokens)


def step(scheduler, token=7):
    """One step of an engine that always says `token`. Returns the plan and the outputs."""
    plan = scheduler.schedule()
    sampled = [SampledToken(chunk.request.id, token) for chunk in plan.chunks if chunk.sample]
    return plan, scheduler.update(plan, sampled)


def run_to_end(scheduler, token=7, limit=10_000):
    outputs = []
    while not scheduler.is_idle:
        outputs += step(scheduler, token)[1]
        limit -= 1
        assert limit, "the scheduler never finishes"
    return outputs


def shape(plan):
    return [(chunk.request.id, len(chunk.tokens), chunk.sample) for chunk in plan.chunks]


def test_a_request_prefills_then_decodes_to_its_length():
    scheduler = make()
    assert scheduler.submit(request(1, n_prompt=10, max_tokens=3)) is None
    plan, outputs = step(scheduler)
    assert [running.id for running in plan.started] == [1]
    assert shape(plan) == [(1, 10, True)]
    assert outputs[0].tokens == [7]
    assert shape(step(scheduler)[0]) == [(1, 1, True)]
    _, outputs = step(scheduler)
    assert outputs[0].finish == "length"
    assert scheduler.is_idle
    assert scheduler.take_released() == [0]
    assert scheduler.cells.n_free == 1024


def test_end_of_generation_is_not_among_the_tokens():
    scheduler = make()
    scheduler.submit(request(1))
    _, outputs = step(scheduler, token=EOG)
    assert (outputs[0].finish, outputs[0].tokens) == ("eos", [])


def test_no_tokens_wanted_computes_the_prompt_only():
    scheduler = make()
    scheduler.submit(request(1, max_tokens=0))
    plan, outputs = step(scheduler)
    assert shape(plan) == [(1, 10, True)]
    assert (outputs[0].finish, outputs[0].tokens) == ("length", [])


def test_a_long_prompt_goes_in_chunks_of_the_batch():
    scheduler = make(n_batch=64)
    scheduler.submit(request(1, n_prompt=150))
    assert shape(step(scheduler)[0]) == [(1, 64, False)]
    assert shape(step(scheduler)[0]) == [(1, 64, False)]
    assert shape(step(scheduler)[0]) == [(1, 22, True)]


def test_decode_comes_first_and_prefill_takes_what_is_left():
    scheduler = make(n_batch=64, n_mixed=32)
    scheduler.submit(request(1, n_prompt=4, max_tokens=100))
    step(scheduler)
    scheduler.submit(request(2, n_prompt=100))
    assert shape(step(scheduler)[0]) == [(1, 1, True), (2, 31, False)]


def test_requests_wait_in_order_for_a_slot():
    scheduler = make(n_slots=2)
    for id in (1, 2, 3, 4):
        scheduler.submit(request(id, max_tokens=2))
    step(scheduler)
    assert set(scheduler.running) == {1, 2}
    step(scheduler)
    plan, _ = step(scheduler)
    assert [running.id for running in plan.started] == [3, 4]


def test_a_request_waits_until_its_cells_are_free():
    scheduler = make(n_ctx=100)
    scheduler.submit(request(1, n_prompt=50, max_tokens=10))
    scheduler.submit(request(2, n_prompt=50, max_tokens=10))
    step(scheduler)
    assert set(scheduler.running) == {1}
    outputs = run_to_end(scheduler)
    assert {output.id: output.finish for output in outputs if output.finish} == {
        1: "length",
        2: "length",
    }


def test_a_split_cache_has_cells_for_each_slot():
    scheduler = make(n_slots=2, n_ctx=200, n_ctx_seq=100, unified=False)
    scheduler.submit(request(1, n_prompt=90, max_tokens=10))
    scheduler.submit(request(2, n_prompt=90, max_tokens=10))
    step(scheduler)
    assert set(scheduler.running) == {1, 2}


@pytest.mark.parametrize(("n_prompt", "words"), [(0, "empty"), (1024, "1024 tokens")])
def test_what_can_never_run_is_refused_at_once(n_prompt, words):
    output = make(n_ctx=1024).submit(request(1, n_prompt=n_prompt))
    assert (output.finish, output.status) == ("error", 400)
    assert words in output.error


def test_a_prompt_that_just_fits_gets_one_token():
    scheduler = make(n_ctx=64)
    scheduler.submit(request(1, n_prompt=63, max_tokens=-1))
    outputs = run_to_end(scheduler)
    assert sum(len(output.tokens) for output in outputs) >= 1
    assert outputs[-1].finish == "length"


def test_an_open_ended_request_grows_until_the_cache_is_full():
    scheduler = make(n_slots=4, n_ctx=1024, n_batch=64)
    scheduler.submit(request(1, n_prompt=10, max_tokens=-1))
    outputs = run_to_end(scheduler)
    # The last token needs no cell of its own.
    assert sum(len(output.tokens) for output in outputs) == 1024 - 10 + 1
    assert outputs[-1].finish == "length"


def test_an_open_ended_request_takes_nothing_that_others_reserved():
    scheduler = make(n_slots=2, n_ctx=1000)
    scheduler.submit(request(1, n_prompt=10, max_tokens=-1))
    scheduler.submit(request(2, n_prompt=10, max_tokens=480))
    outputs = run_to_end(scheduler)
    ends = {output.id: output.finish for output in outputs if output.finish}
    n_tokens = {id: sum(len(o.tokens) for o in outputs if o.id == id) for id in (1, 2)}
    assert ends == {1: "length", 2: "length"}
    assert n_tokens[2] == 480


def test_cancel_frees_slot_and_cells_at_once():
    scheduler = make()
    scheduler.submit(request(1))
    scheduler.submit(request(2))
    step(scheduler)
    assert scheduler.cancel(1).finish == "cancelled"
    assert scheduler.take_released() == [0]
    assert set(scheduler.cells.reserved) == {2}
    assert scheduler.cancel(1) is None


def test_cancel_of_a_waiting_request():
    scheduler = make(n_slots=1)
    scheduler.submit(request(1))
    scheduler.submit(request(2))
    step(scheduler)
    assert scheduler.cancel(2).finish == "cancelled"
    assert not scheduler.waiting


def test_a_token_for_a_request_that_was_cancelled_meanwhile_is_dropped():
    scheduler = make()
    scheduler.submit(request(1))
    plan = scheduler.schedule()
    scheduler.cancel(1)
    assert scheduler.update(plan, [SampledToken(1, 7)]) == []


def test_a_failed_sampler_ends_its_own_request():
    scheduler = make()
    scheduler.submit(request(1))
    scheduler.submit(request(2))
    plan = scheduler.schedule()
    first, second = scheduler.update(plan, [SampledToken(1, -1), SampledToken(2, 7)])
    assert (first.finish, first.status) == ("error", 400)
    assert (second.finish, second.tokens) == (None, [7])


def test_rows_of_a_plan_are_in_slot_order():
    scheduler = make(n_slots=4)
    for id in (1, 2, 3):
        scheduler.submit(request(id, max_tokens=100))
    step(scheduler)
    scheduler.cancel(1)
    scheduler.submit(request(4))
    plan, _ = step(scheduler)
    slots = [chunk.request.slot for chunk in plan.chunks]
    assert slots == sorted(slots) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_random_traffic_keeps_every_promise(seed):
    """Whatever comes and goes: no slot twice, no cell twice, no step too large, all end."""
    rng = random.Random(seed)
    unified = rng.random() < 0.7
    n_slots = rng.choice([1, 3, 8])
    n_ctx = rng.choice([128, 512])
    scheduler = make(
        n_slots, n_ctx, n_ctx if unified else n_ctx // n_slots, 32, 16 + n_slots, unified
    )
    cells = dict.fromkeys(range(n_slots), 0)
    ended, submitted = set(), 0
    for _ in range(400):
        if submitted < 60 and rng.random() < 0.4:
            submitted += 1
            asked = request(submitted, rng.randrange(0, 90), rng.choice([-1, 0, 3, 40]))
            refused = scheduler.submit(asked)
            if refused is not None:
                ended.add(refused.id)
        if rng.random() < 0.1 and submitted:
            output = scheduler.cancel(rng.randint(1, submitted))
            ended.update([output.id] if output else [])
        for slot in scheduler.take_released():
            cells[slot] = 0
        plan = scheduler.schedule()
        for running in plan.started:
            assert cells[running.slot] == 0, "a slot was given away before it was cleared"
        slots = [chunk.request.slot for chunk in plan.chunks]
        assert len(set(slots)) == len(slots)
        assert plan.n_tokens <= 32
        for chunk in plan.chunks:
            cells[chunk.request.slot] += len(chunk.tokens)
            assert cells[chunk.request.slot] <= scheduler.cells.reserved[chunk.request.id]
        assert not unified or sum(cells.values()) <= n_ctx
        sampled = [
            SampledToken(chunk.request.id, rng.choice([EOG, 5, 6, 7, 8, 9, 10, -1]))
            for chunk in plan.chunks
            if chunk.sample
        ]
        ended.update(o.id for o in scheduler.update(plan, sampled) if o.finish)
    while not scheduler.is_idle:
        ended.update(o.id for o in step(scheduler)[1] if o.finish)
    assert ended == set(range(1, submitted + 1))
    assert scheduler.free_slots == list(range(n_slots))
    assert scheduler.cells.reserved == {}
