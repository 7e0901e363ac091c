"""A browser for the page: the system's Chromium, led by Playwright.

Playwright's loop runs in this thread for as long as the browser lives: no test beside it may call
`asyncio.run`, so clients are threads here.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pannier.engine import Engine

from ..test_clients import Server, serving

DEMO = Path(__file__).parents[3] / "convert" / "demo" / "pannier-demo.gguf"
SHOTS = os.environ.get("PANNIER_SCREENSHOTS", "")
"""Folder for screenshots; empty: none are taken."""
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for a module; skip where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install it")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium: install the system's package of that name")
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(cpu_engine: Engine) -> Iterator[Server]:
    with serving(cpu_engine, "-c", "32768", "-np", "8", "-t", "1", model=DEMO) as server:
        yield server


@dataclass
class Visit:
    """A page that is open, and what a visitor would not see of it."""

    page: Any
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Answers with an error: the browser tells of them in its console."""
    asked: list[Any] = field(default_factory=list)
    """Bodies of what was posted."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)

    def _note(self, request: Any) -> None:
        self.hosts.add(urlsplit(request.url).netloc)
        if request.method == "POST":
            self.asked.append(request.post_data_json)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            found = self.failed if message.text.startswith("Failed to load") else self.errors
            found.append(message.text)

    def until_live(self) -> None:
        """Figures have come."""
        self.page.wait_for_selector("#connection[data-state=live]")
        self.page.wait_for_selector(".device .legend dd")

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something that the page comes to show. (Playwright's own way evaluates text,
        which the page's policy forbids.)"""
        for _ in range(PATIENCE_MS // 50):
            if done():
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"in vain; the page shows:\n{self.page.locator('body').inner_text()}")

    def shoot(self, name: str) -> None:
        """A picture for the documentation, if somebody wants one."""
        if SHOTS:
            from PIL import Image

            self.page.mouse.move(0, 0)
            whole = Image.open(io.BytesIO(self.page.screenshot(full_page=True)))
            few = whole.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
            few.save(Path(SHOTS) / f"{name}.png", optimize=True)


@contextmanager
def visiting(
    browser: Any, url: str, *, expect_failures: bool = False, **options: Any
) -> Iterator[Visit]:
    """The page in a window of its own; it may complain of nothing and ask nobody else."""
    viewport = options.pop("viewport", {"width": 1360, "height": 900})
    context = browser.new_context(viewport=viewport, **options)
    visit = Visit(context.new_page())
    try:
        visit.page.goto(url)
        yield visit
    finally:
        context.close()
    assert visit.errors == []
    assert visit.hosts == {urlsplit(url).netloc}
    if not expect_failures:
        assert visit.failed == []


def url_of(server: Server, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


class Talk(threading.Thread):
    """A client that reads a long answer, until it is over or the client leaves."""

    def __init__(self, server: Server, text: str, n_tokens: int) -> None:
        super().__init__(daemon=True)
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": n_tokens,
            "stream": True,
            "ignore_eos": True,
        }
        url = url_of(server, "/v1/chat/completions")
        self._request = urllib.request.Request(url, json.dumps(body).encode())
        self.leaving = threading.Event()
        self.status = 0
        self.start()

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self._request, timeout=300) as answer:
                self.status = answer.status
                while not self.leaving.is_set() and answer.readline():
                    pass
        except urllib.error.HTTPError as error:
            with error:
                self.status = error.code


@contextmanager
def talking(server: Server, n: int, text: str, n_tokens: int) -> Iterator[list[Talk]]:
    """Clients at work, to whom the block may add; they leave together at its end."""
    talks = [Talk(server, f"{text} Number {i}.", n_tokens) for i in range(n)]
    try:
        yield talks
    finally:
        for talk in talks:
            talk.leaving.set()
        for talk in talks:
            talk.join(60)
