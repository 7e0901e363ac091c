"""LoRA adapters: `/lora-adapters`, `lora`, and answers beside llama-server's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier.engine import Engine
from pannier.errors import ModelError
from pannier.modelfile.adapter import AdapterFile
from pannier.sampling import SamplingParams
from pannier.server.adapters import read_adapters
from pannier.server.cells import CellTree
from pannier.server.embedding_scheduler import BatchLimits, EmbeddingScheduler
from pannier.server.limits import Limits
from pannier.server.messages import Adapters, Embed, Submit
from pannier.server.plan import Plan, SampledToken
from pannier.server.prefix_cache import CacheSizes
from pannier.server.scheduler import Scheduler

from ..edited_gguf import Lora
from .conftest import letters, serving
from .llama_server import call, llama_server
from .test_clients import serving as serving_for_real

LLAMA = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
NEXT = Path(__file__).parents[1] / "data" / "qwen3next" / "model-f32.gguf"
FILES = (AdapterFile(Path("a.gguf"), 2, task_name="sums"), AdapterFile(Path("b.gguf"), 2))
A: Adapters = ((0, 1.0),)
B: Adapters = ((0, 0.5),)

# ---------------------------------------------------------------- requests


def ask(*requests: tuple[str, Any], scales: tuple[float, ...] = (1.0, 0.5)) -> Any:
    """Statuses and answers, and the adapters of what reached the engine."""

    async def run() -> Any:
        given = {"adapters": FILES, "adapter_scales": scales} if scales else {}
        async with serving(letters("ok"), **given) as world:
            answers = [
                await (world.http.get(path) if body is None else world.http.post(path, json=body))
                for path, body in requests
            ]
            seen = [message.adapters for message in world.engine.of(Submit)]
            return [(answer.status_code, answer.json()) for answer in answers], seen

    return asyncio.run(run())


def test_list() -> None:
    [(status, rows)], _ = ask(("/lora-adapters", None))
    assert status == 200
    assert rows == [
        {"id": 0, "path": "a.gguf", "scale": 1.0, "task_name": "sums", "prompt_prefix": ""},
        {"id": 1, "path": "b.gguf", "scale": 0.5, "task_name": "", "prompt_prefix": ""},
    ]
    assert ask(("/lora-adapters", None), scales=())[0] == [(200, [])]


def test_scales_hold_for_requests_that_say_nothing() -> None:
    prompt = {"prompt": "a"}
    answers, seen = ask(
        ("/completion", prompt),
        ("/lora-adapters", [{"id": 1, "scale": 0.25}]),
        ("/completion", prompt),
        ("/completion", {**prompt, "lora": [{"id": 0, "scale": 2}, {"id": 1}]}),
        ("/completion", {**prompt, "lora": []}),
        ("/lora-adapters", []),
        ("/completion", prompt),
        ("/lora-adapters", None),
    )
    assert [status for status, _ in answers] == [200] * 8
    assert seen == [((0, 1.0), (1, 0.5)), ((1, 0.25),), ((0, 2.0),), ((1, 0.25),), ()]
    assert answers[1][1] == {"success": True}
    assert [row["scale"] for row in answers[-1][1]] == [0.0, 0.0]
    shown = [answer["generation_settings"]["lora"] for _, answer in (answers[0], answers[3])]
    assert shown == [[], [{"id": 0, "scale": 2.0}, {"id": 1, "scale": 0.0}]]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/completion", {"prompt": "a", "lora": 5}, "Field 'lora': expected a list, got 5"),
        ("/completion", {"prompt": "a", "lora": [5]}, "Field 'lora[0]': expected an object"),
        ("/completion", {"prompt": "a", "lora": [{"scale": 1}]}, "'lora[0].id' is required"),
        (
            "/completion",
            {"prompt": "a", "lora": [{"id": 0, "scale": "x"}]},
            "Field 'lora[0].scale': expected a number from -100 to 100, got 'x'",
        ),
        ("/completion", {"prompt": "a", "lora": [{"id": 2, "scale": 1}]}, "there is no adapter 2"),
        ("/lora-adapters", {}, "Request body must be an array"),
        ("/lora-adapters", [5], "Field '[0]': expected an object, got 5"),
        ("/lora-adapters", [{"id": 7, "scale": 1}], "there is no adapter 7; they are 0 to 1"),
        ("/lora-adapters", [{"id": -1}], "Field 'id': expected a whole number of at least 0"),
        (
            "/lora-adapters",
            [{"id": 0, "scale": 101}],
            "Field 'scale': expected a number from -100 to",
        ),
    ],
)
def test_errors(path: str, body: Any, message: str) -> None:
    [(status, answer)], seen = ask((path, body))
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert message in answer["error"]["message"]
    assert not seen


def test_a_server_without_adapters() -> None:
    body = {"prompt": "a", "lora": [{"id": 0, "scale": 1}]}
    [(status, answer)], _ = ask(("/completion", body), scales=())
    assert status == 400
    assert "start the server with --lora" in answer["error"]["message"]


def test_an_activated_adapter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gguf

    add_array = gguf.GGUFWriter.add_array

    def add_u32s(writer: gguf.GGUFWriter, key: str, values: list[int]) -> None:
        types = gguf.GGUFValueType
        writer.add_key_value(key, values, types.ARRAY, sub_type=types.UINT32)

    monkeypatch.setattr(gguf.GGUFWriter, "add_array", add_u32s)
    key = "adapter.alora.invocation_tokens"
    path = Lora(LLAMA, "attn_q.").write(tmp_path / "lora.gguf", {key: [5, 6]})
    monkeypatch.setattr(gguf.GGUFWriter, "add_array", add_array)
    with pytest.raises(ModelError, match="activated LoRA, which is not supported yet"):
        read_adapters(str(LLAMA), [str(path)])


# ---------------------------------------------------------------- scheduler

LIMITS = Limits(n_slots=4, n_ctx=1000, n_ctx_seq=1000, n_batch=100, n_mixed=100, n_seqs=8)
PROMPT = list(range(50))


def submit(id: int, adapters: Adapters, prompt: list[int] = PROMPT) -> Submit:
    return Submit(id, prompt, SamplingParams(), max_tokens=2, adapters=adapters)


def step(scheduler: Scheduler) -> Plan:
    plan = scheduler.schedule()
    sampled = [SampledToken(chunk.request.id, 7) for chunk in plan.chunks if chunk.sample]
    scheduler.update(plan, sampled)
    return plan


def finish(scheduler: Scheduler) -> list[Plan]:
    plans = []
    while not scheduler.is_idle:
        plans.append(step(scheduler))
    return plans


def test_a_step_is_computed_with_one_set() -> None:
    scheduler = Scheduler(LIMITS, [])
    for id, adapters in enumerate([A, B, A, ()], 1):
        scheduler.submit(submit(id, adapters))
    plans = finish(scheduler)
    for plan in plans:
        assert {chunk.request.adapters for chunk in plan.chunks} == {plan.adapters}
    assert {plan.adapters for plan in plans} == {A, B, ()}


@pytest.mark.parametrize("can_cut", [True, False])
def test_prefixes_are_shared_with_the_same_set_only(can_cut: bool) -> None:
    limits = Limits(**{**LIMITS.__dict__, "can_cut": can_cut})
    scheduler = Scheduler(limits, [])
    longer = [*PROMPT, 7, 8, 9]
    reused = {}
    for id, (adapters, prompt) in enumerate(
        [(A, PROMPT), (B, longer), ((), longer), (A, longer), (B, longer[:-1]), (A, longer)], 1
    ):
        scheduler.submit(submit(id, adapters, prompt))
        plan = step(scheduler)
        [started] = plan.started
        reused[id] = started.n_reused
        finish(scheduler)
    assert [reused[id] for id in (1, 2, 3)] == [0, 0, 0]
    assert reused[4] == 51
    assert reused[5] == (51 if can_cut else 0)
    assert reused[6] >= 51


def test_nobody_waits_for_a_prefix_of_another_set() -> None:
    scheduler = Scheduler(LIMITS, [])
    for id, adapters in enumerate([A, B, A], 1):
        scheduler.submit(submit(id, adapters))
    plan = step(scheduler)
    assert [running.id for running in plan.started] == [1, 2]


def test_states_away_from_the_device_keep_their_set() -> None:
    limits = Limits(n_slots=1, n_ctx=200, n_ctx_seq=200, n_batch=200, n_mixed=200, n_seqs=1)
    sizes = CacheSizes(host_bytes=10**9, disk_bytes=10**9)
    prompt = list(range(100))
    scheduler = Scheduler(limits, [], sizes=sizes)
    for id, adapters in enumerate([A, B, A, B], 1):
        scheduler.submit(submit(id, adapters, [*prompt, 500 + id]))
        plan = step(scheduler)
        [started] = plan.started
        assert started.n_reused == (0 if id <= 2 else 100)
        finish(scheduler)
    scheduler.cache.flush()
    assert {kept.stored for kept in scheduler.cache.kept.values()} <= {"", "host"}


def test_cells_of_sets_are_apart() -> None:
    tree = CellTree()
    tree.extend(0, [1, 2, 3], A)
    tree.extend(1, [1, 2, 3])
    tree.fork(0, 2, 2)
    tree.extend(2, [9], A)
    assert tree.match([1, 2, 9], A) == (3, {2})
    assert tree.match([1, 2, 9]) == (2, {1})
    assert tree.match([1, 2, 9], B) == (0, set())
    assert [tree.adapters(seq) for seq in (0, 1, 2)] == [A, (), A]
    assert tree.n_cells == 7


def test_a_batch_of_embeddings_is_computed_with_one_set() -> None:
    sizes = BatchLimits(n_slots=4, n_prompts=8, n_tokens=100, n_prompt=100)
    scheduler = EmbeddingScheduler(sizes)
    for id, adapters in enumerate([A, B, A], 1):
        scheduler.submit(Embed(id, [[1, 2]], adapters=adapters))
    scheduler.admit()
    sets = []
    while not scheduler.is_idle:
        batch = scheduler.schedule()
        sets.append({piece.owner.request.adapters for piece in batch})
        scheduler.update(batch, [np.zeros(1)] * len(batch))
    assert sets == [{A}, {B}]


# ---------------------------------------------------------------- real engines

COMPLETION = {
    "prompt": list(range(40, 60)),
    "n_predict": 12,
    "temperature": 0,
    "ignore_eos": True,
    "return_tokens": True,
    "n_probs": 3,
}


@pytest.fixture(scope="module", params=[LLAMA, NEXT], ids=["llama", "qwen3next"])
def world(
    request: pytest.FixtureRequest, tools_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int]]:
    """Both servers with the same adapters."""
    folder = tmp_path_factory.mktemp("lora")
    parts = ("attn_q.", "ffn_down") if request.param == LLAMA else ("attn_qkv", "exps")
    first = Lora(request.param, *parts, seed=1).write(folder / "1.gguf")
    second = Lora(request.param, "output.weight" if request.param == NEXT else "attn_v.", seed=2)
    options = ["-c", "2048", "-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    options += ["--lora", str(first), "--lora-scaled", f"{second.write(folder / '2.gguf')}:0.5"]
    with (
        serving_for_real(tools_engine, "-t", "1", *options, model=request.param) as server,
        llama_server(tools_engine, request.param, *options) as port,
    ):
        yield server.port, port


def facts(answer: tuple[int, Any]) -> tuple[list[int], np.ndarray]:
    status, body = answer
    assert status == 200, body
    probs = [row["logprob"] for row in body["completion_probabilities"]]
    return body["tokens"], np.array(probs)


def assert_alike(ours: tuple[int, Any], theirs: tuple[int, Any]) -> None:
    (tokens, probs), (expected, _) = facts(ours), facts(theirs)
    assert tokens == expected
    left = iter(zip(tokens, probs, strict=True))
    for row in theirs[1]["completion_probabilities"]:  # no parts of a character among them
        assert next(prob for token, prob in left if token == row["id"]) == pytest.approx(
            row["logprob"], abs=1e-3
        )


SETS: list[dict[str, Any]] = [
    {},
    {"lora": [{"id": 0, "scale": 1.0}]},
    {"lora": [{"id": 1, "scale": -0.75}]},
    {"lora": [{"id": 0, "scale": 0.5}, {"id": 1, "scale": 1.5}]},
    {"lora": [{"id": 0, "scale": 0.0}]},
]


@pytest.mark.engine
def test_llama_server_says_the_same(world: tuple[int, int]) -> None:
    found = []
    for _ in range(2):  # the second time from prefixes
        for chosen in SETS:
            body = {**COMPLETION, **chosen}
            ours = call(world[0], "/completion", body)
            # without a `lora` it would go on from what another request's computed
            theirs = call(world[1], "/completion", {**body, "cache_prompt": False})
            assert_alike(ours, theirs)
            found.append(facts(ours)[0])
    assert found[:5] == found[5:]
    assert len({tuple(tokens) for tokens in found}) == len(SETS)
    rows, their_rows = (call(port, "/lora-adapters") for port in world)
    assert rows == their_rows


@pytest.mark.engine
def test_clients_with_different_sets_at_once(world: tuple[int, int]) -> None:
    """Each gets what it gets alone, from prefixes of its own."""
    port = world[0]
    bodies = [{**COMPLETION, "n_predict": 40, **chosen} for chosen in SETS * 2]
    for i, body in enumerate(bodies):
        body["prompt"] = [*COMPLETION["prompt"], 61 + i // len(SETS)]

    async def together() -> list[Any]:
        return await asyncio.gather(
            *(asyncio.to_thread(call, port, "/completion", body) for body in bodies)
        )

    alone = [facts(call(port, "/completion", {**b, "cache_prompt": False})) for b in bodies]
    for answer, (tokens, probs) in zip(asyncio.run(together()), alone, strict=True):
        found, their_probs = facts(answer)
        assert found == tokens
        assert np.abs(probs - their_probs).max() < 1e-3


@pytest.mark.engine
def test_the_scales_of_the_server(tools_engine: Engine, tmp_path: Path) -> None:
    """Set by POST, they hold after it, and without a scale nothing is changed."""
    lora = Lora(LLAMA, "attn_q.", "ffn_up")
    flags = ["--lora", str(lora.write(tmp_path / "lora.gguf")), "--lora-init-without-apply"]
    options = ["-t", "1", "-c", "1024", "-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    with serving_for_real(tools_engine, *options, model=LLAMA) as server:
        plain = call(server.port, "/completion", COMPLETION)
    merged_model = lora.merge(tmp_path / "merged.gguf", 0.75)
    with serving_for_real(tools_engine, *options, model=merged_model) as server:
        merged = call(server.port, "/completion", COMPLETION)
    with serving_for_real(tools_engine, *options, *flags, model=LLAMA) as server:
        assert_alike(call(server.port, "/completion", COMPLETION), plain)
        status, _ = call(server.port, "/lora-adapters", [{"id": 0, "scale": 0.75}])
        assert status == 200
        assert_alike(call(server.port, "/completion", COMPLETION), merged)
        assert call(server.port, "/lora-adapters")[1][0]["scale"] == 0.75
    assert facts(plain)[0] != facts(merged)[0]


@pytest.mark.engine
def test_the_largest_scales_hurt_nobody_else(world: tuple[int, int]) -> None:
    port = world[0]
    plain = call(port, "/completion", {**COMPLETION, "cache_prompt": False})
    for scale in (100, -100):
        wild = {"lora": [{"id": 0, "scale": scale}, {"id": 1, "scale": scale}]}
        for sampling in ({}, {"temperature": 1.0}, {"mirostat": 2, "temperature": 1.0}):
            body = {**COMPLETION, **wild, **sampling, "prompt": [9, *COMPLETION["prompt"]]}
            assert call(port, "/completion", body)[0] == 200
    again = call(port, "/completion", {**COMPLETION, "cache_prompt": False})
    assert facts(again)[0] == facts(plain)[0]
