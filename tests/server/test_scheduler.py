"""The scheduler against a model of the memory: no clock, no native code."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from pannier.sampling import SamplingParams
from pannier.server import reasons
from pannier.server.limits import Limits, Policy
from pannier.server.messages import Submit
from pannier.server.plan import SampledToken
from pannier.server.prefix_cache import CacheSizes
from pannier.server.scheduler import Scheduler
from tests.server.memory_model import EOG, N_VOCAB, MemoryModel, answer, step

ATTENTION = Limits(n_slots=4, n_ctx=1024, n_ctx_seq=1024, n_batch=64, n_mixed=32, n_seqs=8)
HYBRID = replace(ATTENTION, can_cut=False, equal_chunks=True, n_ubatch=32)
SPLIT = replace(ATTENTION, unified=False, n_seqs=4, n_ctx=4096)


def world(limits=ATTENTION, policy=None, sizes=None, period=0):
    return MemoryModel(limits, period), Scheduler(limits, {EOG}, policy, sizes)


def prompt_of(seed, n=40):
    return random.Random(seed).choices(range(1, N_VOCAB), k=n)


def request(id, prompt, max_tokens=5, **more):
    return Submit(id, prompt, SamplingParams.greedy(), max_tokens=max_tokens, **more)


def run_to_end(memory, scheduler, limit=20_000):
    outputs = []
    while not scheduler.is_idle:
        outputs += step(memory, scheduler)[1]
        limit -= 1
        assert limit, "the scheduler never finishes"
    return outputs


def run(memory, scheduler, *requests):
    """Submit and finish. Returns the prompt tokens computed, by id, and what was said."""
    computed, said = {}, {}
    for asked in requests:
        assert scheduler.submit(asked) is None
        said[asked.id] = []
    while not scheduler.is_idle:
        plan, outputs = step(memory, scheduler)
        for running in plan.started:
            computed[running.id] = len(running.request.prompt) - running.n_reused
        for output in outputs:
            said[output.id] += output.tokens
            assert output.finish != "error", output.error
    return computed, said


def shape(plan):
    return [(chunk.request.id, len(chunk.tokens), chunk.sample) for chunk in plan.chunks]


# ---------------------------------------------------------------- one request


def test_a_request_prefills_then_decodes_to_its_length():
    memory, scheduler = world()
    assert scheduler.submit(request(1, prompt_of(1, 10), 3)) is None
    plan, outputs = step(memory, scheduler)
    assert [running.id for running in plan.started] == [1]
    assert shape(plan) == [(1, 10, True)]
    assert outputs[0].tokens == answer(prompt_of(1, 10), 1, 1024)
    assert shape(step(memory, scheduler)[0]) == [(1, 1, True)]
    _, outputs = step(memory, scheduler)
    assert outputs[0].finish == "length"
    assert scheduler.is_idle
    assert scheduler.take_released() == [0]


def test_end_of_generation_is_not_among_the_tokens():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1)))
    plan = scheduler.schedule()
    memory.perform(plan.operations, scheduler)
    (output,) = scheduler.update(plan, [SampledToken(1, EOG)])
    assert (output.finish, output.tokens) == ("eos", [])


def test_no_tokens_wanted_computes_the_prompt_only():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1, 10), 0))
    plan, outputs = step(memory, scheduler)
    assert shape(plan) == [(1, 10, True)]
    assert (outputs[0].finish, outputs[0].tokens) == ("length", [])


def test_a_long_prompt_goes_in_chunks_of_the_batch():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1, 150)))
    shapes = [shape(step(memory, scheduler)[0]) for _ in range(3)]
    assert shapes == [[(1, 64, False)], [(1, 64, False)], [(1, 22, True)]]


def test_decode_comes_first_and_prefill_takes_what_is_left():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1, 4), 100))
    step(memory, scheduler)
    scheduler.submit(request(2, prompt_of(2, 100)))
    assert shape(step(memory, scheduler)[0]) == [(1, 1, True), (2, 31, False)]


def test_single_tokens_and_prompts_take_turns_where_they_would_slow_each_other_down():
    memory, scheduler = world(replace(ATTENTION, apart=True))
    for id in (1, 2):
        scheduler.submit(request(id, prompt_of(id, 4), 100))
    step(memory, scheduler)
    scheduler.submit(request(3, prompt_of(3, 80), 3))
    shapes = [shape(step(memory, scheduler)[0]) for _ in range(7)]
    singles = [(1, 1, True), (2, 1, True)]
    assert shapes[::2] == [singles, singles, singles, [*singles, (3, 1, True)]]
    assert shapes[1::2] == [[(3, 32, False)], [(3, 32, False)], [(3, 16, True)]]
    assert {o.id for o in run_to_end(memory, scheduler) if o.finish} == {1, 2, 3}


def test_whoever_measures_steps_can_make_prefill_give_way():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1, 4), 100))
    step(memory, scheduler)
    scheduler.n_mixed = 9
    scheduler.submit(request(2, prompt_of(2, 100)))
    assert shape(step(memory, scheduler)[0]) == [(1, 1, True), (2, 8, False)]


def test_prompts_of_unequal_length_do_not_share_a_step_where_that_costs_a_pass():
    memory, scheduler = world(replace(HYBRID, n_ubatch=64))
    for id, n in ((1, 20), (2, 30), (3, 10), (4, 20)):
        scheduler.submit(request(id, prompt_of(id, n)))
    assert shape(step(memory, scheduler)[0]) == [(1, 20, True), (2, 20, False), (4, 20, True)]
    run_to_end(memory, scheduler)


def test_the_tokens_of_an_engine_that_is_gone_are_computed_and_not_sent_again():
    memory, scheduler = world()
    prompt = prompt_of(3)
    whole = answer(prompt, 12, 1024)
    scheduler.submit(request(1, prompt, 12, generated=tuple(whole[:5])))
    assert [t for output in run_to_end(memory, scheduler) for t in output.tokens] == whole[5:]


# ---------------------------------------------------------------- waiting


def test_requests_wait_in_order_for_a_slot():
    memory, scheduler = world(replace(ATTENTION, n_slots=2))
    for id in (1, 2, 3, 4):
        scheduler.submit(request(id, prompt_of(id, 10), 2))
    step(memory, scheduler)
    assert set(scheduler.running) == {1, 2}
    step(memory, scheduler)
    step(memory, scheduler)
    assert set(scheduler.running) == {3, 4}


def test_priority_goes_before_arrival():
    memory, scheduler = world(replace(ATTENTION, n_slots=1))
    for id, priority in ((1, 0), (2, 0), (3, 5), (4, 5)):
        scheduler.submit(request(id, prompt_of(id), 1, priority=priority))
    ended = [o.id for o in run_to_end(memory, scheduler) if o.finish]
    assert ended == [3, 4, 1, 2]


def test_a_client_has_no_more_than_its_share_of_the_slots():
    memory, scheduler = world(policy=Policy(max_per_key=2))
    for id, key in ((1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "")):
        scheduler.submit(request(id, prompt_of(id), 9, key=key))
    step(memory, scheduler)
    assert set(scheduler.running) == {1, 2, 4, 5}
    assert {o.id for o in run_to_end(memory, scheduler) if o.finish} == {1, 2, 3, 4, 5}


def test_a_full_queue_says_when_to_come_back():
    _, scheduler = world(policy=Policy(max_queue=1, retry_after_s=7))
    n_taken = scheduler.limits.n_slots + 1  # those that find a slot do not wait
    for id in range(n_taken):
        assert scheduler.submit(request(id, prompt_of(id))) is None
    output = scheduler.submit(request(n_taken, prompt_of(n_taken)))
    assert (output.finish, output.status, output.retry_after_s) == ("error", 503, 7)
    assert "full (1 of 1)" in output.error


def test_a_request_waits_until_its_cells_are_free():
    memory, scheduler = world(replace(ATTENTION, n_ctx=100, n_ctx_seq=100))
    for id in (1, 2):
        scheduler.submit(request(id, prompt_of(id, 50), 10))
    step(memory, scheduler)
    assert set(scheduler.running) == {1}
    ends = {o.id: o.finish for o in run_to_end(memory, scheduler) if o.finish}
    assert set(ends) == {1, 2} and "error" not in ends.values()


@pytest.mark.parametrize(("n_prompt", "words"), [(0, "empty"), (1024, "1024 tokens")])
def test_what_can_never_run_is_refused_at_once(n_prompt, words):
    output = world()[1].submit(request(1, prompt_of(1, n_prompt)))
    assert (output.finish, output.status) == ("error", 400)
    assert words in output.error


def test_who_wants_an_error_for_too_many_tokens_gets_the_numbers():
    output = world()[1].submit(request(1, prompt_of(1, 1000), 100, overflow="error"))
    assert output.status == 400
    assert all(word in output.error for word in ("1000", "100", "1100", "1024", "at most 24"))


def test_a_prompt_that_just_fits_gets_one_token():
    memory, scheduler = world(replace(ATTENTION, n_ctx=64, n_ctx_seq=64))
    scheduler.submit(request(1, prompt_of(1, 63), -1))
    outputs = run_to_end(memory, scheduler)
    assert outputs[-1].finish in ("length", "eos")


def test_an_open_ended_request_takes_nothing_that_others_reserved():
    memory, scheduler = world(replace(ATTENTION, n_slots=2, n_ctx=1000, n_ctx_seq=1000))
    scheduler.eog = frozenset()
    scheduler.submit(request(1, prompt_of(1, 10), -1))
    scheduler.submit(request(2, prompt_of(2, 10), 480))
    outputs = run_to_end(memory, scheduler)
    n_tokens = {id: sum(len(o.tokens) for o in outputs if o.id == id) for id in (1, 2)}
    assert n_tokens[2] == 480
    assert n_tokens[1] > 500


def test_a_shift_forgets_the_middle_and_goes_on():
    memory, scheduler = world(replace(ATTENTION, n_ctx=64, n_ctx_seq=64))
    scheduler.eog = frozenset()
    scheduler.submit(request(1, prompt_of(1, 20), 200, overflow="shift", n_keep=20))
    outputs = run_to_end(memory, scheduler)
    assert sum(len(o.tokens) for o in outputs) == 200
    assert outputs[-1].finish == "length"


def test_cancel_frees_slot_and_promises_at_once():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1), 500))
    scheduler.submit(request(2, prompt_of(2)))
    step(memory, scheduler)
    assert scheduler.cancel(1).finish == "cancelled"
    assert scheduler.n_promised <= 2 * 45
    assert scheduler.cancel(1) is None


def test_cancel_of_a_waiting_request():
    memory, scheduler = world(replace(ATTENTION, n_slots=1))
    scheduler.submit(request(1, prompt_of(1)))
    scheduler.submit(request(2, prompt_of(2)))
    step(memory, scheduler)
    assert scheduler.cancel(2).finish == "cancelled"
    assert not scheduler.waiting


def test_a_token_for_a_request_that_was_cancelled_meanwhile_is_dropped():
    _, scheduler = world()
    scheduler.submit(request(1, prompt_of(1)))
    plan = scheduler.schedule()
    scheduler.cancel(1)
    assert scheduler.update(plan, [SampledToken(1, 7)]) == []


def test_a_failed_sampler_ends_its_own_request():
    _, scheduler = world()
    scheduler.submit(request(1, prompt_of(1)))
    scheduler.submit(request(2, prompt_of(2, 20)))
    plan = scheduler.schedule()
    first, second = scheduler.update(plan, [SampledToken(1, -1), SampledToken(2, 7)])
    assert (first.finish, first.status) == ("error", 400)
    assert (second.finish, second.tokens) == (None, [7])


# ---------------------------------------------------------------- sharing


@pytest.mark.parametrize("limits", [ATTENTION, HYBRID], ids=["attention", "hybrid"])
def test_one_prefills_what_all_share_and_the_others_wait_for_it(limits):
    memory, scheduler = world(limits)
    common = prompt_of(0, 300)
    requests = [request(id, common + prompt_of(id, 20), 8) for id in (1, 2, 3, 4)]
    computed, said = run(memory, scheduler, *requests)
    assert computed == {1: 320, 2: 20, 3: 20, 4: 20}
    assert said == {r.id: answer(r.prompt, 8, 1024) for r in requests}
    assert memory.n_cells <= 300 + 4 * 28


@pytest.mark.parametrize("limits", [ATTENTION, HYBRID], ids=["attention", "hybrid"])
def test_a_second_round_finds_the_prefix_of_the_first(limits):
    memory, scheduler = world(limits)
    common = prompt_of(0, 300)
    run(memory, scheduler, *[request(id, common + prompt_of(id, 20)) for id in (1, 2, 3, 4)])
    again = [request(id, common + prompt_of(id, 20)) for id in (5, 6, 7, 8)]
    computed, _ = run(memory, scheduler, *again)
    assert computed == {5: 20, 6: 20, 7: 20, 8: 20}


@pytest.mark.parametrize("limits", [ATTENTION, HYBRID, SPLIT], ids=["attention", "hybrid", "split"])
def test_a_conversation_computes_new_tokens_only(limits):
    memory, scheduler = world(limits)
    history = []
    for turn in range(8):
        new = prompt_of(turn, 30)
        computed, said = run(memory, scheduler, request(turn + 1, history + new))
        # the last token of the answer before was sampled, not computed
        assert computed[turn + 1] <= len(new) + 1
        history += new + said[turn + 1]


def test_completions_of_one_prompt_prefill_it_once():
    memory, scheduler = world(HYBRID)
    prompt = prompt_of(1, 100)
    computed, _ = run(memory, scheduler, *[request(id, prompt) for id in (1, 2, 3)])
    assert computed == {1: 100, 2: 1, 3: 1}


def test_states_are_kept_at_the_boundaries_that_a_request_names():
    memory, scheduler = world(HYBRID)
    prompt = prompt_of(1, 100)
    run(memory, scheduler, request(1, prompt, boundaries=(40, 90)))
    computed, _ = run(memory, scheduler, request(2, prompt[:90] + prompt_of(2, 50)))
    assert computed[2] == 50
    computed, _ = run(memory, scheduler, request(3, prompt[:40] + prompt_of(3, 50)))
    assert computed[3] == 50


def test_a_branch_point_shows_with_the_second_prompt_and_serves_the_third():
    memory, scheduler = world(HYBRID)
    common = prompt_of(0, 200)
    computed = {}
    for id in (1, 2, 3):
        computed |= run(memory, scheduler, request(id, common + prompt_of(id, 20)))[0]
    assert computed == {1: 220, 2: 220, 3: 20}


def test_kept_prefixes_give_way_to_requests():
    memory, scheduler = world(replace(ATTENTION, n_ctx=256, n_ctx_seq=256))
    for id in range(1, 9):
        run(memory, scheduler, request(id, prompt_of(id, 120)))
    assert memory.n_cells <= 256


def test_what_is_used_again_stays_longer_than_what_is_newer():
    memory, scheduler = world(replace(ATTENTION, n_ctx=512, n_ctx_seq=512))
    common = prompt_of(0, 150)
    for id in range(1, 40, 2):
        computed, _ = run(memory, scheduler, request(id, common + prompt_of(id, 10)))
        assert id == 1 or computed[id] <= 10
        run(memory, scheduler, request(id + 1, prompt_of(id + 1, 150)))


# ---------------------------------------------------------------- away from the device

STORE = CacheSizes(cell_bytes=1, state_bytes=10, host_bytes=2000, disk_bytes=0)


@pytest.mark.parametrize("limits", [ATTENTION, HYBRID], ids=["attention", "hybrid"])
def test_an_evicted_state_comes_back_from_host_memory(limits):
    limits = replace(limits, n_slots=1, n_seqs=1, n_ctx=400, n_ctx_seq=400)
    memory, scheduler = world(limits, sizes=STORE)
    first = prompt_of(1, 200)
    _, said = run(memory, scheduler, request(1, first))
    run(memory, scheduler, request(2, prompt_of(2, 200)))
    computed, _ = run(memory, scheduler, request(3, first + said[1] + prompt_of(3, 9)))
    assert computed[3] == 10


def test_a_stored_state_that_cannot_be_read_costs_its_work_and_nothing_else():
    limits = replace(HYBRID, n_slots=1, n_seqs=1, n_ctx=400, n_ctx_seq=400)
    memory, scheduler = world(limits, sizes=STORE)
    first = prompt_of(1, 200)
    _, said = run(memory, scheduler, request(1, first))
    run(memory, scheduler, request(2, prompt_of(2, 200)))
    memory.broken = set(memory.stored)
    prompt = first + said[1] + prompt_of(3, 9)
    scheduler.submit(request(3, prompt))
    outputs = run_to_end(memory, scheduler)
    assert [t for o in outputs for t in o.tokens] == answer(prompt, 5, 400)


def test_flush_writes_what_only_the_device_has():
    sizes = replace(STORE, host_bytes=0, disk_bytes=10_000)
    memory, scheduler = world(HYBRID, sizes=sizes)
    run(memory, scheduler, request(1, prompt_of(1, 100)))
    scheduler.cache.flush()
    memory.perform(scheduler.take_operations(), scheduler)
    fresh_memory, fresh = world(HYBRID, sizes=sizes)
    for tokens in memory.stored.values():
        fresh_memory.stored[fresh.cache.add_stored(tokens)] = tokens
    tokens = next(iter(memory.stored.values()))
    computed, _ = run(fresh_memory, fresh, request(2, tokens + prompt_of(2, 7)))
    assert computed == {2: 7}


@pytest.mark.parametrize("disk_bytes", [130, 250, 10_000])
def test_flushing_comes_to_an_end_whatever_fits(disk_bytes):
    """Also where a prefix that is too short to be stored is worth most."""
    sizes = replace(STORE, host_bytes=0, disk_bytes=disk_bytes)
    memory, scheduler = world(HYBRID, sizes=sizes)
    for id, n in ((1, 20), (2, 100), (3, 100), (4, 100)):
        run(memory, scheduler, request(id, prompt_of(id, n)))
    short = next(k for k in scheduler.cache.kept.values() if len(k.tokens) < 64)
    short.value = 1e9
    n_written = 0
    while True:
        scheduler.cache.flush(1)
        operations = scheduler.take_operations()
        if not operations:
            break
        n_written += 1
        assert n_written < 20
        memory.perform(operations, scheduler)
    assert len(memory.stored) == min(3, disk_bytes // 120)


# ---------------------------------------------------------------- reasons


def reason_of(memory, scheduler, asked):
    scheduler.submit(asked)
    plan, _ = step(memory, scheduler)
    run_to_end(memory, scheduler)
    return plan.started[0].reason, plan.started[0].drift_at


def test_every_prompt_that_is_computed_has_a_reason():
    memory, scheduler = world()
    first = prompt_of(1, 100)
    assert reason_of(memory, scheduler, request(1, first)) == (reasons.NOTHING_SHARED, -1)
    assert reason_of(memory, scheduler, request(2, first)) == (reasons.NONE, -1)
    drifted = first[:60] + prompt_of(2, 60)
    assert reason_of(memory, scheduler, request(3, drifted)) == (reasons.DRIFT, 60)


def test_a_hybrid_says_when_its_state_cannot_go_back():
    memory, scheduler = world(HYBRID)
    first = prompt_of(1, 100)
    run(memory, scheduler, request(1, first))
    drifted = request(2, first[:60] + prompt_of(2, 60))
    assert reason_of(memory, scheduler, drifted) == (reasons.MEMORY, 60)


def test_an_evicted_prefix_is_named_as_such():
    memory, scheduler = world(replace(ATTENTION, n_slots=1, n_seqs=1))
    run(memory, scheduler, request(1, prompt_of(1, 100)))
    run(memory, scheduler, request(2, prompt_of(2, 100)))
    assert reason_of(memory, scheduler, request(3, prompt_of(1, 100)))[0] == reasons.EVICTED


# ---------------------------------------------------------------- failures


def test_a_failed_step_is_replayed_with_the_same_tokens():
    memory, scheduler = world(HYBRID)
    requests = [request(id, prompt_of(id, 50), 20) for id in (1, 2)]
    for asked in requests:
        scheduler.submit(asked)
    said = {1: [], 2: []}
    for i in range(10_000):
        if scheduler.is_idle:
            break
        plan = scheduler.schedule()
        memory.perform(plan.operations, scheduler)
        if i in (0, 5, 12):
            memory.fail(plan)
            assert scheduler.retry(plan, "compute failed") == []
            continue
        for output in scheduler.update(plan, memory.compute(plan)):
            said[output.id] += output.tokens
    assert said == {r.id: answer(r.prompt, 20, 1024) for r in requests}


def test_a_request_that_breaks_every_step_is_found_and_ended_alone():
    memory, scheduler = world()
    for id in (1, 2, 3):
        scheduler.submit(request(id, prompt_of(id, 50), 20))
    ended = {}
    while not scheduler.is_idle:
        plan = scheduler.schedule()
        memory.perform(plan.operations, scheduler)
        if any(chunk.request.id == 2 for chunk in plan.chunks):
            memory.fail(plan)
            outputs = scheduler.retry(plan, "compute failed")
        else:
            outputs = scheduler.update(plan, memory.compute(plan))
        ended |= {o.id: o.finish for o in outputs if o.finish}
    assert ended[2] == "error"
    assert "error" not in (ended[1], ended[3])


def test_without_cells_kept_prefixes_go_first_then_the_youngest():
    memory, scheduler = world()
    run(memory, scheduler, request(1, prompt_of(1, 50)))
    for id in (2, 3):
        scheduler.submit(request(id, prompt_of(id, 50), 20))
    plan = scheduler.schedule()
    assert scheduler.give_way(plan, "no cells") == []
    assert not scheduler.cache.sequences
    plan = scheduler.schedule()
    memory.perform(plan.operations, scheduler)
    (output,) = scheduler.give_way(plan, "no cells")
    assert (output.id, output.status) == (3, 503)


# ---------------------------------------------------------------- guesses


DRAFTS = replace(ATTENTION, n_draft=4)
HYBRID_DRAFTS = replace(HYBRID, n_draft=4)


def guesses(plan):
    return {chunk.request.id: len(chunk.draft.tokens) for chunk in plan.chunks}


@pytest.mark.parametrize("limits", [DRAFTS, HYBRID_DRAFTS], ids=["attention", "hybrid"])
def test_guesses_that_come_true_save_steps_and_change_nothing(limits):
    memory, scheduler = world(limits, period=5)
    requests = [request(id, prompt_of(id), 60) for id in (1, 2, 3)]
    for asked in requests:
        scheduler.submit(asked)
    running = {}
    said = {asked.id: [] for asked in requests}
    n_steps = 0
    while not scheduler.is_idle:
        plan, outputs = step(memory, scheduler)
        running |= {chunk.request.id: chunk.request for chunk in plan.chunks}
        n_steps += 1
        for output in outputs:
            said[output.id] += output.tokens
    assert said == {r.id: answer(r.prompt, 60, 1024, period=5) for r in requests}
    assert n_steps < 50
    assert 0 < memory.n_accepted < memory.n_drafted
    n_drafted = sum(one.n_drafted for one in running.values())
    n_accepted = sum(one.n_draft_accepted for one in running.values())
    assert 0 < n_accepted <= memory.n_accepted
    assert n_accepted < n_drafted <= memory.n_drafted
    if limits.can_cut:  # no guess is there for its length only
        assert (n_drafted, n_accepted) == (memory.n_drafted, memory.n_accepted)


def test_a_draft_goes_beyond_neither_the_wanted_tokens_nor_the_reserved_cells():
    memory, scheduler = world(replace(DRAFTS, n_ctx=64, n_ctx_seq=64), period=1)
    scheduler.submit(request(1, prompt_of(1, 10), 7))
    while not scheduler.is_idle:
        plan, _ = step(memory, scheduler)
        (chunk,) = plan.chunks
        assert chunk.request.n_generated <= 7
        assert chunk.request.n_computed <= chunk.request.n_reserved == 17
    assert memory.n_drafted


def test_an_end_token_is_never_guessed():
    memory, scheduler = world(DRAFTS)
    looping = [7, 8, EOG, 9] * 8
    scheduler.submit(request(1, [*looping, 7], 20))
    plan = scheduler.schedule()
    memory.perform(plan.operations, scheduler)
    scheduler.update(plan, [SampledToken(1, 8)])
    assert guesses(scheduler.schedule()) == {1: 0}


def test_guesses_take_their_place_in_the_step_before_prompts_do():
    memory, scheduler = world(DRAFTS, period=1)
    scheduler.submit(request(1, [7] * 20, 100))
    step(memory, scheduler)
    scheduler.submit(request(2, prompt_of(2, 100)))
    plan, _ = step(memory, scheduler)
    assert guesses(plan) == {1: 4, 2: 0}
    assert plan.n_tokens == DRAFTS.n_mixed


def test_a_hybrid_guesses_nothing_beside_prompts_and_equally_much_otherwise():
    memory, scheduler = world(replace(HYBRID_DRAFTS, n_mixed=64), period=1)
    scheduler.submit(request(1, [7] * 16, 100))
    scheduler.submit(request(2, [8] * 16, 100))
    step(memory, scheduler)
    scheduler.submit(request(3, prompt_of(3, 60), 100))
    plan, _ = step(memory, scheduler)
    assert guesses(plan) == {1: 0, 2: 0, 3: 0}
    seen = set()
    while not scheduler.is_idle:
        lengths = set(guesses(step(memory, scheduler)[0]).values())
        assert len(lengths) == 1
        seen |= lengths
    assert 4 in seen


def test_a_sequence_that_could_not_go_back_is_computed_again_without_guesses():
    memory, scheduler = world(DRAFTS, period=1)
    asked = request(1, [7] * 20, 40)
    scheduler.submit(asked)
    step(memory, scheduler)
    plan, outputs = step(memory, scheduler)
    said = [7, *outputs[0].tokens]
    assert guesses(plan) == {1: 4}
    memory.fail(plan)
    scheduler.lose_drafted([plan.chunks[0].request.seq])
    assert len(step(memory, scheduler)[0].chunks[0].tokens) == 20 + len(said)
    while not scheduler.is_idle:
        assert guesses(step(memory, scheduler)[0]) == {1: 0}


# ---------------------------------------------------------------- slots


def test_a_request_waits_for_its_slot_and_others_overtake_it():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1), 5, slot=1))
    step(memory, scheduler)
    scheduler.submit(request(2, prompt_of(2), 3, slot=1))
    scheduler.submit(request(3, prompt_of(3), 3))
    step(memory, scheduler)
    assert {id: running.slot for id, running in scheduler.running.items()} == {1: 1, 3: 3}
    while 1 in scheduler.running:
        step(memory, scheduler)
    step(memory, scheduler)
    assert scheduler.running[2].slot == 1


def test_a_slot_remembers_what_was_computed_there():
    memory, scheduler = world()
    _, said = run(memory, scheduler, request(1, prompt_of(1), 4, slot=2))
    assert scheduler.slots[2].tokens == prompt_of(1) + said[1][:-1]
    assert list(scheduler.slots[2].requests) == [1]


@pytest.mark.parametrize(("keeps", "n_computed"), [(False, 40), (True, 1)])
def test_prompts_are_kept_before_their_last_token_where_slots_are_saved(keeps, n_computed):
    memory, scheduler = world(HYBRID, Policy(keep_prompts=keeps))
    run(memory, scheduler, request(1, prompt_of(1)))
    computed, _ = run(memory, scheduler, request(2, prompt_of(1)))
    assert computed == {2: n_computed}


def test_progress_is_told_with_every_chunk():
    memory, scheduler = world()
    scheduler.submit(request(1, prompt_of(1, 150), 1, progress=True))
    told = [output.processed for output in run_to_end(memory, scheduler)]
    assert told == [[64], [128], [150], []]


def test_what_is_pinned_goes_last():
    memory, scheduler = world()
    for id in (1, 2, 3):
        run(memory, scheduler, request(id, prompt_of(id), 1))
    first = scheduler.cache.victim()
    scheduler.cache.pin(first.seq, 0)
    assert scheduler.cache.victim() is not first
    scheduler.cache.unpin(0)
    assert scheduler.cache.victim() is first


# ---------------------------------------------------------------- everything at once


def random_limits(rng, n_draft):
    unified = rng.random() < 0.75
    n_slots = rng.choice([1, 3, 8])
    n_ctx = rng.choice([160, 512])
    return Limits(
        n_slots,
        n_ctx if unified else n_ctx * n_slots,
        n_ctx,
        n_batch=32,
        n_mixed=rng.choice([12, 24]),
        unified=unified,
        n_seqs=n_slots + (rng.choice([0, 1, 6]) if unified else 0),
        can_cut=rng.random() < 0.5,
        equal_chunks=(equal := rng.random() < 0.5),
        apart=not equal and rng.random() < 0.5,
        n_draft=n_draft,
    )


class Traffic:
    """Random trees of prompts: fresh ones, branches of earlier ones, conversations that go on."""

    def __init__(self, rng, limits):
        self.rng = rng
        self.limits = limits
        self.prompts = [[]]

    def request(self, id):
        rng = self.rng
        base = rng.choice(self.prompts)
        base = base[: rng.choice([len(base), rng.randrange(len(base) + 1)])]
        prompt = base + rng.choices(range(1, N_VOCAB), k=rng.randrange(1, 60))
        prompt = prompt[: self.limits.n_ctx_seq + 5]
        boundaries = tuple(sorted(rng.choices(range(1, len(prompt) + 1), k=rng.randrange(3))))
        self.prompts = [*self.prompts[-20:], prompt]
        return request(
            id,
            prompt,
            rng.choice([0, 1, 5, 30]),
            boundaries=boundaries,
            priority=rng.choice([0, 0, 0, 1]),
            key=rng.choice(["", "a", "b"]),
            slot=rng.choice([-1, -1, -1, 0, 2]),
            progress=rng.random() < 0.3,
        )


class Storm:
    """Random traffic with cancels, failed steps, broken stores, and what came of each request."""

    N_REQUESTS = 80

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        n_draft = rng.choice([1, 3, 8]) if seed % 3 == 0 else 0
        self.period = 5 if n_draft else 0
        self.limits = random_limits(rng, n_draft)
        sizes = CacheSizes(
            1, rng.choice([0, 20]), rng.choice([0, 0, 900]), rng.choice([0, 0, 3000])
        )
        policy = Policy(
            max_per_key=rng.choice([0, 2]),
            slot_similarity=rng.choice([0, 0.1, 0.9]),
            keep_prompts=rng.random() < 0.5,
        )
        self.memory, self.scheduler = world(self.limits, policy, sizes, self.period)
        self.traffic = Traffic(rng, self.limits)
        self.asked, self.said, self.ended = {}, {}, {}

    @property
    def is_over(self):
        return self.scheduler.is_idle and len(self.asked) == self.N_REQUESTS

    def note(self, outputs):
        for output in outputs:
            self.said[output.id] += output.tokens
            if output.finish:
                self.ended[output.id] = output.finish

    def come_and_go(self):
        if len(self.asked) < self.N_REQUESTS and self.rng.random() < 0.3:
            one = self.traffic.request(len(self.asked) + 1)
            self.asked[one.id], self.said[one.id] = one, []
            refused = self.scheduler.submit(one)
            assert refused is None or len(one.prompt) >= self.limits.n_ctx_seq
            self.note([refused] if refused else [])
        if self.rng.random() < 0.03 and self.asked:
            output = self.scheduler.cancel(self.rng.choice(list(self.asked)))
            self.note([output] if output else [])
        if self.rng.random() < 0.02:
            self.memory.broken |= set(self.memory.stored)

    def step(self):
        if self.scheduler.is_idle:
            self.scheduler.cache.flush(1)
        plan = self.scheduler.schedule()
        if not self.memory.perform(plan.operations, self.scheduler):
            return
        if self.rng.random() < 0.02 and plan.chunks:
            self.memory.fail(plan)
            self.note(self.scheduler.retry(plan, "failed"))
        else:
            self.note(self.scheduler.update(plan, self.memory.compute(plan)))
            self.lose_some(plan)

    def lose_some(self, plan):
        """Guesses that could not be taken back: the sequence is empty."""
        lost = [c.request.seq for c in plan.chunks if c.draft.tokens and self.rng.random() < 0.02]
        for seq in lost:
            self.memory.sequences.pop(seq, None)
        self.scheduler.lose_drafted(lost)

    def check_belief(self):
        """What the scheduler thinks each sequence holds is so."""
        if not self.scheduler.cache.operations:
            for seq in range(self.limits.n_sequences):
                assert self.scheduler.tree.tokens(seq) == self.memory.tokens(seq)
            assert self.scheduler.tree.n_cells == self.memory.n_cells


@pytest.mark.parametrize("seed", range(60))
def test_random_traffic_keeps_every_promise(seed):
    """Whatever comes, fails, is cancelled or evicted: every answer is a fresh sequence's own."""
    storm = Storm(seed)
    for _ in range(20_000):
        storm.come_and_go()
        if storm.is_over:
            break
        storm.step()
        storm.check_belief()
    assert set(storm.ended) == set(storm.asked)
    for id, one in storm.asked.items():
        whole = answer(one.prompt, one.max_tokens, storm.limits.n_ctx_seq, storm.period)
        assert storm.said[id] == whole[: len(storm.said[id])]
        if storm.ended[id] in ("length", "eos"):
            assert storm.said[id] == whole
    assert len(storm.scheduler.slots.idle) == storm.limits.n_slots


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limits", [ATTENTION, HYBRID], ids=["attention", "hybrid"])
def test_the_largest_share_of_a_request_is_known(limits, seed):
    """Beside what a memory whose cells are counted one by one says after each step."""
    rng = random.Random(seed)
    memory, scheduler = world(limits)
    for id in range(1, 15):
        length = rng.choice([40, 120])
        prompt = prompt_of(0, length) + prompt_of(id, 10)
        assert scheduler.submit(request(id, prompt, rng.randrange(1, 60))) is None
    largest = {}
    while not scheduler.is_idle:
        step(memory, scheduler)
        held = [[cell for cell, _ in cells] for cells in memory.sequences.values()]
        sharers = Counter(cell for cells in held for cell in cells)
        for running in scheduler.running.values():
            cells = memory.sequences.get(running.seq, ())
            share = sum(1 / sharers[cell] for cell, _ in cells)
            assert scheduler.tree.n_share(running.seq) == pytest.approx(share)
            largest[running.id] = max(share, largest.get(running.id, 0.0))
            known = max(share, running.n_share_before)
            assert largest[running.id] <= known + 1e-6 <= len(running.tokens) + 1e-3
    assert len(largest) > 7
