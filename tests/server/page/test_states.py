"""Keys, engines that end, servers that are gone, queues that are full; and how all that looks."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pannier.engine import Engine

from ..test_clients import Server, serving
from .conftest import DEMO, Talk, Visit, talking, url_of, visiting
from .test_chat import answered, say

pytestmark = pytest.mark.engine

DASH = "\N{EN DASH}"
SMALL = ("-c", "2048", "-t", "1")


def chip(visit: Visit) -> str:
    return str(visit.page.locator("#connection").inner_text())


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Any, cpu_engine: Engine) -> None:
    flags = (*SMALL, "-np", "1", "--api-key", "schlüssel", "--api-prefix", "/llm")
    with (
        serving(cpu_engine, *flags, model=DEMO) as server,
        visiting(browser, url_of(server, "/llm"), expect_failures=True) as visit,
    ):
        page = visit.page
        assert page.url.endswith("/llm/")
        form = page.get_by_role("form", name="This server asks for an API key")
        form.wait_for()
        assert chip(visit) == "Key needed"
        assert page.evaluate("document.activeElement.id") == "key"
        form.get_by_label("API key").fill("wrong")
        form.get_by_role("button", name="Use it").click()
        visit.until(lambda: "does not take" in form.inner_text())
        page.keyboard.type("schlüssel")
        page.keyboard.press("Enter")
        visit.until_live()
        page.get_by_label("Max tokens").fill("3")
        say(visit, "Hello")
        visit.until(lambda: answered(visit, 1))
        page.reload()
        visit.until_live()
        assert not form.is_visible()
        assert page.evaluate("[...Object.values(sessionStorage)]") == ["schlüssel"]
        assert page.evaluate("localStorage.length") == 0


def children_of(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def has_begun(pid: int) -> bool:
    """It is a program of its own by now: until then its parent waits for it."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def engine_of(server: Server) -> int:
    return int(server.get("/props")["engine"]["pid"])


def test_an_engine_that_ends_is_told(browser: Any, cpu_engine: Engine) -> None:
    with (
        serving(cpu_engine, *SMALL, "-np", "2", model=DEMO) as server,
        visiting(browser, url_of(server), expect_failures=True) as visit,
    ):
        visit.until_live()
        say(visit, "Tell me a story about a mule.")
        visit.until(lambda: answered(visit, 1))
        tiles = visit.page.locator("#tiles")
        visit.until(lambda: "1 finished" in " ".join(tiles.inner_text().split()))
        killed = engine_of(server)
        before = children_of(server.process.pid)
        os.kill(killed, signal.SIGKILL)
        new: set[int] = set()
        while not new:
            new = {pid for pid in children_of(server.process.pid) - before if has_begun(pid)}
        for pid in new:  # it loads for as long as we like
            os.kill(pid, signal.SIGSTOP)
        text = visit.page.locator("#notice-text")
        visit.until(lambda: "being restarted" in text.inner_text())
        assert chip(visit) == "Engine not ready"
        assert "The figures are those of" in text.inner_text()
        assert "being restarted" in visit.page.get_by_role("status").inner_text()
        visit.shoot("error")
        for pid in new:
            os.kill(pid, signal.SIGCONT)
        visit.until(lambda: chip(visit) == "Live")
        status = visit.page.get_by_role("status")
        visit.until(lambda: status.inner_text() == "The engine was restarted.")
        assert not text.is_visible()
        assert engine_of(server) != killed


def test_a_server_that_is_gone_and_comes_back(browser: Any, cpu_engine: Engine) -> None:
    with ExitStack() as stack:
        with serving(cpu_engine, *SMALL, "-np", "2", model=DEMO) as server:
            visiting_it = visiting(browser, url_of(server), expect_failures=True)
            visit = stack.enter_context(visiting_it)
            visit.until_live()
        visit.until(lambda: chip(visit).startswith("Trying again in "))
        assert "does not answer" in visit.page.locator("#notice-text").inner_text()
        assert "does not answer" in visit.page.get_by_role("status").inner_text()
        assert visit.page.get_by_role("button", name="Try now").is_visible()
        port = ("--port", str(server.port), "--reuse-port")
        with serving(cpu_engine, *SMALL, "-np", "3", *port, model=DEMO):
            visit.page.evaluate("document.getElementById('retry').click()")  # it may be gone
            visit.until(lambda: chip(visit) == "Live")
            visit.until(lambda: visit.page.locator("#slot-rows tr").count() == 3)


