"""The demo model: its corpus, its training code, and the file that comes with the package."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from pannier import Batch, Context, Model, SamplingParams
from pannier.convert import demo_model
from pannier.convert.demo.corpus import CHAT_TEMPLATE, SPECIAL_TOKENS, documents
from pannier.convert.demo.dialogue import make_chat
from pannier.convert.demo.phrases import phrases, read_questions
from pannier.convert.demo.recipe import Recipe
from pannier.convert.demo.stories import THEMES, make_story, topics
from pannier.convert.demo.words import ANIMALS

CARD = demo_model().with_name("README.md")
HELD_OUT = Path(__file__).with_name("demo_held_out.txt")
"""Documents of a seed that was not trained on, as they were when the model was trained."""
MAX_PERPLEXITY = 2.5


def some_documents(count: int = 400) -> list[str]:
    return list(itertools.islice(documents(seed=99), count))


# ---------------------------------------------------------------- the corpus


def test_a_seed_gives_the_same_corpus_in_another_process() -> None:
    def printed(seed: int, hash_seed: str) -> str:
        command = [sys.executable, "-m", "pannier.convert.demo.corpus", "--documents", "40"]
        return subprocess.run(
            [*command, "--seed", str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert printed(1, "1") == printed(1, "2")
    assert printed(1, "1") != printed(2, "1")


def test_what_the_model_says_is_clean_english() -> None:
    for document in some_documents():
        assert not re.search(r"[{}]|[^\x20-\x7e\n]", document)
        replies = re.findall(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>", document, re.DOTALL)
        for reply in replies or [document]:
            assert re.match(r"[A-Z0-9\"l]", reply), reply  # llama.cpp writes itself small
            assert re.search(r"[.!?][\"]?$", reply), reply
            assert "  " not in reply
            assert reply.count('"') % 2 == 0
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n (?!hour)[^aeiou]|\b(\w+) \1\b", reply), (
                reply
            )


def test_chats_alternate_and_end_with_an_answer() -> None:
    from random import Random

    rng = Random(5)
    for _ in range(200):
        roles = [message["role"] for message in make_chat(rng)]
        turns = roles[roles[0] == "system" :]
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert 1 <= len(turns) // 2 <= 5


def test_stories_are_many_and_about_what_was_asked() -> None:
    from random import Random

    rng = Random(3)
    stories = [make_story(rng) for _ in range(2000)]
    assert len({story.text for story in stories}) > 1980
    assert all(6 <= len(story.lines) <= 10 for story in stories)
    assert all(story.hero.pronoun != story.friend.pronoun for story in stories)
    for topic in topics():
        story = make_story(rng, topic)
        assert topic in THEMES or topic.split()[-1] in story.text, (topic, story.text)


def test_questions_are_read_from_their_file() -> None:
    assert phrases("\n  one |\n two  words ") == ("one", "two words")
    itself = read_questions("itself")
    assert itself[0][0][0] == "Who are you?"
    assert itself[0][1][0].startswith("I am the demo model of pannier")
    for asked, answers in (*itself, *read_questions("world")):
        assert asked and answers
        assert all(text and "|" not in text and ">" not in text for text in asked + answers)


# ---------------------------------------------------------------- its training


def test_learning_rates_are_straight_lines_between_their_knots() -> None:
    recipe = Recipe(rates=((0, 0.0), (10, 1.0), (20, 1.0), (40, 0.0)))
    assert recipe.n_steps == 40
    assert [recipe.rate(step) for step in (0, 4, 9, 15, 29, 39)] == [0.1, 0.5, 1.0, 1.0, 0.5, 0.0]
    rates = [Recipe().rate(step) for step in range(Recipe().n_steps)]
    assert 0.0 < rates[0] < max(rates) < 0.01
    assert rates[-1] == 0.0


def test_rows_begin_with_a_document_and_are_full() -> None:
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    from pannier.convert.demo.recipe import rows

    letters = {chr(code): code for code in range(32, 127)} | {"\n": 10, "<|endoftext|>": 0}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    one, two = rows(tokenizer, 7, 2, 2000)
    assert len(one) == len(two) == 2000
    text = "".join("|" if token == 0 else chr(token) for token in one)
    first, second = itertools.islice(documents(7), 2)
    assert text.startswith(f"{first}|{second}"[:2000])
    assert one == rows(tokenizer, 7, 1, 2000)[0] != two


def test_cpu_kernels_compute_what_transformers_does() -> None:
    torch = pytest.importorskip("torch", reason="needs pannier[convert]")
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM
    from transformers.models.qwen3_next import modeling_qwen3_next as modeling

    from pannier.convert.demo import cpu_kernels

    config = Qwen3NextConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, linear_num_key_heads=2, linear_num_value_heads=2,
        linear_key_head_dim=16, linear_value_head_dim=16, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=16, shared_expert_intermediate_size=16, initializer_range=0.3,
        use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3NextForCausalLM(config).float()
    ids = torch.randint(0, 64, (2, 3 * cpu_kernels.CHUNK))

    def gradients(experts: str) -> list[object]:
        model.set_experts_implementation(experts)
        model.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        return [loss.detach(), *(weight.grad.clone() for weight in model.parameters())]

    expected = gradients("eager")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("causal_conv1d_fn", "torch_chunk_gated_delta_rule"):
            patch.setattr(modeling, name, getattr(modeling, name))  # put back in the end
        cpu_kernels.use_cpu_kernels()
        torch.set_flush_denormal(False)
        found = gradients("dense")
    for one, other in zip(expected, found, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm()


# ---------------------------------------------------------------- the file


def test_the_file_says_what_it_is() -> None:
    path = demo_model()
    assert path.stat().st_size <= 5_000_000
    reader = gguf.GGUFReader(path)
    facts = {
        key: reader.fields[key].contents()
        for key in (
            "general.architecture", "general.name", "general.license", "tokenizer.ggml.pre",
            "tokenizer.chat_template", "qwen3next.expert_count", "qwen3next.context_length",
        )
    }  # fmt: skip
    assert facts == {
        "general.architecture": "qwen3next",
        "general.name": "pannier demo",
        "general.license": "mit",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.chat_template": CHAT_TEMPLATE,
        "qwen3next.expert_count": 16,
        "qwen3next.context_length": 2048,
    }
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens[: len(SPECIAL_TOKENS)] == list(SPECIAL_TOKENS)
    n_weights = sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert 3_000_000 < n_weights < 5_000_000
    assert f"{n_weights / 1e6:.1f} million weights" in CARD.read_text("utf-8")


# ---------------------------------------------------------------- how it speaks


@pytest.fixture(scope="module")
def model(cpu_engine) -> Model:
    from pannier import _ffi

    if "PANNIER_ENGINE" in os.environ:
        _ffi.library()
    else:
        _ffi.load(cpu_engine.library)
    with Model(demo_model()) as model:
        yield model


@pytest.fixture
def context(model: Model) -> Context:
    with model.context(n_ctx=1024, n_threads=1, n_outputs_max=64) as context:
        yield context


def answer(context: Context, *said: str, n_max: int = 300, **sampling: float) -> str:
    """The model's answer to the last of a user's and its own messages, by turns.

    Fails unless it ends by itself.
    """
    model = context.model
    roles = itertools.cycle(("user", "assistant"))
    messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    feed = model.tokenize(
        model.apply_chat_template(messages).prompt, add_special=True, parse_special=True
    )
    context.set_sampler(0, SamplingParams(**{"temperature": 0.0, **sampling}))
    tokens: list[int] = []
    while not tokens or not model.is_eog(tokens[-1]):
        assert len(tokens) < n_max, model.detokenize(tokens)
        batch = Batch()
        batch.add(0, feed, sample=True)
        feed = [context.step(batch).sampled[0].token]
        tokens += feed
    context.sequence(0).clear()
    return model.detokenize(tokens[:-1]).decode()


def all_logits(context: Context, tokens: list[int], chunk: int = 64) -> np.ndarray:
    """[token, vocabulary]"""
    rows = []
    for start in range(0, len(tokens), chunk):
        batch = Batch()
        batch.add(0, tokens[start : start + chunk], logits=True)
        context.step(batch)
        rows += [context.logits(row).copy() for row in range(len(batch))]
    return np.stack(rows)


def known_words() -> set[str]:
    """Every word of a large sample of what the model was shown, in its answers."""
    text = "\n".join(itertools.islice(documents(seed=4), 8000))
    return set(re.findall(r"[A-Za-z]+", text))


def sentences(text: str) -> list[str]:
    return re.findall(r"[^.!?]+[.!?]+\"?", text)


@pytest.mark.engine
def test_it_tells_a_story(context: Context) -> None:
    story = answer(context, "Tell me a story.")
    assert 5 <= len(sentences(story)) <= 20
    assert re.match(r"Once upon a time there was|Once there was|There once was", story)
    assert story[-1] in '.!?"'
    assert story.count('"') % 2 == 0
    assert set(re.findall(r"[A-Za-z]+", story)) <= known_words()


@pytest.mark.engine
@pytest.mark.parametrize("animal", ["mule", "fox", "owl", "bear"])
def test_a_story_is_about_what_was_asked(context: Context, animal: str) -> None:
    assert animal in {each.name for each in ANIMALS}
    first = sentences(answer(context, f"Tell me a story about a {animal}."))[0]
    assert re.search(rf" an? (\w+ )?{animal} named [A-Z][a-z]+\.$", first)


@pytest.mark.engine
def test_sampled_stories_differ_and_end(context: Context) -> None:
    stories = [answer(context, "Tell me a story.", temperature=0.8, seed=seed) for seed in range(4)]
    assert len(set(stories)) == 4
    words = known_words()
    for story in stories:
        assert set(re.findall(r"[A-Za-z]+", story)) <= words, story


@pytest.mark.engine
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("Hello!", r"Hello!"),
        ("hi", r"Hello!"),
        ("Who are you?", r"I am .*model"),
        ("Thank you.", r"You are welcome"),
        ("What does a cow say?", r"A cow says moo\."),
        ("How many legs does an owl have?", r"An owl has two legs\."),
        ("What is the capital of France?", r"small"),
    ],
)
def test_small_talk(context: Context, asked: str, expected: str) -> None:
    assert re.search(expected, answer(context, asked))


@pytest.mark.engine
def test_its_perplexity_on_text_that_it_was_not_trained_on(model: Model, context: Context) -> None:
    text = HELD_OUT.read_text("utf-8")
    tokens = model.tokenize(text, add_special=False, parse_special=True)
    assert len(tokens) > 700
    logits = all_logits(context, tokens)[:-1].astype(np.float64)
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(logits)), tokens[1:]]
    perplexity = float(np.exp(np.mean(losses)))
    assert 1.0 < perplexity < MAX_PERPLEXITY


# ---------------------------------------------------------------- against transformers


@pytest.mark.engine
def test_logits_and_routers_of_the_file(model: Model, context: Context) -> None:
    """The engine computes what transformers does with the same weights; every expert works."""
    torch = pytest.importorskip("torch", reason="needs pannier[convert]")
    from pannier.convert.demo.report import perplexity, router_shares

    from .demo_weights import read_back

    tokens = model.tokenize(HELD_OUT.read_text("utf-8"), add_special=False, parse_special=True)
    reference = read_back(demo_model())
    batch = torch.tensor([tokens])
    expected = reference(input_ids=batch).logits[0].detach().numpy()
    found = all_logits(context, tokens)
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    assert perplexity(reference, batch) < MAX_PERPLEXITY
    shares = router_shares(reference, batch)
    assert shares.shape == (4, 16)
    np.testing.assert_allclose(shares.sum(1), 4, rtol=1e-5)  # four experts for each token
    assert float(shares.min()) > 0.01
    assert float(shares.max()) < 0.9
