"""The page's files, without a browser."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pannier.server.http_settings import HttpSettings
from pannier.server.page.routes import TYPES, page_files, page_paths

from ..conftest import serving, steps
from ..outside import Answer, outside

ROOT = Path(__file__).parents[3]
HTTP = HttpSettings(port=0)


def ask(path: str, method: str = "GET", http: HttpSettings = HTTP, **more: Any) -> Answer:
    async def run() -> Answer:
        async with outside(http, api_keys=more.pop("api_keys", ())) as server:
            return await server.ask(method, path, **more)

    return asyncio.run(run())


@pytest.mark.parametrize("path", sorted(page_paths()))
def test_each_file_needs_no_key_and_has_the_policy(path: str) -> None:
    answer = ask(path, api_keys=("secret",))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(TYPES[Path(path).suffix or ".html"])
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http" not in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/memory", "/memory/stream", "/props", "/slots", "/nothing"])
def test_what_it_shows_needs_one(path: str) -> None:
    assert ask(path, api_keys=("secret",)).status == 401


def test_a_browser_that_has_it_gets_nothing() -> None:
    first = ask("/")
    again = ask("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert ask("/", headers={"If-None-Match": '"another"'}).body == first.body
    assert ask("/", "HEAD").body == b""


def test_wrong_methods_and_names() -> None:
    assert ask("/", "POST").status == 405
    assert ask("/routes.py").status == ask("/page/page.css").status == 404


def test_under_a_prefix() -> None:
    http = replace(HTTP, api_prefix="/llm")
    moved = ask("/llm", http=http, api_keys=("secret",))
    assert (moved.status, moved.headers["location"]) == (307, "/llm/")
    assert b"<title>pannier</title>" in ask("/llm/", http=http, api_keys=("secret",)).body
    assert ask("/llm/page.js", http=http, api_keys=("secret",)).status == 200
    assert ask("/", http=http).status == ask("/page.js", http=http).status == 404


def test_it_can_be_switched_off_or_replaced(tmp_path: Path) -> None:
    for path in page_paths():
        assert ask(path, http=replace(HTTP, ui=False)).status == 404
        assert ask(path, http=replace(HTTP, ui=False), api_keys=("secret",)).status == 401
    (tmp_path / "index.html").write_text("another page")
    replaced = replace(HTTP, static_path=str(tmp_path))
    assert ask("/", http=replaced).body == b"another page"
    assert ask("/page.js", http=replaced).status == 404


@pytest.mark.parametrize("ui", [True, False])
def test_props_tell_of_it(ui: bool) -> None:
    async def run() -> Any:
        async with outside(replace(HTTP, ui=ui)) as server:
            return await server.ask("GET", "/props")

    assert (b'"ui":true' in asyncio.run(run()).body) == ui


def test_other_endpoints_are_as_they_were() -> None:
    async def run() -> None:
        async with serving(steps("a")) as world:
            assert (await world.http.get("/completion")).status_code == 405
            assert (await world.http.post("/memory")).status_code == 405

    asyncio.run(run())


def test_files_name_only_each_other() -> None:
    """No address of anywhere else, and no link to a file that is not there."""
    folder = ROOT / "server" / "page"
    for name in page_files():
        text = (folder / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|(?<![:\w])//[a-z]", re.sub(r"^\s*//.*$", "", text, flags=re.M)
        )
        links = re.findall(r'(?:src|href)="([^"#]+)"', text) if name != "icon.svg" else []
        imports = re.findall(r'^import .* from "\./([^"]+)";$', text, re.MULTILINE)
        assert {*links, *imports} <= set(page_files())
        if name.endswith(".js"):
            assert "innerHTML" not in text and "eval(" not in text


def test_the_wheel_takes_every_file() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    line = next(row for row in project.splitlines() if row.startswith('"pannier.server.page" = ['))
    assert set(re.findall(r'"\*(\.\w+)"', line)) == set(TYPES)
