"""What every request meets before its endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pannier.server.edge import is_local_origin
from pannier.server.http_settings import HttpSettings
from pannier.server.logs import TRACE

from .conftest import endless
from .outside import Answer, outside

HTTP = HttpSettings(port=0)
PAGE = "https://page.example"
ENDPOINTS = (
    "GET /v1/models",
    "GET /models",
    "GET /props",
    "GET /slots",
    "GET /memory",
    "POST /completion",
    "POST /completions",
    "POST /v1/completions",
    "POST /v1/chat/completions",
    "POST /chat/completions",
    "POST /apply-template",
    "POST /tokenize",
    "POST /detokenize",
    "GET /page",
    "GET /no-such",
    "GET /health/../props",
    "GET /health/",
    "GET //health",
    "GET /Health",
    "GET /%68ealth/x",
)


def ask(
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    http: HttpSettings = HTTP,
    body: bytes = b"",
    **settings: object,
) -> Answer:
    async def run() -> Answer:
        async with outside(http, **settings) as server:
            return await server.ask(method, path, body, headers)

    return asyncio.run(run())


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_but_health_asks_for_a_key(endpoint: str) -> None:
    method, path = endpoint.split()
    body = b"{}" if method == "POST" else b""
    answer = ask(method, path, body=body, api_keys=("k",))
    assert (answer.status, answer.error["type"]) == (401, "authentication_error")
    assert ask("HEAD", path, api_keys=("k",)).status == 401


@pytest.mark.parametrize("prefix", ["", "/a/b"])
def test_health_and_preflights_ask_for_none(prefix: str) -> None:
    http = replace(HTTP, api_prefix=prefix)
    for path in ("/health", "/v1/health"):
        assert ask("GET", prefix + path, http=http, api_keys=("k",)).status == 200
    assert ask("OPTIONS", prefix + "/completion", http=http, api_keys=("k",)).status == 200
    with_key = ask("GET", prefix + "/props", {"X-Api-Key": "k"}, http, api_keys=("k",))
    assert with_key.status == 200
    if prefix:
        assert ask("GET", "/health", http=http, api_keys=("k",)).status == 401


def test_who_else_runs_is_told_where_slots_are() -> None:
    async def run(*, slots_endpoint: bool) -> tuple[Answer, Answer]:
        async with outside(HTTP, endless, slots_endpoint=slots_endpoint) as server:
            body = b'{"prompt": "secret", "stream": true}'
            _, writer = await server.connect()
            head = b"POST /completion HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            while b'"id"' not in (memory := await server.ask("GET", "/memory")).body:
                await asyncio.sleep(0.02)
            slots = await server.ask("GET", "/slots")
            writer.close()
            return slots, memory

    slots, memory = asyncio.run(run(slots_endpoint=True))
    assert slots.status == 200
    assert json.loads(memory.body)["clients"][0]["client"].startswith("127.0.0.1:")
    slots, memory = asyncio.run(run(slots_endpoint=False))
    assert (slots.status, slots.error["type"]) == (501, "not_supported_error")
    assert json.loads(memory.body)["clients"][0]["client"] is None
    assert b"secret" not in memory.body


# ---------------------------------------------------------------- browsers


@pytest.mark.parametrize(
    ("origins", "credentials", "origin", "allowed"),
    [
        ("*", True, PAGE, PAGE),
        ("*", True, "", None),
        ("*", False, PAGE, "*"),
        ("localhost", True, "http://localhost:3000", "http://localhost:3000"),
        ("localhost", True, "http://[::1]:1", "http://[::1]:1"),
        ("localhost", True, PAGE, None),
        ("localhost", True, "http://localhost.evil.example", None),
        ("localhost", True, "null", None),
        (PAGE, True, "https://other.example", PAGE),
        (f"{PAGE}, https://b.example", True, "https://b.example", "https://b.example"),
        (f"{PAGE}, https://b.example", True, "https://other.example", None),
    ],
)
def test_origins(origins: str, credentials: bool, origin: str, allowed: str | None) -> None:
    http = replace(HTTP, cors_origins=origins, cors_credentials=credentials)
    headers = {"Origin": origin} if origin else {}
    for method, path in (("GET", "/v1/models"), ("OPTIONS", "/anything"), ("GET", "/no-such")):
        answer = ask(method, path, headers, http)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert ("vary" in answer.headers) == (allowed == origin != "")


def test_preflights_say_what_may_be_sent() -> None:
    answer = ask("OPTIONS", "/v1/chat/completions", {"Origin": PAGE}, api_keys=("k",))
    assert (answer.status, answer.body) == (200, b"")
    head = "access-control-allow-"
    assert answer.headers[f"{head}methods"] == "GET, POST, DELETE, OPTIONS"
    assert answer.headers[f"{head}headers"] == "*"
    assert answer.headers[f"{head}credentials"] == "true"
    http = replace(HTTP, cors_methods="GET", cors_headers="x", cors_credentials=False)
    other = ask("OPTIONS", "/", {"Origin": PAGE}, http).headers
    assert (other[f"{head}methods"], other[f"{head}headers"]) == ("GET", "x")
    assert other[f"{head}credentials"] == "false"


def test_an_origin_cannot_write_headers() -> None:
    answer = ask("GET", "/v1/models", {"Origin": "a\tb\x01: c"})
    assert answer.status in (200, 400)
    assert is_local_origin("http://[") is False


# ---------------------------------------------------------------- methods and routes


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/slots"])
def test_head_is_get_without_the_body(path: str) -> None:
    get, head = ask("GET", path), ask("HEAD", path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/v1/models", "GET"), ("GET", "/completion", "POST"), ("PUT", "/tokenize", "POST")],
)
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allow: str) -> None:
    answer = ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    assert answer.error["message"] == "Method Not Allowed"


def test_an_unknown_route() -> None:
    answer = ask("GET", "/no-such")
    assert answer.status == 404
    assert answer.error == {"code": 404, "message": "File Not Found", "type": "not_found_error"}


# ---------------------------------------------------------------- files


def test_files_of_the_folder_and_none_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "index.html").write_text("the page")
    (tmp_path / "secret").write_text("the secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    http = replace(HTTP, static_path=str(folder))

    async def run() -> None:
        async with outside(http) as server:
            assert (await server.ask("GET", "/")).body == b"the page"
            assert (await server.ask("GET", "/index.html")).body == b"the page"
            assert (await server.ask("GET", "/v1/models")).status == 200
            for path in (
                "/../secret",
                "/%2e%2e/secret",
                "/..%2fsecret",
                "/%2e%2e%2fsecret",
                "//etc/passwd",
                "/..\\secret",
                "/link",
                "/a/../../secret",
                "/\x00secret",
                "/index.html%00",
                f"/{folder}/../secret",
            ):
                answer = await server.ask("GET", path)
                assert answer.status in (400, 404), path
                assert b"secret" not in answer.body

    asyncio.run(run())


# ---------------------------------------------------------------- ids and log


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1", True),
        ("2f1b:7/é".encode().decode("latin-1"), False),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ("a;b", False),
        ("", False),
    ],
)
def test_an_id_is_the_clients_if_it_is_sane(given: str, kept: bool) -> None:
    for path in ("/v1/models", "/no-such"):
        found = ask("GET", path, {"X-Request-Id": given}).headers["x-request-id"]
        assert (found == given) == kept
        assert re.fullmatch(r"[\w.:/+=-]{1,128}", found)


def test_each_request_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE, "pannier")
    logging.getLogger("pannier").propagate = True
    ask("GET", "/slots", {"X-Request-Id": "mine"})
    ask("GET", "/no%0asuch?key=secret", {"X-Request-Id": "other"})
    ask("GET", "/health")
    lines = [record.getMessage() for record in caplog.records if record.name == "pannier.requests"]
    assert len(lines) == 2
    assert re.fullmatch(r"127\.0\.0\.1:\d+ GET /slots 200 \d+\.\d{3} s mine", lines[0])
    assert re.fullmatch(r"127\.0\.0\.1:\d+ GET /no%0asuch 404 \d+\.\d{3} s other", lines[1])
