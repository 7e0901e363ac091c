"""Guessed tokens in a step: whatever they are, a sequence says what it says without them."""

import random

import pytest

from .conftest import DATA

N_DRAFT = 4
MODELS = {
    "attention": DATA / "llama" / "model-f32.gguf",
    "window": DATA / "gemma3" / "model-f32.gguf",
    "hybrid": DATA / "qwen35moe-rollback.gguf",
}
PROMPT = list(range(40, 72))  # longer than the window


@pytest.fixture(params=MODELS)
def context(request, pannier):
    with (
        pannier.Model(MODELS[request.param]) as model,
        model.context(
            n_ctx=1024,
            n_parallel=4,
            n_batch=64,
            n_ubatch=64,
            n_threads=1,
            n_rs_seq=N_DRAFT,
            n_outputs_max=4 * (1 + N_DRAFT),
            type_k="f32",
            type_v="f32",
            flash_attn="off",  # its rounding depends most on the shape of a batch
        ) as context,
    ):
        yield context


class Speaker:
    """One sequence and what it said."""

    def __init__(self, context, params, prompt=PROMPT, seq_id=0, n_probs=0):
        self.context = context
        self.seq_id = seq_id
        self.feed = list(prompt)
        self.said, self.logprobs = [], []
        context.sequence(seq_id).clear()
        context.set_sampler(seq_id, params, list(prompt), n_probs)

    def add_to(self, batch, draft=()):
        batch.add(self.seq_id, self.feed, sample=True, draft=draft)

    def hear(self, result):
        tokens = [row.token for row in result.sampled if row.seq_id == self.seq_id]
        self.logprobs += [row.logprob for row in result.sampled if row.seq_id == self.seq_id]
        self.said += tokens
        self.feed = tokens[-1:]
        assert self.seq_id not in result.lost
        return len(tokens)


def speak(context, params, n, guess=lambda said: (), **more):
    """The n next tokens, with `guess(said)` drafted in each step but the first; and the steps."""
    import pannier

    speaker = Speaker(context, params, **more)
    n_steps = 0
    while len(speaker.said) < n:
        batch = pannier.Batch()
        speaker.add_to(batch, guess(speaker.said) if speaker.said else ())
        speaker.hear(context.step(batch))
        n_steps += 1
        assert len(context.sequence(speaker.seq_id)) == len(PROMPT) + len(speaker.said) - 1
    return speaker.said[:n], n_steps


def right(expected):
    return lambda said: expected[len(said) : len(said) + N_DRAFT]


def wrong(expected):
    return lambda said: [token ^ 1 for token in right(expected)(said)]


def half_right(expected):
    return lambda said: right(expected)(said)[:2] + wrong(expected)(said)[2:]


def by_chance(expected):
    rng = random.Random(1)

    def guess(said):
        draft = right(expected)(said)[: rng.randrange(N_DRAFT + 1)]
        return [token ^ (rng.random() < 0.3) for token in draft]

    return guess


@pytest.mark.parametrize("kind", [right, wrong, half_right, by_chance])
def test_greedy_tokens_stay_the_same(pannier, context, kind):
    params = pannier.SamplingParams.greedy()
    expected, n_alone = speak(context, params, 48)
    assert n_alone == 48
    said, n_steps = speak(context, params, 48, kind(expected))
    assert said == expected
    if kind is right:
        assert n_steps == 1 + 10  # the first step has no draft, the others give five tokens
    if kind is wrong:
        assert n_steps == 48


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 7, "temperature": 1.5, "top_k": 0, "min_p": 0},
        {"seed": 7, "temperature": 0.8, "repeat_penalty": 1.3, "frequency_penalty": 0.5},
        {"seed": 3, "mirostat": 2},
        {"temperature": 0, "dry_multiplier": 0.8},
        {"temperature": 0, "grammar": "root ::= [a-z ]+"},
    ],
    ids=["seed", "penalties", "mirostat", "dry", "grammar"],
)
def test_every_sampler_chooses_as_without_drafts(pannier, context, options):
    params = pannier.SamplingParams(**options)
    expected, _ = speak(context, params, 32, n_probs=1)
    for kind in (right, wrong, half_right):
        assert speak(context, params, 32, kind(expected), n_probs=1)[0] == expected


