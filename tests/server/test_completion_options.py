"""Options of completions: progress, lines and time, slots, blocks beside the answer, samplers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pannier.server.messages import Submit

from .conftest import BOS, EOS, endless, events, letters, steps
from .test_completion import post


def submitted(seen: list[Any]) -> Submit:
    return next(message for message in seen if isinstance(message, Submit))


def ask(reply: Any, path: str = "/completion", **body: Any) -> tuple[Any, Submit]:
    answer, seen = post(path, {"prompt": "hi", **body}, reply)
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        return events(answer.content), submitted(seen)
    return answer.json(), submitted(seen)


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_progress_comes_before_the_text(path: str) -> None:
    got, submit = ask(letters("ab"), path, stream=True, return_progress=True)
    assert submit.progress
    told = [event.pop("prompt_progress") for event in got[:2]]
    assert all(progress.pop("time_ms") >= 0 for progress in told)
    assert told == [{"total": 3, "cache": 1, "processed": n} for n in (1, 3)]
    assert not any("prompt_progress" in event for event in got[2:])
    assert not ask(letters("ab"), path, return_progress=True)[1].progress, "nobody would see it"


def test_progress_of_a_chat_has_the_role() -> None:
    body = {"messages": [{"role": "user", "content": "a"}], "stream": True, "return_progress": True}
    answer, _ = post("/v1/chat/completions", body, letters("ab"))
    first = events(answer.content)[0]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert first["prompt_progress"]["processed"] == 1


def test_a_line_that_begins_too_early_ends_the_answer() -> None:
    got, submit = ask(endless_lines(), n_indent=2)
    assert (got["content"], got["stop_type"], got["truncated"]) == ("a\n  b\n ", "limit", False)
    assert not submit.whole, "somebody has to look at the lines"


def endless_lines() -> list[list[int]]:
    return letters("a\n  b\n c\n" + "d" * 100)


def test_a_time_ends_the_answer_at_a_new_line() -> None:
    got, submit = ask(letters("a\n" * 200), t_max_predict_ms=1)
    assert got["stop_type"] in ("limit", "eos") and not submit.whole
    assert got["content"].endswith("\n")
    assert ask(letters("a\n" * 20), t_max_predict_ms=10**6)[0]["content"] == "a\n" * 20
    assert ask(letters("ab"), t_max_predict_ms=0)[1].whole


def test_blocks_beside_the_answer() -> None:
    got, submit = ask(letters("abc"), memory=True, cache=True)
    assert submit.report_memory
    assert got["memory"] == {"now_bytes": 40, "peak_bytes": 99}, "the peak was at the first token"
    assert got["cache"] == {"n_reused": 2, "n_computed": 1, "reason": "", "drift_at": None}
    got, _ = ask(letters("abc"), "/v1/completions", cache=True, stream=True)
    assert got[-2]["choices"][0]["cache"]["n_reused"] == 2
    assert "memory" not in ask(letters("abc"))[0] and "cache" not in ask(letters("abc"))[0]


def test_a_stop_string_amid_the_tokens_of_one_output_ends_with_what_was_held() -> None:
    burst = [[token for tokens in letters("abcdef") for token in tokens]]
    got, _ = ask(burst, memory=True, stream=True, stop=["d"])
    assert got[-1]["stop_type"] == "word"
    assert got[-1]["memory"] == {"now_bytes": 60, "peak_bytes": 94}


@pytest.mark.parametrize(("stream", "at"), [(False, 0), (True, -2)])
def test_verbose_has_the_answer_in_the_other_form(stream: bool, at: int) -> None:
    got, _ = ask(letters("abc"), "/v1/completions", verbose=True, stream=stream)
    last = got[at] if stream else got
    assert last["__verbose"]["tokens_evaluated"] == 3
    assert last["__verbose"]["content"] == ("" if stream else "abc")
    if stream:
        assert got[0]["__verbose"]["content"] == "a"


def test_what_the_engine_is_told() -> None:
    _, submit = ask(letters("a"), id_slot=1, n_discard=7, n_keep=2)
    assert (submit.slot, submit.n_discard, submit.n_keep) == (1, 7, 3), "the beginning is kept too"
    assert ask(letters("a"), n_keep=-1)[1].n_keep == -1
    sampling = ask(
        letters("a"), samplers=["top-k", "temp", "infill", "adaptivep"], adaptive_target=2,
        adaptive_decay=0.5, post_sampling_probs=True, backend_sampling=True,
    )[1].sampling  # fmt: skip
    assert sampling.samplers == ("top_k", "temperature", "infill", "adaptive_p")
    assert (sampling.adaptive_target, sampling.adaptive_decay) == (1.0, 0.5)
    assert sampling.post_sampling_probs
    assert ask(letters("a"), samplers="kia")[1].sampling.samplers == (
        "top_k",
        "infill",
        "adaptive_p",
    )


def test_an_answer_that_never_ends_is_told_so_in_the_settings() -> None:
    got, submit = ask(endless, n_predict=2, ignore_eos=True, logit_bias=[[5, 1.0]])
    assert submit.sampling.logit_bias == {5: 1.0, EOS: -math.inf}
    assert got["generation_settings"]["logit_bias"][1] == {"bias": None, "token": EOS}


def test_probabilities_after_sampling_have_their_own_names() -> None:
    got, _ = ask(letters("a"), n_probs=2, post_sampling_probs=True)
    [one] = got["completion_probabilities"]
    assert (one["prob"], one["top_probs"][1]["prob"]) == (-0.5, -1.5)
    assert "logprob" not in one and "top_logprobs" not in one


def test_each_answer_says_its_own_seed() -> None:
    got, _ = ask(letters("a"), n=2, seed=4)
    assert [one["generation_settings"]["seed"] for one in got] == [4, 5]


def test_echo_and_cache_reuse_are_taken() -> None:
    assert ask(letters("a"), "/v1/completions", echo=True, n_cache_reuse=9)[0]["choices"]


@pytest.mark.parametrize(
    "body",
    [
        {"id_slot": -2},
        {"id_slot": "a"},
        {"n_indent": -1},
        {"n_discard": -1},
        {"t_max_predict_ms": -2},
        {"adaptive_decay": 1.0},
        {"samplers": ["nothing"]},
        {"memory": 1},
        {"verbose": "yes"},
    ],
)
def test_wrong_values_are_named(body: dict[str, Any]) -> None:
    answer, _ = post("/completion", {"prompt": "a", **body}, letters("a"))
    assert answer.status_code == 400
    [(name, _)] = body.items()
    assert f"Field '{name}" in answer.json()["error"]["message"]


def test_a_token_that_ends_within_a_character_has_no_text() -> None:
    got, _ = ask(steps("ü"), n_probs=1)
    lead, end = got["completion_probabilities"]
    assert (lead["token"], lead["bytes"]) == ("", [0xC3])
    assert (end["token"], end["bytes"]) == ("\ufffd", [0xBC])
    assert BOS not in lead["bytes"]
