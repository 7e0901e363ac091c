"""Steps, sequences, sampling, memory; wrong use raises and nothing dies."""

import threading

import numpy as np
import pytest

from pannier.convert.byte_vocabulary import ByteVocabulary, made_up_words
from pannier.convert.random_dense import Qwen3Spec
from pannier.convert.random_gguf import write_random

from .conftest import DATA, FAMILIES


def greedy(context, prompt, n, seq_id=0):
    """The next n greedy tokens of one sequence, alone in its steps."""
    import pannier

    context.set_sampler(seq_id, pannier.SamplingParams.greedy())
    tokens, feed = [], list(prompt)
    while len(tokens) < n:
        batch = pannier.Batch()
        batch.add(seq_id, feed, sample=True)
        feed = [context.step(batch).sampled[0].token]
        tokens += feed
    return tokens


def all_logits(context, tokens, seq_id=0, chunk=16):
    """Logits after every token, computed in chunks, [n_tokens, n_vocab]."""
    import pannier

    rows = []
    for start in range(0, len(tokens), chunk):
        batch = pannier.Batch()
        batch.add(seq_id, tokens[start : start + chunk], logits=True)
        context.step(batch)
        rows += [context.logits(row) for row in range(len(batch))]
    return np.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_greedy_tokens_are_those_of_transformers(pannier, family):
    reference = np.load(DATA / family / "reference.npz")
    prompt = [int(token) for token in reference["prompt"]]
    with (
        pannier.Model(DATA / family / "model-f32.gguf") as model,
        model.context(
            n_ctx=256, n_outputs_max=16, n_threads=1, type_k="f32", type_v="f32", flash_attn="off"
        ) as context,
    ):
        logits = all_logits(context, prompt)
        error = np.linalg.norm(logits - reference["logits"]) / np.linalg.norm(reference["logits"])
        assert error < 1e-3
        context.sequence(0).clear()
        assert greedy(context, prompt, 32) == list(reference["greedy"])


def test_sequences_do_not_disturb_each_other(pannier, model, context):
    prompts = [model.tokenize(text) for text in ("Once upon", "The weather is", "x", "1 2 3 4")]
    alone = []
    for prompt in prompts:
        alone.append(greedy(context, prompt, 12))
        context.sequence(0).clear()
    for seq_id in range(4):
        context.set_sampler(seq_id, pannier.SamplingParams.greedy())
    feeds, together = list(prompts), [[] for _ in prompts]
    for _ in range(12):
        batch = pannier.Batch()
        for seq_id, feed in enumerate(feeds):
            batch.add(seq_id, feed, sample=True)
        for sampled in context.step(batch).sampled:
            together[sampled.seq_id].append(sampled.token)
            feeds[sampled.seq_id] = [sampled.token]
    assert together == alone


def test_a_copied_sequence_goes_on_like_its_source(model, context):
    prompt = model.tokenize("A shared beginning of some length")
    expected = greedy(context, prompt, 8)
    context.sequence(0).clear()
    greedy(context, prompt[:-1], 1, seq_id=3)
    copy = context.sequence(3).copy_to(1)
    assert copy.memory().n_cells_shared == len(prompt) - 1
    assert copy.memory().recurrent_shared
    assert greedy(context, prompt[-1:], 8, seq_id=1) == expected
    assert len(context.sequence(3)) == len(prompt) - 1


def test_a_saved_sequence_goes_on_elsewhere(model, context):
    prompt = model.tokenize("State on its way")
    expected = greedy(context, prompt, 8)
    context.sequence(0).clear()
    greedy(context, prompt[:-1], 1)
    state = context.sequence(0).save()
    context.sequence(2).load(state)
    assert greedy(context, prompt[-1:], 8, seq_id=2) == expected


