"""What the page shows of a real server, beside what the server says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pannier.engine import Engine

from ..test_clients import Server, serving
from ..test_embeddings import LLAMA
from .conftest import talking, url_of, visiting

pytestmark = pytest.mark.engine

TEXT = "Tell me a story about a mule."


def is_speed(text: str) -> bool:
    return re.fullmatch(r"[\d,.]+", text) is not None and text != "0"


def legend(visit: Any, where: str) -> dict[str, int]:
    """Bytes by name."""
    rows = visit.page.locator(f"{where} > div").evaluate_all(
        "rows => rows.map(row => [row.querySelector('dt').textContent, Number(row.dataset.bytes)])"
    )
    return dict(rows)


def test_the_devices_memory_adds_up(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        [device] = server.get("/memory")["devices"]
        shown = legend(visit, ".device > .legend")
        bar = visit.page.get_by_role("img", name=re.compile("CPU: .* held by this server"))
        assert bar.count() == 1
        names = visit.page.get_by_role("article", name="Memory of CPU").inner_text()
    total = shown.pop("Total")
    assert total == sum(shown.values()) == device["total_bytes"]
    assert shown["Weights"] == device["weights_bytes"] > 0
    assert shown["KV cache"] == device["kv_bytes"] > 0
    assert shown["Recurrent states"] == device["recurrent_bytes"] > 0
    assert shown["Compute"] == device["compute_bytes"] > 0
    assert "GiB" in names and "MiB" in names


def test_eight_clients_at_work(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit, talking(server, 8, TEXT, 3900):
        visit.until_live()
        page = visit.page
        slots = page.get_by_role("region", name=re.compile("^Slots"))
        speeds = page.locator("#slot-rows tr[data-state=decoding] td:nth-child(6)")
        visit.until(lambda: sum(is_speed(text) for text in speeds.all_inner_texts()) == 8)
        rows = [row.inner_text().split("\t") for row in page.locator("#slot-rows tr").all()]
        assert slots.first.get_by_role("row").count() == 9
        kv = legend(visit, "#kv > .legend")
        states = legend(visit, "#states > .legend")
        report = server.get("/memory")
        visit.shoot("eight-clients")
        running = page.get_by_text("Running", exact=True).locator("xpath=..").inner_text()
    assert [row[0].strip() for row in rows] == [str(i) for i in range(8)]
    assert all(row[1] == "answering" and row[2].startswith("127.0.0.1:") for row in rows)
    assert all(text.endswith((" KiB", " MiB")) for row in rows for text in row[7:])
    assert "8 of 8 slots" in " ".join(running.split())
    [device] = report["devices"]
    assert kv.pop("Total") == sum(kv.values()) == device["kv_bytes"]
    assert states.pop("Total") == sum(states.values()) == device["recurrent_bytes"]
    for shown in (kv, states):
        assert {f"Slot {i}" for i in range(8)} <= set(shown)
        assert all(n > 0 for n in shown.values())


def test_an_idle_server(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        visit.until(lambda: visit.page.locator("#slot-rows tr[data-state=idle]").count() == 8)
        counts = server.get("/memory")["activity"]
        visit.shoot("idle")
        tiles = " ".join(visit.page.locator("#tiles").inner_text().split())
        reasons = visit.page.locator("#reasons").inner_text()
    assert "Running 0 of 8 slots" in tiles
    assert f"{counts['n_finished']} finished" in tiles
    assert all(reason.lower() in reasons.lower() for reason in counts["reasons"])


def test_a_server_that_embeds_has_no_chat(browser: Any, cpu_engine: Engine) -> None:
    flags = ("-t", "1", "--embeddings", "--pooling", "mean")
    with (
        serving(cpu_engine, *flags, model=LLAMA) as server,
        visiting(browser, url_of(server)) as visit,
    ):
        visit.until_live()
        assert visit.page.get_by_role("heading", name="Memory").is_visible()
        assert not visit.page.get_by_role("heading", name="Chat").is_visible()
        assert not visit.page.locator("#slots").is_visible()


def cache_of_experts(n_layers: int) -> dict[str, Any]:
    """The block of a cache whose later layers hit more often."""
    counts = {"uploaded_bytes": (1 << 30) // n_layers, "n_copied": 5, "copied_bytes": 1 << 20}
    counts |= {"wait_s": 0.1, "upload_s": 0.025}
    layers = [
        {"layer": i, "device": "Vulkan0", "group": 0, "n_slots": 3072, "expert_bytes": 1 << 20,
         "n_hits": 610 + 10 * i, "n_misses": 390 - 10 * i, **counts}
        for i in range(n_layers)
    ]  # fmt: skip
    sums = {key: sum(layer[key] for layer in layers) for key in ("n_hits", "n_misses", *counts)}
    return {"n_slots": 3072, **sums, "layers": layers}


def test_what_a_report_may_have_besides(browser: Any, server: Server) -> None:
    """An expert cache, a GPU, owners that the page does not know, words that are HTML."""
    report = server.get("/memory")
    [cpu] = report["devices"]
    gpu = {
        **cpu,
        "name": "Vulkan0",
        "description": "<b>a very long name of a GPU with all that its driver says of it</b>",
        "total_bytes": 8 << 30,
        "free_bytes": 1 << 30,
        "process_bytes": 6 << 30,
        "untracked_bytes": 200 << 20,
        "weights_bytes": 5 << 30,
        "novelty_bytes": 7 << 20,
    }
    report["devices"] = [gpu, cpu]
    report["experts"] = cache_of_experts(40)
    report["activity"]["reasons"] = {"<i>a reason of tomorrow</i>": 3}
    body = f"data: {json.dumps(report)}\n\n"
    context = browser.new_context()
    page = context.new_page()
    page.route("**/memory/stream*", lambda route: route.fulfill(body=body))
    page.goto(url_of(server))
    page.get_by_role("heading", name="Expert cache").wait_for()
    tiles = page.locator("#expert-tiles").inner_text()
    layers = page.locator("#expert-layers")
    heights = [layer.evaluate("e => e.style.height") for layer in layers.locator("div > div").all()]
    label = layers.get_attribute("aria-label")
    title = layers.locator("> div").nth(39).get_attribute("title")
    about = page.locator("#expert-slots").inner_text()
    page.locator("#experts").scroll_into_view_if_needed()
    rows = page.locator(".device").first.locator(".legend").first.locator("div")
    shown = {
        row.locator("dt").inner_text(): int(row.get_attribute("data-bytes")) for row in rows.all()
    }
    text = page.locator("#figures").inner_text()
    assert page.locator("#figures b, #figures i").count() == 0
    context.close()
    assert about == "3,072 slots for 40 layers"
    assert all(
        words in tiles for words in ("81 %", "of 40,000 choices", "1.00 GiB", "7,800 experts")
    )
    assert "5.00 s" in tiles.replace("\n", " ") and "4.00 waiting, 1.00 uploading" in tiles
    assert "Read by long prompts" in tiles and "40.0 MiB" in tiles
    assert heights[:2] == ["61%", "62%"] and len(heights) == 40
    assert label == "Layers 0 to 39: 61 % to 100 %"
    assert title.startswith("Layer 39 on Vulkan0: ")
    assert shown["novelty"] == 7 << 20
    assert shown["Untracked"] == 200 << 20
    assert shown["Free"] == 1 << 30
    assert shown.pop("Total") == sum(shown.values()) == 8 << 30
    assert "<b>a very long name" in text and "<i>a reason of tomorrow</i>" in text.lower()