def test_logprobs_come_with_each_accepted_token(pannier, context):
    params = pannier.SamplingParams.greedy()
    alone = Speaker(context, params, n_probs=2)
    for _ in range(1 + N_DRAFT + 1):
        batch = pannier.Batch()
        alone.add_to(batch)
        alone.hear(context.step(batch, n_top=2))
    together = Speaker(context, params, n_probs=2)
    for draft in ([], alone.said[1 : 1 + N_DRAFT]):
        batch = pannier.Batch()
        together.add_to(batch, draft)
        result = context.step(batch, n_top=2)
        together.hear(result)
    assert together.said == alone.said
    assert together.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
    assert all(row.top[0] == (row.token, row.logprob) for row in result.sampled)


def test_sequences_with_drafts_do_not_disturb_each_other(pannier, context):
    params = pannier.SamplingParams.greedy()
    prompts = {seq_id: [seq_id + 50, *PROMPT[: 31 - seq_id]] for seq_id in range(4)}
    expected = {}
    for seq_id, prompt in prompts.items():
        speaker = Speaker(context, params, prompt)
        while len(speaker.said) < 40:
            batch = pannier.Batch()
            speaker.add_to(batch)
            speaker.hear(context.step(batch))
        expected[seq_id] = speaker.said
    speakers = [Speaker(context, params, prompt, seq_id) for seq_id, prompt in prompts.items()]
    for speaker in speakers:
        batch = pannier.Batch()
        speaker.add_to(batch)
        speaker.hear(context.step(batch))
    rng = random.Random(5)
    while min(len(speaker.said) for speaker in speakers) < 30:
        batch = pannier.Batch()
        n = rng.randrange(N_DRAFT + 1)
        for speaker in speakers:
            n_said, whole = len(speaker.said), expected[speaker.seq_id]
            draft = [*whole[n_said:], *[9] * N_DRAFT][:n]
            speaker.add_to(batch, [token ^ (rng.random() < 0.2) for token in draft])
        result = context.step(batch)
        for speaker in speakers:
            speaker.hear(result)
    for speaker in speakers:
        n = min(len(speaker.said), 40)
        assert speaker.said[:n] == expected[speaker.seq_id][:n]


def test_a_copy_and_a_saved_state_are_of_what_was_accepted(pannier, context):
    params = pannier.SamplingParams.greedy()
    expected, _ = speak(context, params, 30)
    speaker = Speaker(context, params)
    for draft in ([], [expected[1], expected[2], expected[3] ^ 1]):
        batch = pannier.Batch()
        speaker.add_to(batch, draft)
        speaker.hear(context.step(batch))
    assert speaker.said == expected[:4]
    context.sequence(0).copy_to(1)
    context.sequence(2).load(context.sequence(0).save())
    for seq_id in (1, 2, 0):
        context.set_sampler(seq_id, params)
        said = list(speaker.said)
        while len(said) < 30:
            batch = pannier.Batch()
            batch.add(seq_id, said[-1:], sample=True)
            said.append(context.step(batch).sampled[0].token)
        assert said == expected


def test_a_grammar_that_ends_inside_a_draft_fails_its_own_row_only(pannier, context):
    params = pannier.SamplingParams(temperature=0, grammar='root ::= "a"')
    context.set_sampler(0, params)
    batch = pannier.Batch()
    batch.add(0, PROMPT, sample=True, draft=[1, 2, 3])
    rows = context.step(batch).sampled
    assert [row.row for row in rows] == list(range(len(PROMPT) - 1, len(PROMPT) - 1 + len(rows)))
    assert len(context.sequence(0)) == len(PROMPT) + len(rows) - 1