def test_a_foreign_state_raises_and_leaves_the_sequence_empty(pannier, model, context):
    greedy(context, model.tokenize("Some text"), 1)
    state = context.sequence(0).save()
    for bad in (b"", b"nonsense", state[: len(state) // 2]):
        with pytest.raises(pannier.PannierError):
            context.sequence(1).load(bad)
        assert len(context.sequence(1)) == 0


def test_a_hybrid_sequence_loses_all_or_nothing(model, context):
    prompt = model.tokenize("The middle of a recurrent state cannot go")
    expected = greedy(context, prompt, 4)
    context.sequence(0).clear()
    greedy(context, prompt[:-1], 1)
    sequence = context.sequence(0)
    assert not sequence.remove(2, 4)
    assert not sequence.remove(0, 3)
    assert not sequence.remove(len(prompt) - 2)
    assert len(sequence) == len(prompt) - 1
    assert greedy(context, prompt[-1:], 4) == expected


def test_logprobs_are_a_distribution(pannier, model, context):
    context.set_sampler(0, pannier.SamplingParams.greedy(), n_probs=model.n_vocab)
    batch = pannier.Batch()
    batch.add(0, model.tokenize("Hello"), sample=True)
    sampled = context.step(batch, n_top=model.n_vocab).sampled[0]
    assert sampled.top[0] == (sampled.token, sampled.logprob)
    assert len(sampled.top) == model.n_vocab
    assert sum(np.exp(logprob) for _, logprob in sampled.top) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.0, "repeat_penalty": 1.0, "n_probs": 1},
        {"top_k": 1},
        {"temperature": 0.0, "samplers": ("top_k", "temperature")},
    ],
)
def test_ways_to_be_greedy_agree(pannier, model, context, params):
    n_probs = params.pop("n_probs", 0)
    prompt = model.tokenize("Once upon a time")
    expected = greedy(context, prompt, 8)
    context.sequence(0).clear()
    context.set_sampler(0, pannier.SamplingParams(**params), n_probs=n_probs)
    feed, tokens = prompt, []
    for _ in range(8):
        batch = pannier.Batch()
        batch.add(0, feed, sample=True)
        feed = [context.step(batch).sampled[0].token]
        tokens += feed
    assert tokens == expected


def sampled(pannier, context, prompt, n, n_probs=0, **params):
    """What n steps of these parameters yield."""
    context.sequence(0).clear()
    context.set_sampler(0, pannier.SamplingParams(**params), prompt, n_probs)
    feed, found = prompt, []
    for _ in range(n):
        batch = pannier.Batch()
        batch.add(0, feed, sample=True)
        found.append(context.step(batch, n_probs).sampled[0])
        feed = [found[-1].token]
    return found


def test_probabilities_after_sampling(pannier, model, context):
    prompt = model.tokenize("Once upon")
    hot = {"temperature": 1.5, "seed": 3, "top_k": 3, "min_p": 0.0, "top_p": 1.0}
    for one in sampled(pannier, context, prompt, 6, 5, **hot, post_sampling_probs=True):
        assert len(one.top) == 3 and sum(p for _, p in one.top) == pytest.approx(1, abs=1e-5)
        assert one.logprob == dict(one.top)[one.token]
    [one] = sampled(pannier, context, prompt, 1, 3, temperature=0.0, post_sampling_probs=True)
    assert one.logprob == 1.0 and [token for token, _ in one.top] == [one.token]


def test_typical_sampling_may_leave_the_likeliest_token_out(pannier, model, context):
    prompt = model.tokenize("Once upon a time")
    context.sequence(0).clear()
    likeliest = greedy(context, prompt, 12)
    for typical_p, is_same in ((1.0, True), (0.1, False)):
        found = sampled(pannier, context, prompt, 12, temperature=0.0, typical_p=typical_p)
        assert ([one.token for one in found] == likeliest) == is_same


def test_adaptive_p_moves_what_is_chosen(pannier, model, context):
    prompt = model.tokenize("Once upon a time")
    chain = {"samplers": ("top_k", "adaptive_p"), "seed": 5, "top_k": 40}

    def mean_prob(target):
        found = sampled(pannier, context, prompt, 40, 1, **chain, adaptive_target=target)
        return np.mean([np.exp(one.logprob) for one in found])

    assert mean_prob(0.0) < mean_prob(0.9)
    with pytest.raises(pannier.ArgumentError, match="adaptive_decay"):
        context.set_sampler(0, pannier.SamplingParams(adaptive_decay=1.0))


def test_infill_is_a_sampler(pannier, model, context):
    assert sampled(pannier, context, model.tokenize("Once"), 3, samplers=("top_k", "infill"))


