"""`/rerank`: shapes, errors, prompts, and scores beside llama-server's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from pydantic import TypeAdapter

from pannier.engine import Engine
from pannier.server.messages import Embed, Output
from pannier.server.responses.embeddings import Rank, Ranking

from ..edited_gguf import edited
from .conftest import BOS, EOS, FakeVocabulary
from .llama_server import call, llama_server
from .test_clients import serving as serving_for_real
from .test_completion import post
from .test_embeddings import bert  # noqa: F401

DATA = Path(__file__).parents[1] / "data"
QUERY = "What barks?"
DOCUMENTS = ["a cat", "a dog barks", "the sun rises in the east", "", "née à Zürich"]
RANK = 4


def scores_of(message: Embed) -> Output:
    """Longer is better."""
    rows = [np.array([len(prompt) / 2], dtype=np.float32) for prompt in message.prompts]
    return Output(message.id, finish="embedded", rows=rows)


def rerank(body: dict[str, Any], path: str = "/rerank", **settings: Any) -> tuple[Any, list[Any]]:
    given = {"embeddings": True, "reranking": True, "pooling": "rank", **settings}
    return post(path, body, scores_of, **given)


@pytest.mark.parametrize("path", ["/rerank", "/reranking", "/v1/rerank", "/v1/reranking"])
def test_jina(path: str) -> None:
    answer, seen = rerank({"query": "q", "documents": ["a", "bcd", "ef"], "top_n": 2}, path)
    assert answer.json() == {
        "model": "m.gguf",
        "object": "list",
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
        "results": [{"index": 1, "relevance_score": 2.5}, {"index": 2, "relevance_score": 2.0}],
    }
    assert seen[0].prompts == [[BOS, *b"q", *text] for text in (b"a", b"bcd", b"ef")]


def test_tei() -> None:
    body: dict[str, Any] = {"query": "q", "texts": ["a", "bcd"]}
    assert rerank(body)[0].json() == [{"index": 1, "score": 2.5}, {"index": 0, "score": 1.5}]
    body["return_text"] = True
    assert rerank(body)[0].json() == [
        {"index": 1, "score": 2.5, "text": "bcd"},
        {"index": 0, "score": 1.5, "text": "a"},
    ]


def test_tokens_around_the_texts() -> None:
    class Separating(FakeVocabulary):
        sep = 7
        add_eos = True
        add_sep = True

    class Endless(Separating):
        eos = -1

    class Bare(Endless):
        sep = -1
        add_sep = False

    body = {"query": "q", "documents": ["<s>"]}
    _, seen = rerank(body, vocabulary=Separating())
    assert seen[0].prompts == [[BOS, *b"q", EOS, 7, *b"<s>", EOS]]
    _, seen = rerank(body, vocabulary=Endless())
    assert seen[0].prompts == [[BOS, *b"q", 7, 7, *b"<s>", 7]]
    assert rerank(body, vocabulary=Bare())[0].status_code == 501


def test_the_models_template() -> None:
    class Templated(FakeVocabulary):
        @property
        def metadata(self) -> dict[str, str]:
            return {
                **super().metadata,
                "tokenizer.chat_template.rerank": "<s>{query}:{document}!",
            }

    _, seen = rerank({"query": "q", "documents": ["d"]}, vocabulary=Templated())
    assert seen[0].prompts == [[BOS, *b"q:d!"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"documents": ["a"]}, "'query' is required"),
        ({"query": 1, "documents": ["a"]}, "Field 'query': expected a string, got 1"),
        ({"query": "q"}, '"documents" must be a non-empty string array'),
        ({"query": "q", "documents": []}, '"documents" must be a non-empty string array'),
        ({"query": "q", "texts": "a"}, "Field 'texts': expected a list, got 'a'"),
        ({"query": "q", "documents": ["a", 1]}, "Field 'documents[1]': expected a string, got 1"),
        ({"query": "q", "documents": ["a"], "top_n": -1}, "Field 'top_n': expected a whole number"),
        ({"query": "q", "texts": ["a"], "return_text": 1}, "Field 'return_text': expected true"),
        ({"query": "q" * 60, "documents": ["a"]}, "input (62 tokens) is too large to process"),
    ],
)
def test_errors(body: dict[str, Any], message: str) -> None:
    answer, _ = rerank(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]


@pytest.mark.parametrize("pooling", ["", "mean"])
def test_not_supported(pooling: str) -> None:
    answer, _ = rerank(
        {"query": "q", "documents": ["a"]},
        embeddings=bool(pooling),
        reranking=False,
        pooling=pooling,
    )
    assert answer.status_code == 501
    assert "Start it with `--reranking`" in answer.json()["error"]["message"]


# ---------------------------------------------------------------- real engines


def last_token_reranker(path: Path, _: pytest.FixtureRequest) -> Path:
    """A tiny Qwen3 with the head that Qwen3-Reranker has, and its kind of template."""
    from pannier.convert import convert

    source = convert(DATA / "qwen3", path.with_name("qwen3.gguf"), quant="F32")
    n_embd = int(gguf.GGUFReader(source).fields["qwen3.embedding_length"].contents())
    head = np.random.default_rng(1).standard_normal((2, n_embd), dtype=np.float32)
    return edited(
        source,
        path,
        {
            "qwen3.pooling_type": RANK,
            "qwen3.classifier.output_labels": ["yes", "no"],
            "tokenizer.chat_template.rerank": "{query} and {document}?",
        },
        {"cls.output.weight": head},
    )


def cross_encoder(path: Path, request: pytest.FixtureRequest) -> Path:
    """MiniLM with the head that BGE's rerankers have, of random weights."""
    rng = np.random.default_rng(1)
    return edited(
        request.getfixturevalue("bert"),
        path,
        {"bert.pooling_type": RANK},
        {
            "cls.weight": rng.standard_normal((384, 384), dtype=np.float32) / 20,
            "cls.bias": rng.standard_normal(384, dtype=np.float32),
            "cls.output.weight": rng.standard_normal((1, 384), dtype=np.float32),
            "cls.output.bias": rng.standard_normal(1, dtype=np.float32),
        },
    )


