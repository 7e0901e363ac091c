"""`/completion` in llama-server's form, and `/v1/completions` in OpenAI's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pannier.sampling import DEFAULT_SEED
from pannier.server.messages import Cancel, Submit

from .conftest import BOS, endless, events, letters, serving, steps


def post(path: str, body: dict[str, Any], reply: Any, **settings: Any) -> tuple[Any, list[Any]]:
    """One request: its response and what the engine saw."""

    async def run() -> tuple[Any, list[Any]]:
        async with serving(reply, **settings) as world:
            answer = await world.http.post(path, json=body)
            await world.client.query("slots")  # everything sent before has been seen
            return answer, world.engine.seen

    return asyncio.run(run())


def test_whole() -> None:
    body = {"prompt": "hi", "return_tokens": True, "temperature": 0.5, "n_predict": 9}
    answer, seen = post("/completion", body, steps("ab", "c\nd"))
    got = answer.json()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    submit = seen[0]
    assert (submit.prompt, submit.max_tokens, submit.n_probs) == ([BOS, *b"hi"], 9, 0)
    assert submit.sampling.temperature == 0.5
    settings = got.pop("generation_settings")
    assert (settings["temperature"], settings["n_predict"]) == (0.5, 9)
    assert got == {
        "index": 0,
        "content": "abc\nd",
        "tokens": list(b"abc\nd"),
        "id_slot": submit.id % 3,
        "stop": True,
        "model": "m.gguf",
        "tokens_predicted": 6,
        "tokens_evaluated": 3,
        "prompt": "<s>hi",
        "has_new_line": True,
        "truncated": False,
        "stop_type": "eos",
        "stopping_word": "",
        "tokens_cached": 8,
        "timings": {
            "cache_n": 2,
            "cache_reason": "",
            "prompt_n": 1,
            "prompt_ms": 250.0,
            "prompt_per_token_ms": 250.0,
            "prompt_per_second": 4.0,
            "predicted_n": 6,
            "predicted_ms": 500.0,
            "predicted_per_token_ms": 100.0,
            "predicted_per_second": 10.0,
        },
    }


def test_stream() -> None:
    answer, _ = post("/completion", {"prompt": "hi", "stream": True}, steps("ab", "c"))
    assert answer.headers["content-type"] == "text/event-stream"
    *chunks, last = events(answer.content)
    assert [(c["content"], c["tokens"], c["stop"]) for c in chunks] == [
        (letter, [ord(letter)], False) for letter in "abc"
    ]
    assert [c["tokens_predicted"] for c in chunks] == [1, 2, 3]
    assert (last["content"], last["tokens"], last["stop"]) == ("", [], True)
    assert last["stop_type"] == "eos"


def test_length_ends_with_limit() -> None:
    answer, _ = post("/completion", {"prompt": "hi", "n_predict": 3}, endless)
    got = answer.json()
    assert (got["content"], got["stop_type"], got["truncated"]) == ("xxx", "limit", False)
    assert got["tokens_predicted"] == 3


@pytest.mark.parametrize("stream", [False, True])
def test_stop_string_over_token_borders(stream: bool) -> None:
    body = {"prompt": "hi", "stop": ["no", "STOP"], "stream": stream}

    def reply(submit: Submit) -> Any:
        yield from letters("one ST two STOP")
        yield from endless(submit)

    answer, seen = post("/completion", body, reply)
    parts = events(answer.content) if stream else [answer.json()]
    assert "".join(part["content"] for part in parts) == "one ST two "
    assert (parts[-1]["stop_type"], parts[-1]["stopping_word"]) == ("word", "STOP")
    assert parts[-1]["tokens_predicted"] == len("one ST two STOP")
    assert [m.id for m in seen if isinstance(m, Cancel)] == [seen[0].id]


@pytest.mark.parametrize("stream", [False, True])
def test_a_step_of_several_tokens_goes_beyond_a_stop_string(stream: bool) -> None:
    """Guesses that came true: what comes after the stop string is as if it had never been."""
    body = {"prompt": "hi", "stop": ["STOP"], "stream": stream, "return_tokens": True}
    answer, _ = post("/completion", body, steps("one ", "two STOP three"))
    parts = events(answer.content) if stream else [answer.json()]
    assert "".join(part["content"] for part in parts) == "one two "
    shown = b"one two " if stream else b"one two STOP"
    assert [t for part in parts for t in part["tokens"]] == list(shown)
    assert parts[-1]["tokens_predicted"] == len("one two STOP")
    assert parts[-1]["stop_type"] == "word"


def test_characters_over_token_borders() -> None:
    text = "aé€😀"
    answer, _ = post("/completion", {"prompt": "hi", "stream": True}, letters(text))
    parts = events(answer.content)
    assert [part["content"] for part in parts] == [*text, ""]
    assert [token for part in parts for token in part["tokens"]] == list(text.encode())


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hi", [[BOS, *b"hi"]]),
        ([1, 2], [[1, 2]]),
        (["hi", 7], [[BOS, *b"hi", 7]]),
        ([7, "hi"], [[7, *b"hi"]]),
        (["a", "b"], [[BOS, *b"a"], [BOS, *b"b"]]),
        ([[1, 2], "b", [3, "c"]], [[1, 2], [BOS, *b"b"], [3, *b"c"]]),
        ({"prompt_string": "x"}, [[BOS, *b"x"]]),
    ],
)
def test_forms_of_prompt(prompt: Any, expected: list[list[int]]) -> None:
    answer, seen = post("/completion", {"prompt": prompt}, steps("ok"))
    assert [m.prompt for m in seen if isinstance(m, Submit)] == expected
    got = answer.json()
    if len(expected) == 1:
        assert got["content"] == "ok"
    else:
        assert [part["index"] for part in got] == list(range(len(expected)))


def test_several_answers_draw_different_tokens() -> None:
    answer, seen = post("/completion", {"prompt": "a", "n": 3, "seed": 5}, steps("ok"))
    assert [m.sampling.seed for m in seen if isinstance(m, Submit)] == [5, 6, 7]
    assert [part["index"] for part in answer.json()] == [0, 1, 2]
    _, seen = post("/completion", {"prompt": "a", "n": 2, "seed": -1}, steps("ok"))
    assert [m.sampling.seed for m in seen if isinstance(m, Submit)] == [DEFAULT_SEED] * 2


def test_probabilities_stop_with_the_text() -> None:
    body = {"prompt": "a", "n_probs": 2, "stop": "CD"}
    answer, seen = post("/completion", body, letters("abCDe"))
    assert seen[0].n_probs == 2
    probs = answer.json()["completion_probabilities"]
    assert [p["token"] for p in probs] == ["a", "b"]
    assert probs[0] == {
        "id": 97,
        "token": "a",
        "bytes": [97],
        "logprob": -0.5,
        "top_logprobs": [
            {"id": 97, "token": "a", "bytes": [97], "logprob": -0.5},
            {"id": 98, "token": "b", "bytes": [98], "logprob": -1.5},
        ],
    }


def test_probabilities_in_a_stream() -> None:
    body = {"prompt": "a", "n_probs": 1, "stream": True, "timings_per_token": True}
    first, second, _ = events(post("/completion", body, letters("ab"))[0].content)
    assert first["completion_probabilities"][0]["token"] == "a"
    assert second["completion_probabilities"][0]["token"] == "b"
    assert second["timings"]["predicted_n"] == 2


def test_only_the_fields_asked_for() -> None:
    body = {"prompt": "a", "response_fields": ["content", "generation_settings/top_k", "no/such"]}
    answer, _ = post("/completion", body, steps("ok"))
    assert answer.json() == {"content": "ok", "generation_settings/top_k": 40}


def test_logit_bias_forms() -> None:
    for form in ([[1, 2.5], ["ab", -1], [3, False]], {"1": 2.5, "ab": -1, "3": False}):
        _, seen = post("/completion", {"prompt": "a", "logit_bias": form}, steps("ok"))
        bias = seen[0].sampling.logit_bias
        assert bias == {1: 2.5, 97: -1.0, 98: -1.0, 3: float("-inf")}


def test_sampling_fields_arrive() -> None:
    body = {
        "prompt": "a",
        "top_k": 7,
        "top_p": 2.0,  # moved to the border of its range, as llama-server does
        "min_p": 0,
        "typical_p": 0.9,
        "repeat_penalty": 1.5,
        "presence_penalty": 0.25,
        "frequency_penalty": -0.25,
        "dry_multiplier": 0.8,
        "dry_base": 0.5,
        "dry_sequence_breakers": ["."],
        "xtc_probability": 0.1,
        "mirostat": 2,
        "samplers": ["top_k", "temperature"],
        "grammar": 'root ::= "a"',
        "ignore_eos": True,
        "seed": 42,
        "top_n_sigma": None,
        "cache_prompt": True,
        "id_slot": 1,
        "unknown_field": {"x": 1},
    }
    _, seen = post("/completion", body, steps("ok"))
    sampling = seen[0].sampling
    assert (sampling.top_k, sampling.top_p, sampling.min_p) == (7, 1.0, 0.0)
    assert (sampling.dry_multiplier, sampling.dry_base) == (0.8, 1.75)
    assert sampling.dry_sequence_breakers == (".",)
    assert (sampling.mirostat, sampling.seed, sampling.ignore_eos) == (2, 42, True)
    assert sampling.samplers == ("top_k", "temperature")
    assert (sampling.grammar, sampling.top_n_sigma) == ('root ::= "a"', -1.0)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.25, -0.25)


def test_openai_whole() -> None:
    body = {"prompt": ["a", "b"], "max_tokens": 9, "logprobs": 1}
    answer, _ = post("/v1/completions", body, letters("ok"))
    got = answer.json()
    assert got["object"] == "text_completion"
    assert [c["text"] for c in got["choices"]] == ["ok", "ok"]
    assert [c["index"] for c in got["choices"]] == [0, 1]
    assert got["choices"][0]["finish_reason"] == "stop"
    assert got["choices"][0]["logprobs"]["content"][0]["token"] == "o"
    assert got["usage"] == {
        "completion_tokens": 6,
        "prompt_tokens": 4,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert got["timings"]["predicted_n"] == 3


def test_openai_stream() -> None:
    body = {"prompt": "a", "max_tokens": 2, "stream": True}
    answer, _ = post("/v1/completions", body, endless)
    first, second, last, done = events(answer.content)
    assert done == "[DONE]"
    assert first["choices"] == [{"text": "x", "index": 0, "logprobs": None, "finish_reason": None}]
    assert first["object"] == "text_completion"
    assert first["id"] == second["id"] == last["id"]
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 2
    assert "timings" in last and "timings" not in first