def test_infill_over_a_whole_large_vocabulary_is_refused(pannier, tmp_path):
    """It compares every candidate with every other one: minutes for one token."""
    vocabulary = ByteVocabulary(tuple(made_up_words(4200)))
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 1, "n_head_kv": 1, "head_dim": 32, "n_ff": 32}
    spec = Qwen3Spec(name="test", vocabulary=vocabulary, type="F32", **sizes)
    with (
        pannier.Model(write_random(tmp_path / "m.gguf", spec)) as model,
        model.context(n_ctx=256, n_threads=1) as context,
    ):
        context.set_sampler(0, pannier.SamplingParams(samplers=("top_k", "infill"), top_k=40))
        for samplers, top_k in (
            (("infill",), 40),
            (("infill", "top_k"), 40),
            (("top_k", "infill"), 0),
        ):
            params = pannier.SamplingParams(samplers=samplers, top_k=top_k)
            with pytest.raises(pannier.ArgumentError, match="'infill' would compare 4"):
                context.set_sampler(0, params)


def test_a_seed_repeats_and_another_differs(pannier, model, context):
    def run(seed):
        context.sequence(0).clear()
        context.set_sampler(0, pannier.SamplingParams(seed=seed, temperature=2.0, top_k=0, min_p=0))
        feed, tokens = model.tokenize("Once"), []
        for _ in range(16):
            batch = pannier.Batch()
            batch.add(0, feed, sample=True)
            feed = [context.step(batch).sampled[0].token]
            tokens += feed
        return tokens

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= " + "(" * 512 + '"a"' + ")" * 512,
        'root ::= "' + "(" * 5000 + '" | [(\\]"]  # (((' + "(" * 5000,
        "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1}\n" for i in range(4000)) + 'r4000 ::= "a"',
    ],
)
def test_large_grammars_within_the_limits_are_taken(pannier, context, grammar):
    context.set_sampler(0, pannier.SamplingParams(grammar=grammar))


def test_a_grammar_is_followed(pannier, model, context):
    context.set_sampler(0, pannier.SamplingParams(grammar='root ::= "yes" | "no"'))
    feed, text = model.tokenize("Is it?"), b""
    for _ in range(8):
        batch = pannier.Batch()
        batch.add(0, feed, sample=True)
        token = context.step(batch).sampled[0].token
        if model.is_eog(token):
            break
        text += model.piece(token)
        feed = [token]
    assert text in (b"yes", b"no")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"grammar": "root ::= ("}, "GBNF: .*expecting"),
        ({"grammar": "%llguidance {}"}, "GBNF"),
        ({"grammar": "root ::= " + "(" * 200_000 + '"a"' + ")" * 200_000}, "512 groups"),
        ({"grammar": "".join(f"r{i} ::= r{i + 1}\n" for i in range(30_000))}, "20000 rules"),
        ({"grammar": "root ::= " + '"a" ' * 1_200_000}, "4800009 bytes"),
        ({"samplers": ("top_k", "magic")}, "magic"),
        ({"logit_bias": {10**6: 1.0}}, "1000000"),
        ({"logit_bias": {1: float("nan")}}, "not a number"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": float("inf")}, "top_p"),
        ({"repeat_penalty": 0.0}, "repeat_penalty"),
        ({"mirostat": 3}, "mirostat"),
        ({"min_keep": -1}, "min_keep"),
        ({"repeat_last_n": -2}, "repeat_last_n"),
        ({"top_k": "many"}, "type"),
    ],
)
def test_wrong_sampling_names_the_value(pannier, context, params, words):
    with pytest.raises(pannier.ArgumentError, match=words):
        context.set_sampler(0, pannier.SamplingParams(**params))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (([10**6], [0], [0]), "1000000"),
        (([-1], [0], [0]), "-1"),
        (([1], [4], [0]), "sequence 4"),
        (([1], [-1], [0]), "sequence -1"),
        (([1], [2], [1]), "no sampler"),
        (([], [], []), "0 tokens"),
        (([1] * 65, [0] * 65, [0] * 65), "65 tokens"),
        (([1] * 8, [0] * 8, [2] * 8), "8 output rows"),
        (([1, 2], [0], [0]), "2 whole rows"),
        (([2**40], [0], [0]), "token"),
    ],
)
def test_wrong_batches_raise_and_change_nothing(pannier, context, batch, words):
    with pytest.raises(pannier.ArgumentError, match=words):
        context.step(pannier.Batch(*batch))
    assert all(len(context.sequence(i)) == 0 for i in range(4))