BODIES: list[dict[str, Any]] = [
    {"query": QUERY, "documents": DOCUMENTS},
    {"query": QUERY, "documents": DOCUMENTS, "top_n": 2, "model": "mine"},
    {"query": QUERY, "documents": DOCUMENTS, "top_n": 0},
    {"query": QUERY, "documents": DOCUMENTS, "top_n": 99},
    {"query": QUERY, "texts": DOCUMENTS, "return_text": True},
    {"query": QUERY, "texts": DOCUMENTS, "return_text": True, "top_n": 3},
    {"query": "<s>{document}</s>", "documents": ["[SEP]", "<|im_end|>"]},
]


@pytest.mark.engine
@pytest.mark.parametrize("make", [last_token_reranker, cross_encoder])
def test_llama_server_says_the_same(
    tools_engine: Engine, tmp_path: Path, make: Any, request: pytest.FixtureRequest
) -> None:
    model = make(tmp_path / "rank.gguf", request)
    options = ("--reranking", "-c", "512", "-fa", "off")
    with (
        serving_for_real(tools_engine, "-t", "1", *options, model=model) as server,
        llama_server(tools_engine, model, *options) as port,
    ):
        for body in BODIES:
            ours, theirs = (call(p, "/v1/rerank", body) for p in (server.port, port))
            assert ours[0] == theirs[0] == 200
            TypeAdapter(Ranking | list[Rank]).validate_python(ours[1])
            assert_alike(ours[1], theirs[1])
        assert call(server.port, "/embedding", {"content": "a"})[0] == 501
        many = {"query": QUERY, "documents": [f"{i} {'x ' * i}" for i in range(70)]}
        assert_alike(*(call(p, "/rerank", many)[1] for p in (server.port, port)))


def assert_alike(ours: Any, theirs: Any) -> None:
    if isinstance(ours, list):
        ours, theirs = {"results": ours}, {"results": theirs}
    label = "relevance_score" if "usage" in ours else "score"
    assert ours.get("usage") == theirs.get("usage")
    scores = [row[label] for row in ours["results"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(theirs["results"])
    expected = {row["index"]: row for row in theirs["results"]}
    for row in ours["results"]:  # those with almost equal scores may have changed places
        there = expected.pop(row["index"])
        assert row.pop(label) == pytest.approx(there.pop(label), rel=1e-3, abs=1e-3)
        assert row == there
