"""`Llama` beyond what llama-cpp-python can do: threads, coroutines, ends that say why."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data"
LLAMA = str(DATA / "llama" / "model-f32.gguf")
HYBRID = str(DATA / "qwen3next" / "model-f32.gguf")
SMALL: dict[str, Any] = {"n_threads": 1, "n_threads_batch": 1, "verbose": False}
HELLO = {"role": "user", "content": "hello"}
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8}

pytestmark = pytest.mark.engine


@pytest.fixture(params=[LLAMA, HYBRID], ids=["attention", "hybrid"])
def llama(pannier: Any, request: pytest.FixtureRequest) -> Any:
    with pannier.Llama(request.param, n_ctx=2048, n_parallel=4, **SMALL) as llama:
        yield llama


def text_of(answer: Any) -> str:
    return str(answer["choices"][0]["text"])


def n_same(found: list[str], expected: list[str]) -> int:
    return sum(map(str.__eq__, found, expected))


def least(llama: Any) -> int:
    """Of twelve texts, how many have to be the same: a hybrid's states differ in the third decimal
    with what a token is computed beside, which two of random weights' logits may."""
    return 10 if llama._is_hybrid else 12


def test_threads_get_what_each_would_have_got_alone(llama: Any) -> None:
    prompts = [f"prompt {i}: hello" for i in range(12)]
    alone = [text_of(llama(prompt, **GREEDY)) for prompt in prompts]
    with ThreadPoolExecutor(12) as threads:
        together = list(threads.map(lambda prompt: text_of(llama(prompt, **GREEDY)), prompts))
        streamed = list(
            threads.map(
                lambda prompt: "".join(map(text_of, llama(prompt, stream=True, **GREEDY))), prompts
            )
        )
    assert n_same(together, alone) >= least(llama) <= n_same(streamed, alone)


def test_coroutines(llama: Any) -> None:
    prompts = [f"prompt {i}: hello" for i in range(6)]

    async def streamed(prompt: str) -> str:
        chunks = await llama.acreate_completion(prompt, stream=True, **GREEDY)
        return "".join([text_of(chunk) async for chunk in chunks])

    async def work() -> tuple[list[Any], list[str]]:
        whole = await asyncio.gather(*(llama.acreate_completion(p, **GREEDY) for p in prompts))
        return whole, await asyncio.gather(*map(streamed, prompts))

    whole, parts = asyncio.run(work())
    alone = [text_of(llama(prompt, **GREEDY)) for prompt in prompts]
    assert n_same(list(map(text_of, whole)), alone) >= least(llama) / 2 <= n_same(parts, alone)


class Stopped(Exception):
    """What a criterion of a test raises."""


def test_exceptions_in_python_functions_stay_in_their_call(pannier: Any, llama: Any) -> None:
    """Others go on, and nothing is left behind."""
    prompt = "hello world"
    expected = text_of(llama(prompt, **GREEDY))

    def criterion(tokens: Any, logits: Any) -> bool:
        raise Stopped(len(tokens))

    failing = pannier.StoppingCriteriaList([criterion])

    def call(i: int) -> str:
        if i % 2:
            return text_of(llama(prompt, **GREEDY))
        with pytest.raises(Stopped):
            llama(prompt, stopping_criteria=failing, **GREEDY)
        return ""

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(call, range(200)))
    assert found == [expected if i % 2 else "" for i in range(200)]
    assert llama._pool._calls == {}


def test_functions_see_tokens_and_logits(pannier: Any, llama: Any) -> None:
    seen: list[tuple[list[int], int]] = []

    def criterion(tokens: Any, logits: Any) -> bool:
        seen.append((tokens.tolist(), int(np.argmax(logits))))
        return len(seen) >= 4

    answer = llama("hello", stopping_criteria=pannier.StoppingCriteriaList([criterion]), **GREEDY)
    prompt = llama.tokenize(b"hello")
    assert seen.pop() == seen[-1]  # asked once more at the end
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "stop"
    for (tokens, best), (longer, _) in itertools.pairwise(seen):
        assert longer == [*tokens, best]
    assert seen[0][0] == prompt