def test_a_full_cache_raises_and_changes_nothing(pannier, model):
    with model.context(n_ctx=256, n_batch=256, n_parallel=2) as context:
        batch = pannier.Batch()
        batch.add(0, [1] * 250)
        context.step(batch)
        over = pannier.Batch()
        over.add(1, [1] * 20)
        with pytest.raises(pannier.CacheFull):
            context.step(over)
        assert [len(context.sequence(i)) for i in range(2)] == [250, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_parallel": 0}, "n_seq_max is 0"),
        ({"n_parallel": 257, "n_batch": 512}, "257"),
        ({"n_batch": 0}, "n_batch"),
        ({"n_batch": 2, "n_parallel": 4}, "one token of each"),
        ({"type_k": "q3_k"}, "q3_k"),
        ({"flash_attn": "maybe"}, "maybe"),
        ({"n_threads": 100_000}, "100000"),
        ({"n_ctx": -5}, "-5"),
        ({"n_rs_seq": 600}, "n_rs_seq"),
        ({"n_rs_seq": 6, "n_ctx": 7}, "n_rs_seq 6 needs n_ctx"),
    ],
)
def test_wrong_context_options_name_the_value(pannier, model, options, words):
    with pytest.raises(pannier.ArgumentError, match=words):
        model.context(**{"n_ctx": 256, **options})


def test_what_the_engine_refuses_comes_with_its_reason(pannier, model):
    with pytest.raises(pannier.ContextError, match="flash_attn"):
        model.context(n_ctx=256, type_v="q8_0", flash_attn="off")


def test_closed_context_raises(pannier, model):
    context = model.context(n_ctx=256)
    context.close()
    context.close()
    with pytest.raises(pannier.ClosedError):
        context.step(pannier.Batch([1], [0], [0]))


def test_logits_of_a_row_without_output_raise(pannier, context):
    batch = pannier.Batch()
    batch.add(0, [1, 2, 3])
    context.step(batch)
    for row in (0, -1, 99):
        with pytest.raises(pannier.ArgumentError):
            context.logits(row)


def test_the_ledger_adds_up_to_what_the_allocator_recorded(pannier):
    """Every byte that ggml holds has a kind, to the byte, and goes away with its owner."""
    before = None
    for family in FAMILIES:
        with pannier.Model(DATA / family / "model-f32.gguf") as model:
            with model.context(n_ctx=512, n_parallel=8) as context:
                report = context.memory()
                assert report.allocated_bytes == report.total_bytes > 0
                assert context.kv_cell_bytes * context.n_ctx <= report.kind_bytes("kv")
                assert report.kind_bytes("recurrent") == 8 * context.recurrent_seq_bytes
            with model.context(n_ctx=256) as context:
                smaller = context.memory()
                assert smaller.allocated_bytes == smaller.total_bytes < report.total_bytes
        before = before or family


def test_a_sequence_holds_its_cells(model, context):
    prompt = model.tokenize("Count my cells")
    greedy(context, prompt, 3)
    memory = context.sequence(0).memory()
    assert memory.n_cells == len(prompt) + 2
    assert memory.kv_bytes == memory.n_cells * context.kv_cell_bytes
    assert memory.recurrent_bytes == context.recurrent_seq_bytes
    context.sequence(0).clear()
    assert context.sequence(0).memory().n_cells == 0


def test_a_step_can_be_interrupted(pannier, model):
    with model.context(n_ctx=8192, n_batch=4096, n_ubatch=64, n_threads=1) as context:
        stop = threading.Event()

        def interrupt():
            while not stop.wait(0.001):
                context.interrupt()

        thread = threading.Thread(target=interrupt)
        thread.start()
        batch = pannier.Batch()
        batch.add(0, [1] * 4096)
        try:
            with pytest.raises(pannier.DecodeError, match="interrupted"):
                context.step(batch)
        finally:
            stop.set()
            thread.join()
        assert len(context.sequence(0)) == 0
        assert greedy(context, [1, 2, 3], 2)


def test_graphs_are_reused_while_decoding(model, context):
    greedy(context, model.tokenize("Again"), 20)
    assert context.graphs_reused > 10
