"""`/metrics`, `/slots` and `/props`: who may see them, and what a real engine says there."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pannier.engine import Engine

from .conftest import endless
from .conftest import serving as fake
from .test_clients import Server, post, request, serving


@pytest.fixture(scope="module")
def server(cpu_engine: Engine) -> Iterator[Server]:
    flags = ("-c", "1024", "-np", "2", "-t", "1", "--metrics", "--api-key", "secret,other")
    with serving(cpu_engine, *flags, env={"LLAMA_SERVER_SLOTS_DEBUG": "1"}) as server:
        yield server


def send(server: Server, path: str, body: Any = None, key: str = "secret") -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server.port}{path}"
    headers = {"Authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return answer.headers, answer.read().decode()


def values(text: str) -> dict[str, float]:
    """Each line's value by its name and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.engine
def test_a_real_engine_counts(server: Server) -> None:
    before = values(send(server, "/metrics")[1])
    body = request(list(range(5, 45)), 6, stream=False)
    for _ in range(2):
        send(server, "/completion", body)
    headers, text = send(server, "/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(headers["Process-Start-Time-Unix"]) > 0
    after = values(text)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert (
        grown["llamacpp:prompt_tokens_total"] + grown["llamacpp:prompt_tokens_cached_total"] == 80
    )
    assert grown["llamacpp:tokens_predicted_total"] == 12
    assert grown['pannier_requests_ended_total{finish="length"}'] == 2
    assert grown["pannier_steps_total"] == grown["llamacpp:n_decode_total"] > 0
    assert after["llamacpp:n_tokens_max"] >= 45
    assert after['pannier_memory_bytes{device="CPU",kind="weights"}'] > 0
    kinds = ("weights", "kv", "recurrent", "rollback", "compute", "output", "untracked")
    owned = [after[f'pannier_memory_bytes{{device="CPU",kind="{kind}"}}'] for kind in kinds]
    assert after['pannier_device_process_bytes{device="CPU"}'] == pytest.approx(sum(owned))
    holders = [after[f'pannier_kv_bytes{{holder="{one}"}}'] for one in ("clients", "kept", "free")]
    assert sum(holders) == owned[1] and holders[1] > 0
    assert after['pannier_prefix_bytes{place="device"}'] > holders[1]
    roles = [n for name, n in after.items() if name.startswith("pannier_weights_bytes")]
    assert sum(roles) == owned[0]
    assert after["pannier_engine_restarts_total"] == after["pannier_queue_length"] == 0
    assert sum(n for name, n in after.items() if name.startswith("pannier_prompts_total")) == 2
    assert "secret" not in text


@pytest.mark.engine
def test_the_parser_takes_it(server: Server) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")
    text = send(server, "/metrics")[1]
    families = list(parser.text_string_to_metric_families(text))
    assert {family.type for family in families} == {"counter", "gauge"}
    assert all(family.documentation for family in families)
    assert sum(len(family.samples) for family in families) == len(values(text))


@pytest.mark.engine
def test_slots_tell_of_requests(server: Server) -> None:
    body = {"prompt": "Once", "n_predict": 3, "temperature": 0, "top_k": 7, "id_slot": 1}
    answer = json.loads(send(server, "/completion", body)[1])
    slot = json.loads(send(server, "/slots")[1])[1]
    assert slot["is_processing"] is False and slot["params"]["top_k"] == 7
    assert slot["prompt"] == answer["prompt"] and slot["generated"] == answer["content"]
    assert slot["n_prompt_tokens"] == answer["tokens_cached"]
    assert slot["next_token"] == [
        {"has_next_token": False, "has_new_line": False, "n_remain": -1, "n_decoded": 0}
    ]


@pytest.mark.engine
def test_slots_of_a_request_at_work(cpu_engine: Engine) -> None:
    async def look(server: Server) -> Any:
        async with post(server.port, "/completion", request([5, 6, 7], 900)) as reader:
            await reader.readuntil(b"data: ")
            return await asyncio.to_thread(server.get, "/slots")

    with serving(cpu_engine, "-c", "1024", "-np", "1", "-t", "1") as server:
        [slot] = asyncio.run(look(server))
    assert slot["is_processing"] and slot["params"]["n_predict"] == 900
    [token] = slot["next_token"]
    assert token["has_next_token"] and token["n_decoded"] + token["n_remain"] == 900
    assert "prompt" not in slot and "generated" not in slot, "nobody allowed that"
    assert slot["n_prompt_tokens_processed"] == 3


NOT_ALLOWED = [
    ("GET", "/metrics", "--metrics"),
    ("POST", "/props", "--props"),
    ("POST", "/slots/0?action=save", "--slot-save-path"),
    ("GET", "/slots", "--slots"),
]


@pytest.mark.parametrize(("method", "path", "flag"), NOT_ALLOWED)
def test_what_is_not_started_names_its_flag(method: str, path: str, flag: str) -> None:
    async def run() -> Any:
        async with fake(endless, slots_endpoint=False) as world:
            answer = await world.http.request(method, path, json={} if method == "POST" else None)
            return answer.status_code, answer.json()["error"]

    status, error = asyncio.run(run())
    assert (status, error["type"]) == (501, "not_supported_error")
    assert f"`{flag}`" in error["message"]


def test_props_tell_what_answers() -> None:
    async def run() -> None:
        async with fake(endless, metrics_endpoint=True, props_endpoint=True) as world:
            props = (await world.http.get("/props")).json()
            assert props["endpoint_metrics"] and props["endpoint_props"] and props["endpoint_slots"]
            changed = await world.http.post("/props", json={"anything": 1})
            assert changed.json() == {"success": True}

    asyncio.run(run())
