"""`/infill`: errors, and prompts token for token as llama-server makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine
from pannier.fim import FimTokens
from pannier.server.infill import Extra, Sizes, infill_prompt
from pannier.server.messages import Submit

from ..edited_gguf import edited
from .conftest import BOS, FakeVocabulary, letters
from .llama_server import call, llama_server
from .test_clients import serving as serving_for_real
from .test_completion import post

LLAMA = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
PRE, SUF, MID, REP, SEP = 1, 2, 3, 4, 5
GAP = {"input_prefix": "a", "input_suffix": "b"}


class Filling(FakeVocabulary):
    fim = FimTokens(PRE, SUF, MID)


class Knowing(FakeVocabulary):
    fim = FimTokens(PRE, SUF, MID, REP, SEP)


def infill(body: dict[str, Any], **settings: Any) -> tuple[Any, list[int]]:
    given = {"vocabulary": Filling(), **settings}
    answer, seen = post("/infill", body, letters("ok"), **given)
    prompts = [message.prompt for message in seen if isinstance(message, Submit)]
    return answer, prompts[0] if prompts else []


def test_prompt() -> None:
    answer, prompt = infill({**GAP, "prompt": "c", "n_predict": 5})
    assert prompt == [BOS, PRE, *b"ac", SUF, *b"b", MID]
    assert answer.json()["content"] == "ok"
    _, prompt = infill({**GAP, "prompt": "c"}, spm_infill=True)
    assert prompt == [BOS, SUF, *b"b", PRE, *b"ac", MID]
    _, prompt = infill({"input_prefix": [7, "<s>"], "input_suffix": [8]})
    assert prompt == [BOS, PRE, 7, *b"<s>", SUF, 8, MID]


def test_extra_texts() -> None:
    def prompt(vocabulary: FakeVocabulary, n_ctx: int = 1000) -> list[int]:
        extra = [Extra("x", "1"), Extra("tmp", "2")]
        return infill_prompt(vocabulary, [10], [11], [], extra, Sizes(100, n_ctx))

    gap = [BOS, PRE, 10, SUF, 11, MID]
    known = [REP, *b"myproject\n", SEP, *b"x\n1", SEP, *b"tmp\n2", SEP, *b"filename\n"]
    assert prompt(Knowing()) == [*known, *gap]
    assert prompt(Knowing(), 102) == [*b"ame\n", *gap]
    assert prompt(Knowing(), 98) == gap
    snippet = b"\n\n--- snippet ---\n\n"
    assert prompt(Filling()) == [*snippet, *b"1", *snippet, *b"2", *gap]


def test_long_texts_are_cut() -> None:
    prompt = infill_prompt(Filling(), list(range(100)), list(range(100)), [9], (), Sizes(40, 1000))
    assert prompt == [BOS, PRE, *range(70, 100), 9, SUF, *range(7), MID]
    prompt = infill_prompt(Filling(), [1], [2], [9] * 20, (), Sizes(40, 1000))
    assert prompt == [BOS, PRE, 1, *[9] * 20, SUF, MID]


def test_a_model_that_was_not_trained_for_it() -> None:
    class Half(FakeVocabulary):
        fim = FimTokens(prefix=1)

    for vocabulary, missing in (
        (FakeVocabulary(), "prefix token is missing. suffix token is missing. "),
        (Half(), "suffix token is missing. "),
    ):
        answer, _ = infill(GAP, vocabulary=vocabulary)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (501, "not_supported_error")
        assert error["message"] == (
            f"Infill is not supported by this model: {missing}middle token is missing. "
        )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input_suffix": "b"}, "'input_prefix' is required"),
        ({"input_prefix": "b"}, "'input_suffix' is required"),
        ({**GAP, "input_prefix": 5}, "Field 'input_prefix': expected a string"),
        ({**GAP, "input_suffix": [None]}, "Field 'input_suffix': expected a string"),
        ({**GAP, "input_suffix": [999]}, "Field 'input_suffix': token 999 is not in"),
        ({**GAP, "prompt": 5}, "Field 'prompt': expected a string, got 5"),
        ({**GAP, "input_extra": "x"}, "Field 'input_extra': expected a list"),
        ({**GAP, "input_extra": [{}]}, "'input_extra[0].text' is required"),
        ({**GAP, "input_extra": [{"text": 5}]}, "Field 'input_extra[0].text': expected a string"),
        ({**GAP, "input_prefix": "a" * 80}, "exceeds the available context size"),
        ({**GAP, "top_k": "x"}, "Field 'top_k': expected a whole number"),
    ],
)
def test_errors(body: dict[str, Any], message: str) -> None:
    answer, prompt = infill(body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert not prompt


# ---------------------------------------------------------------- real engines

TOKENS = {
    "tokenizer.ggml.fim_pre_token_id": 10,
    "tokenizer.ggml.fim_suf_token_id": 11,
    "tokenizer.ggml.fim_mid_token_id": 12,
}
FILES = {"tokenizer.ggml.fim_rep_token_id": 13, "tokenizer.ggml.fim_sep_token_id": 14}
EXTRA = [{"filename": "a.py", "text": "def f(): pass"}, {"text": "x = 1\n" * 30}]
BODIES: list[dict[str, Any]] = [
    {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n\nprint(add(1, 2))\n"},
    {"input_prefix": "", "input_suffix": ""},
    {"input_prefix": "née <|begin_of_text|>", "input_suffix": "山", "prompt": "ret"},
    {"input_prefix": ["a", 5, "b"], "input_suffix": [6, 7]},
    {"input_prefix": "x" * 200, "input_suffix": "y" * 200, "prompt": "z" * 9},
    {"input_prefix": "x" * 200, "input_suffix": "y" * 200, "prompt": "z" * 30},
    {"input_prefix": "a", "input_suffix": "b", "input_extra": EXTRA},
    {"input_prefix": "a", "input_suffix": "b", "input_extra": EXTRA * 3},
]


@pytest.mark.engine
@pytest.mark.parametrize("keys", [TOKENS, {**TOKENS, **FILES}], ids=["texts", "files"])
@pytest.mark.parametrize("flags", [(), ("--spm-infill",)], ids=["psm", "spm"])
def test_llama_server_makes_the_same_prompts(
    tools_engine: Engine, tmp_path: Path, keys: dict[str, int], flags: tuple[str, ...]
) -> None:
    model = edited(LLAMA, tmp_path / "fim.gguf", keys)
    options = ("-c", "512", "-b", "100", "-fa", "off", *flags)
    wanted = {"n_predict": 4, "temperature": 0, "ignore_eos": True, "return_tokens": True}
    with (
        serving_for_real(tools_engine, "-t", "1", *options, model=model) as server,
        llama_server(tools_engine, model, *options) as port,
    ):
        for body in BODIES:
            ours, theirs = (call(p, "/infill", {**body, **wanted}) for p in (server.port, port))
            assert ours[0] == theirs[0] == 200, (ours, theirs)
            for name in ("prompt", "tokens_evaluated", "tokens", "content"):
                assert ours[1][name] == theirs[1][name], (name, body)
        assert call(server.port, "/completion", {"prompt": "a", "n_predict": 1})[0] == 200


@pytest.mark.engine
def test_llama_server_refuses_the_same_models(tools_engine: Engine) -> None:
    with (
        serving_for_real(tools_engine, "-t", "1", "-c", "512", model=LLAMA) as server,
        llama_server(tools_engine, LLAMA, "-c", "512") as port,
    ):
        ours, theirs = (call(p, "/infill", GAP) for p in (server.port, port))
    assert ours == theirs
