"""Slots that are saved, restored after a restart, and erased, on real engines."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine

from .test_clients import Server, serving

pytestmark = pytest.mark.engine

DATA = Path(__file__).parents[1] / "data"
MODELS = {
    "attention": "llama/model-f32.gguf",
    "sliding window": "gemma3/model-f32.gguf",
    "hybrid": "qwen3next/model-f32.gguf",
    "hybrid with rollback": "qwen35moe-rollback.gguf",
}
TEXT = "Once upon a time there was a king who had three daughters and an old horse. "
FLAGS = ("-c", "1024", "-np", "2", "-t", "1")


def ask(server: Server, path: str, body: Any) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{server.port}{path}"
    data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def complete(server: Server, prompt: Any = TEXT, n_predict: int = 4, **more: Any) -> Any:
    body = {"prompt": prompt, "n_predict": n_predict, "temperature": 0, "ignore_eos": True}
    status, answer = ask(server, "/completion", {**body, "return_tokens": True, **more})
    assert status == 200, answer
    return answer


def act(server: Server, action: str, slot: int = 0, **body: Any) -> tuple[int, Any]:
    return ask(server, f"/slots/{slot}?action={action}", body)


@pytest.mark.parametrize("kind", MODELS)
def test_after_a_restart_a_restored_slot_needs_no_prefill(
    kind: str, tmp_path: Path, cpu_engine: Engine
) -> None:
    flags = (*FLAGS, "--slot-save-path", str(tmp_path))
    model = DATA / MODELS[kind]
    with serving(cpu_engine, *flags, model=model) as server:
        first = complete(server, id_slot=1)
        status, saved = act(server, "save", 1, filename="a.slot")
        assert (status, saved["id_slot"], saved["filename"]) == (200, 1, "a.slot")
        assert saved["n_written"] == (tmp_path / "a.slot").stat().st_size
        assert saved["n_saved"] == first["tokens_cached"]
    with serving(cpu_engine, *flags, model=model) as server:
        status, restored = act(server, "restore", 0, filename="a.slot")
        assert (status, restored["n_restored"]) == (200, saved["n_saved"])
        assert restored["n_read"] == saved["n_written"]
        again = complete(server, id_slot=0)
        assert again["timings"]["prompt_n"] == 1
        assert again["tokens"] == first["tokens"]
        tokens = ask(server, "/tokenize", {"content": TEXT, "add_special": True})[1]["tokens"]
        longer = complete(server, [*tokens, *first["tokens"], 5], id_slot=0)
        assert longer["timings"]["prompt_n"] == 2, "the answer's last token and the new one"


def test_what_may_not_be_restored(tmp_path: Path, cpu_engine: Engine) -> None:
    flags = (*FLAGS, "--slot-save-path", str(tmp_path))
    with serving(cpu_engine, *flags, model=DATA / MODELS["attention"]) as server:
        complete(server, id_slot=0)
        assert act(server, "save", filename="a")[0] == 200
        data = (tmp_path / "a").read_bytes()
        (tmp_path / "damaged").write_bytes(data[:-20] + b"x" * 20)
        (tmp_path / "half").write_bytes(data[: len(data) // 2])
        (tmp_path / "text").write_text("not a state")
        (tmp_path / "folder").mkdir()
        outside = tmp_path.parent / "outside"
        outside.write_bytes(data)
        (tmp_path / "link").symlink_to(outside)
        for name in ("damaged", "half", "text", "folder", "link", "absent"):
            status, answer = act(server, "restore", filename=name)
            assert status == 400 and answer["error"]["message"].startswith("Unable to restore slot")
        assert act(server, "save", filename="folder")[0] == 400
        assert act(server, "save", filename="link")[0] == 200
        assert not (tmp_path / "link").is_symlink() and outside.read_bytes() == data
        assert act(server, "restore", filename="../outside")[0] == 400
        assert complete(server)["timings"]["prompt_n"] == 1, "what was there is still there"
    with serving(cpu_engine, *flags, model=DATA / "gemma3/model-f32.gguf") as server:
        status, answer = act(server, "restore", filename="a")
        assert status == 400 and "another model" in answer["error"]["message"]
    with serving(cpu_engine, *flags, "-ctk", "f32", model=DATA / MODELS["attention"]) as server:
        assert act(server, "restore", filename="a")[0] == 400


@pytest.mark.parametrize("kind", ["attention", "hybrid"])
def test_an_erased_slot_computes_again_and_an_action_waits_for_its_slot(
    kind: str, tmp_path: Path, cpu_engine: Engine
) -> None:
    flags = (*FLAGS, "--slot-save-path", str(tmp_path))
    with serving(cpu_engine, *flags, model=DATA / MODELS[kind]) as server:
        n_cached = complete(server, id_slot=0)["tokens_cached"]
        assert complete(server, id_slot=0)["timings"]["prompt_n"] == 1
        assert act(server, "erase") == (200, {"id_slot": 0, "n_erased": n_cached})
        assert act(server, "erase") == (200, {"id_slot": 0, "n_erased": 0})
        assert complete(server, id_slot=0)["timings"]["cache_n"] == 0
        assert act(server, "save", 4, filename="a")[1]["id_slot"] == 4, "numbers begin again"


def test_part_of_what_another_slot_went_on_from_is_saved(
    tmp_path: Path, cpu_engine: Engine
) -> None:
    flags = (*FLAGS, "--slot-save-path", str(tmp_path))
    with serving(cpu_engine, *flags, model=DATA / MODELS["attention"]) as server:
        first = complete(server, id_slot=0)
        complete(server, TEXT + first["content"] + " And then", id_slot=1)
        saved = act(server, "save", 0, filename="a")[1]
        assert 0 < saved["n_saved"] <= first["tokens_cached"]
        more = act(server, "save", 1, filename="b")[1]
        assert more["n_saved"] > saved["n_saved"]
        assert act(server, "restore", 0, filename="a")[1]["n_restored"] == saved["n_saved"]