def test_closing_ends_calls_of_other_threads(pannier: Any) -> None:
    llama = pannier.Llama(LLAMA, n_ctx=2048, n_parallel=2, **SMALL)
    started, errors = threading.Event(), []

    def work(stepped: bool) -> None:
        same = pannier.LogitsProcessorList([lambda _, logits: logits]) if stepped else None
        try:
            for _ in llama("hi", stream=True, max_tokens=-1, logits_processor=same):
                started.set()
        except pannier.ClosedError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    llama.close()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 4
    assert all("closed" in error for error in errors)
    with pytest.raises(pannier.ClosedError, match="is closed"):
        llama("hi")


def test_arguments(pannier: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_gpu'"):
        pannier.Llama(LLAMA, n_gpu=1)
    wrong = {
        "lora_base": ("x", "lora_base is not taken"),
        "attention_type": (1, "attention_type is 1"),
        "draft_model": (lambda ids: ids, "LlamaPromptLookupDecoding"),
        "split_mode": (9, "split_mode is 9; it must be 0 to 3"),
        "type_k": (99, "type_k is 99"),
        "rope_scaling_type": (3, "rope_scaling_type is 3"),
        "n_parallel": (0, "n_parallel is 0"),
        "kv_overrides": ({"a": object()}, "Unknown value type for a"),
        "tfs_z": (0.5, "tfs_z is 0.5"),
    }
    for name, (value, message) in wrong.items():
        with pytest.raises(ValueError, match=message):
            if name == "tfs_z":
                pannier.Llama(LLAMA, **SMALL)("x", tfs_z=value)
            pannier.Llama(LLAMA, **{name: value}, **SMALL)
    with pytest.raises(ValueError, match="Model path does not exist"):
        pannier.Llama("nowhere.gguf")
    with pytest.raises(ValueError, match="Invalid chat handler: nothing"):
        pannier.Llama(LLAMA, chat_format="nothing", **SMALL).create_chat_completion(
            [{"role": "user", "content": "x"}]
        )


def test_arguments_of_older_versions(pannier: Any) -> None:
    """LangChain gives them all."""
    with pannier.Llama(LLAMA, n_parts=-1, f16_kv=False, device=None, n_ctx=256, **SMALL) as llama:
        assert llama._config.cache_type_k == llama._config.cache_type_v == "f32"
        assert llama.context_params.n_ctx == llama.n_ctx() == 256
    for wrong in ({"n_parts": 2}, {"device": "cuda:0"}):
        with pytest.raises(pannier.ArgumentError, match=next(iter(wrong))):
            pannier.Llama(LLAMA, **wrong, **SMALL)


def test_forms_of_answers(llama: Any) -> None:
    """A schema in OpenAI's wrapper, or without."""
    schema = {"enum": ["a", "b"]}
    for form in ({"json_schema": {"schema": schema}}, {"schema": schema}):
        form = {"type": "json_schema", **form}
        found = llama.create_chat_completion([HELLO], response_format=form, max_tokens=8)
        assert found["choices"][0]["message"]["content"] in ('"a"', '"b"')
    with pytest.raises(ValueError, match="has no schema"):
        llama.create_chat_completion([HELLO], response_format={"type": "json_schema"})


def test_states_and_seeds(llama: Any) -> None:
    hot = {"temperature": 1.5, "max_tokens": 8}
    llama.set_seed(5)
    llama.eval(llama.tokenize(b"hello there"))
    state = pickle.loads(pickle.dumps(llama.save_state()))
    numbers = [text_of(llama("pick", **hot)) for _ in range(2)]
    after = list(itertools.islice(llama.generate([], reset=False, temp=0.0), 4))
    llama.reset()
    assert llama.n_tokens == 0
    llama.load_state(state)
    assert llama.n_tokens == state.n_tokens == len(llama.tokenize(b"hello there"))
    assert [text_of(llama("pick", **hot)) for _ in range(2)] == numbers
    assert list(itertools.islice(llama.generate([], reset=False, temp=0.0), 4)) == after


def test_what_is_sent_into_generate_is_behind_the_token(llama: Any) -> None:
    prompt = llama.tokenize(b"hello")
    tokens = llama.generate(prompt, temp=0.0)
    first = next(tokens)
    then = tokens.send([20, 21])
    tokens.close()
    assert then == next(llama.generate([*prompt, first, 20, 21], temp=0.0))


def test_pickled(pannier: Any, llama: Any) -> None:
    with pickle.loads(pickle.dumps(llama)) as other:
        assert text_of(other("hello", **GREEDY)) == text_of(llama("hello", **GREEDY))


def test_an_adapter(pannier: Any, tmp_path: Path) -> None:
    from tests.edited_gguf import Lora

    adapter = str(Lora(LLAMA, "attn_q.").write(tmp_path / "lora.gguf"))
    with (
        pannier.Llama(LLAMA, **SMALL) as plain,
        pannier.Llama(
            LLAMA, lora_path=adapter, lora_scale=50.0, logits_all=True, **SMALL
        ) as changed,
        pannier.Llama(LLAMA, lora_path=adapter, lora_scale=0.0, **SMALL) as off,
    ):
        tokens = plain.tokenize(b"hello world")
        rows = []
        for one in (plain, changed, off):
            one.eval(tokens)
            rows.append(one._position.last)
        assert np.abs(rows[0] - rows[1]).max() > 1e-3
        assert np.abs(rows[0] - rows[2]).max() < 1e-5


def test_drafts_change_nothing(pannier: Any) -> None:
    text = "one two three one two three one two three one two"
    with (
        pannier.Llama(LLAMA, **SMALL) as plain,
        pannier.Llama(
            LLAMA, draft_model=pannier.LlamaPromptLookupDecoding(num_pred_tokens=4), **SMALL
        ) as drafted,
    ):
        assert drafted(text, **GREEDY)["choices"] == plain(text, **GREEDY)["choices"]


def test_embeddings_and_text_from_one(pannier: Any) -> None:
    with pannier.Llama(LLAMA, embedding=True, pooling_type=1, **SMALL) as llama:
        rows = llama.embed(["hello", "hello world"], normalize=True)
        assert [len(row) for row in rows] == [llama.n_embd()] * 2
        assert np.linalg.norm(rows[0]) == pytest.approx(1, abs=1e-5)
        assert len(text_of(llama("hello", **GREEDY))) > 0
    with (
        pannier.Llama(LLAMA, **SMALL) as llama,
        pytest.raises(RuntimeError, match="embedding=True"),
    ):
        llama.embed("x")


def test_a_vocabulary_alone(pannier: Any) -> None:
    with pannier.Llama(LLAMA, vocab_only=True, verbose=False) as llama:
        assert llama.decode(llama.encode("hello", add_bos=False)) == "hello"
        with pytest.raises(pannier.RequestError, match="vocab_only"):
            llama("hello")


def test_a_cache_of_several(pannier: Any, tmp_path: Path) -> None:
    for cache in (pannier.LlamaRAMCache(), pannier.LlamaDiskCache(str(tmp_path / "states"))):
        with pannier.Llama(LLAMA, **SMALL) as first, pannier.Llama(LLAMA, **SMALL) as second:
            first.set_cache(cache)
            second.set_cache(cache)
            tokens = first.tokenize(b"hello world")
            assert tokens not in cache
            whole = first(tokens, **GREEDY)
            assert tokens in cache
            assert second(tokens, **GREEDY)["choices"] == whole["choices"]
            assert second.n_tokens == len(tokens) + 8
            assert 0 < cache.cache_size < 1 << 20
    small = pannier.LlamaRAMCache(capacity_bytes=10)
    with pannier.Llama(LLAMA, **SMALL) as llama:
        llama.set_cache(small)
        llama("hello", **GREEDY)
    assert small.cache_size == 0


def test_prompt_lookup(pannier: Any) -> None:
    lookup = pannier.LlamaPromptLookupDecoding(max_ngram_size=3, num_pred_tokens=2)
    assert lookup(np.array([7, 8, 9, 4, 7, 8, 9])).tolist() == [4, 7]
    assert lookup(np.array([1, 2, 3])).tolist() == []
    with pytest.raises(ValueError, match="at least 1"):
        pannier.LlamaPromptLookupDecoding(num_pred_tokens=0)