def test_a_queue_that_is_full(browser: Any, cpu_engine: Engine) -> None:
    name = "a-model-with-" + "a-long-" * 30 + "name"
    flags = ("-c", "16384", "-t", "1", "-np", "2", "--max-queue", "1", "-a", name)
    with (
        serving(cpu_engine, *flags, model=DEMO) as server,
        visiting(browser, url_of(server), expect_failures=True) as visit,
    ):
        visit.until_live()
        with talking(server, 0, "", 0) as talks:
            for n in (1, 2, 3):
                talks.append(Talk(server, "Tell me a story.", 7900))
                visit.until(lambda n=n: busy(server) == n)
            say(visit, "Tell me a story about a mule.")
            alert = visit.page.get_by_role("alert")
            visit.until(lambda: "Try again in " in alert.inner_text())
            tiles = visit.page.locator("#tiles")
            visit.until(lambda: "1 refused" in tiles.inner_text())
            assert "The queue is full" in tiles.inner_text()
            assert "The queue is full (1 of 1)" in alert.inner_text()
            speeds = visit.page.locator("#slot-rows td:nth-child(6)")
            visit.until(lambda: DASH not in speeds.all_inner_texts())
            visit.shoot("over-budget")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def busy(server: Server) -> int:
    counts = server.get("/memory")["activity"]
    return int(counts["n_running"] + counts["n_waiting"])


def test_a_page_that_nobody_sees_asks_nothing(browser: Any, server: Server) -> None:
    show = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        visit.page.evaluate(show, True)
        visit.until(lambda: chip(visit) == "Paused")
        visit.page.evaluate(show, False)
        visit.until(lambda: chip(visit) == "Live")


# ---------------------------------------------------------------- looks


def luminance(colour: str) -> float:
    """Of `rgb(...)`, as WCAG defines it."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


STYLE = """node => {
    const style = getComputedStyle(node);
    return [style.color, style.backgroundColor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(browser: Any, server: Server, scheme: str) -> None:
    with visiting(browser, url_of(server), color_scheme=scheme) as visit:
        visit.until_live()
        page = visit.page
        panel = page.locator("section").first.evaluate(STYLE)[1]
        assert (luminance(panel) > 0.5) == (scheme == "light")
        for part in ("h2", "small", "#tiles .of", ".legend dd", ".share", "#message", ".fine"):
            ink, _ = page.locator(f"{part}:visible").first.evaluate(STYLE)
            assert contrast(ink, panel) >= 4.5, part
        send = page.get_by_role("button", name="Send").evaluate(STYLE)
        assert contrast(*send) >= 4.5
        for segment in page.locator(".segment").all():
            assert contrast(*segment.evaluate(STYLE)) >= 3, segment.get_attribute("data-tone")


@pytest.mark.parametrize("width", [320, 700, 1100])
def test_narrow_screens(browser: Any, server: Server, width: int) -> None:
    with visiting(browser, url_of(server), viewport={"width": width, "height": 700}) as visit:
        visit.until_live()
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in ("Send", "New chat"):
            box = visit.page.get_by_role("button", name=name).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_nothing_moves_for_those_who_want_that(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server), reduced_motion="reduce") as visit:
        visit.until_live()
        moving = "node => node.getAnimations({subtree: true}).length"
        visit.page.evaluate("document.querySelector('#messages').setAttribute('aria-busy', '')")
        assert visit.page.locator("html").evaluate(moving) == 0


def test_names_and_roles(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        page = visit.page
        for role in ("banner", "main"):
            assert page.get_by_role(role).count() == 1
        for name in ("Activity", "Memory", "Each client's share", "Slots", "Prefixes", "Chat"):
            assert page.get_by_role("region", name=re.compile(f"^{name}")).count() >= 1, name
        for name in ("KV cache: ", "Recurrent states: ", "CPU: ", "The .* magnified"):
            assert page.get_by_role("img", name=re.compile(f"^{name}")).count() == 1, name
        table = page.get_by_role("table")
        assert table.get_by_role("columnheader").count() == 10
        assert table.get_by_role("rowheader").count() == 8
        assert page.locator("[aria-live=assertive]").count() == 0
        unnamed = """() => [...document.querySelectorAll('input, textarea, button')].filter(
            node => !node.labels?.length && !node.textContent.trim()).map(node => node.id)"""
        assert page.evaluate(unnamed) == []
        assert page.title() == "pannier-demo.gguf · pannier"


def test_the_policy_holds(browser: Any, server: Server) -> None:
    with visiting(browser, url_of(server)) as visit:
        visit.until_live()
        tried = visit.page.evaluate(
            """async () => {
                const broken = [];
                document.addEventListener("securitypolicyviolation",
                                          (event) => broken.push(event.effectiveDirective));
                await fetch("http://example.invalid/").catch(() => {});
                const image = new Image();
                image.src = "http://example.invalid/a.png";
                const script = document.createElement("script");
                script.textContent = "window.ran = true";
                document.head.append(script);
                await new Promise((resolve) => setTimeout(resolve, 300));
                return [broken.sort(), window.ran];
            }"""
        )
        visit.errors.clear()  # the browser tells of each
        visit.failed.clear()
        visit.hosts.discard("example.invalid")
    assert tried == [["connect-src", "img-src", "script-src-elem"], None]