def test_a_state_that_cannot_go_back_takes_no_draft(pannier, model):
    with model.context(n_ctx=256, n_rs_seq=4, n_outputs_max=8) as context:
        assert context.n_draft_max == 0
        context.set_sampler(0, pannier.SamplingParams.greedy())
        batch = pannier.Batch()
        batch.add(0, [1, 2], sample=True, draft=[3])
        with pytest.raises(pannier.ArgumentError, match="cannot take them back"):
            context.step(batch)
        assert len(context.sequence(0)) == 0


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([3, 0, 0], "row 0 is a draft"),
        ([0, 3, 0], "row 1 is a draft"),
        ([1, 3, 0], "row 2 follows drafts"),
        ([1, 3, 1], "row 2 follows drafts"),
        ([2, 3, 3], "row 1 is a draft"),
    ],
)
def test_a_draft_out_of_place_is_an_error(pannier, context, outputs, words):
    context.set_sampler(0, pannier.SamplingParams.greedy())
    with pytest.raises(pannier.ArgumentError, match=words):
        context.step(pannier.Batch([1, 2, 3], [0, 0, 0], outputs))
    assert len(context.sequence(0)) == 0


def test_a_refused_rollback_leaves_an_empty_sequence_and_says_so(pannier):
    """Prompts in the same step make passes of their own, which may move a state."""
    with (
        pannier.Model(MODELS["hybrid"]) as model,
        model.context(n_ctx=1024, n_parallel=4, n_batch=64, n_threads=1, n_rs_seq=4) as context,
    ):
        for seq_id in (0, 1, 2):
            context.set_sampler(seq_id, pannier.SamplingParams.greedy())
            context.step(pannier.Batch([5] * 12, [seq_id] * 12, [0] * 12))
        batch = pannier.Batch()
        batch.add(1, [7], sample=True, draft=[200, 201])
        batch.add(0, [7] * 6)
        batch.add(2, [7] * 6)
        result = context.step(batch)
        assert result.sampled
        assert result.lost == [1]
        assert len(context.sequence(1)) == 0


@pytest.fixture
def window(pannier):
    with (
        pannier.Model(MODELS["window"]) as model,
        model.context(
            n_ctx=1024,
            n_parallel=15,
            n_batch=128,
            n_ubatch=8,
            n_threads=1,
            n_outputs_max=20,
            type_k="f32",
            type_v="f32",
            flash_attn="off",
        ) as context,
    ):
        yield context


def test_a_shared_window_is_whole_after_wrong_drafts(pannier, window):
    """What a sequence may let go of is known only when the drafts are gone."""
    params = pannier.SamplingParams.greedy()
    expected, _ = speak(window, params, 48)
    speaker = Speaker(window, params)
    batch = pannier.Batch()
    speaker.add_to(batch)
    speaker.hear(window.step(batch))
    window.sequence(0).copy_to(1)
    while len(speaker.said) < 44:
        batch = pannier.Batch()
        speaker.add_to(batch, wrong(expected)(speaker.said))
        speaker.hear(window.step(batch))
    assert speaker.said == expected[:44]


def test_a_window_that_lost_cells_in_an_earlier_pass_is_given_up(pannier, window):
    """Drafts in two ubatches: the second one may take cells that those before the drafts see."""
    params = pannier.SamplingParams.greedy()
    expected, _ = speak(window, params, 40)
    window.sequence(0).clear()
    window.set_sampler(0, params)
    for seq_id in range(1, 15):  # few cells are left
        window.step(pannier.Batch([3] * 16, [seq_id] * 16, [0] * 16))
    said, feed, n_lost = [], list(PROMPT), 0
    while len(said) < 36:
        batch = pannier.Batch()
        batch.add(1, [3])
        batch.add(0, feed, sample=True, draft=[expected[len(said)] ^ 1] * 7)
        batch.add(2, [3] * 7)
        result = window.step(batch)
        said += [row.token for row in result.sampled]
        n_lost += len(result.lost)
        assert len(window.sequence(0)) == (0 if result.lost else len(PROMPT) + len(said) - 1)
        feed = [*PROMPT, *said] if result.lost else said[-1:]
    assert said == expected[:36]
    assert n_lost > 0
