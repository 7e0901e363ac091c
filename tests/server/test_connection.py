"""Limits on what a client may send, and how slowly: raw bytes against a real server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from pannier.server.connection import MAX_HEAD_BYTES, MAX_HEADERS, MAX_URL_BYTES
from pannier.server.http_settings import HttpSettings

from .conftest import endless
from .outside import Outside, outside, parsed

HTTP = HttpSettings(port=0)
GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n"


def alive(data: bytes, http: HttpSettings = HTTP, **settings: Any) -> Any:
    """What the server says to these bytes; it must serve the next client as if nothing was."""

    async def run() -> bytes:
        async with outside(http, **settings) as server:
            said = await server.send(data)
            assert (await server.ask("GET", "/health")).status == 200
            return said

    return parsed(asyncio.run(run()))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        GET + b"Content-Length: -1\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        GET + b"a b: c\r\n\r\n",
        GET + b"a\x00: c\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"),
    ],
)
def test_what_is_no_request_gets_an_error_in_json(data: bytes) -> None:
    answer = alive(data)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"GET /" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\n\r\n", 414, "8192 bytes"),
        (GET + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n", 431, "65536 bytes"),
        (GET + b"a: b\r\n" * MAX_HEADERS + b"\r\n", 431, "128 headers"),
    ],
)
def test_a_head_has_a_size(data: bytes, status: int, says: str) -> None:
    answer = alive(data)
    assert (answer.status, answer.error["code"]) == (status, status)
    assert says in answer.error["message"]


def test_a_head_that_does_not_end_is_not_kept() -> None:
    """A header of any length without its end: the server stops listening."""

    async def run() -> None:
        async with outside(HTTP) as server:
            _, writer = await server.connect()
            writer.write(GET)
            with pytest.raises(ConnectionError):
                for _ in range(2000):
                    writer.write(b"a: " + b"b" * 10000 + b"\r\n")
                    await writer.drain()
            writer.close()
            assert (await server.ask("GET", "/health")).status == 200

    asyncio.run(run())


def test_a_body_has_a_size() -> None:
    head = b"POST /completion HTTP/1.1\r\nHost: a\r\n"
    told = alive(head + b"Content-Length: 99999999999\r\n\r\n{", max_body_bytes=1 << 20)
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    sent = alive(head + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk, max_body_bytes=1 << 20)
    for answer in (told, sent):
        assert answer.status == 413
        assert "larger than 1048576 bytes" in answer.error["message"]
        assert answer.headers["connection"] == "close"


DEEP = 100000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * DEEP, "nested more than 200 levels"),
        (b'{"prompt":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested more than 200 levels"),
        (b'{"prompt":' + b"[" * 201 + b"]" * 201 + b"}", "nested more than 200 levels"),
        (b'{"x":' * 900 + b"1" + b"}" * 900, "nested more than 200 levels"),
        (b'{"n_predict": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"temperature": 1e999}', "beyond the largest number"),
        (b'{"temperature": ' + b"9" * 400 + b".5}", "beyond the largest number"),
        (b'{"n_predict": 123456789012345678901234567890}', "'n_predict'"),
        (b'{"temperature": NaN}', "NaN is not a JSON number"),
        (b'{"prompt": "\\ud800"}', "not UTF-8"),
        (b'\xff{"prompt": "a"}', "not UTF-8"),
        (b'{"prompt": "a"', "not JSON"),
        (b"null", "must be a JSON object"),
    ],
)
def test_bad_json_is_the_clients_mistake(body: bytes, says: str) -> None:
    async def run() -> None:
        async with outside(HTTP) as server:
            answer = await server.ask("POST", "/completion", body)
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
            assert says in answer.error["message"]

    asyncio.run(run())


def test_200_levels_are_read() -> None:
    body = b'{"prompt": "a", "unknown":' + b"[" * 199 + b"]" * 199 + b"}"

    async def run() -> None:
        async with outside(HTTP) as server:
            assert (await server.ask("POST", "/completion", body)).status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"", None),
        (b"\r\n", None),
        (b"GET /v1", 408),
        (GET, 408),
        (GET + b"\r\n" + GET, 200),
    ],
)
def test_a_slow_head_is_cut_off(begin: bytes, status: int | None) -> None:
    """Nothing at all, half a request, or half of the second one: the connection ends."""

    async def run() -> None:
        async with outside(replace(HTTP, header_timeout_s=0.2)) as server:
            reader, writer = await server.connect()
            writer.write(begin)
            said = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            assert (parsed(said).status if said else None) == status
            if begin.count(b"GET") == 2:
                assert b"HTTP/1.1 408" in said

    asyncio.run(run())


def test_a_body_that_stands_still_is_cut_off() -> None:
    async def run() -> None:
        async with outside(replace(HTTP, timeout_s=1)) as server:
            said = await server.send(
                b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = parsed(said)
            assert (answer.status, answer.error["code"]) == (408, 408)
            assert "nothing of the request came for 1 s" in answer.error["message"]

    asyncio.run(run())


def test_a_body_that_drips_is_read() -> None:
    body = json.dumps({"prompt": "a"}).encode()

    async def run() -> None:
        async with outside(replace(HTTP, timeout_s=1)) as server:
            reader, writer = await server.connect()
            head = f"POST /completion HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n")
            for byte in body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)
            assert parsed(await reader.read()).status == 200
            writer.close()

    asyncio.run(run())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def run() -> None:
        long = [list(b"x" * 4000)]
        async with outside(
            replace(HTTP, timeout_s=1), lambda submit: (long[0] for _ in range(10**6))
        ) as server:
            _, writer = await server.connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            body = b'{"prompt": "a", "stream": true, "n_predict": -1}'
            head = b"POST /completion HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            for _ in range(200):
                slots = json.loads((await server.ask("GET", "/slots")).body)
                if not any(slot["is_processing"] for slot in slots):
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("the stream goes on")
            writer.close()

    asyncio.run(run())


def test_connections_are_counted() -> None:
    async def run() -> None:
        async with outside(replace(HTTP, max_connections=3)) as server:
            held = [await server.connect() for _ in range(3)]
            await asyncio.sleep(0.1)
            answer = parsed(await server.send(GET + b"\r\n"))
            assert (answer.status, answer.error["type"]) == (503, "unavailable_error")
            held.pop()[1].close()
            await asyncio.sleep(0.1)
            assert (await server.ask("GET", "/health")).status == 200
            for _, writer in held:
                writer.close()

    asyncio.run(run())


def test_requests_in_a_row_are_answered_in_order() -> None:
    async def run() -> None:
        async with outside(HTTP) as server:
            last = GET.replace(b"Host", b"Connection: close\r\nHost") + b"\r\n"
            said = await server.send((GET + b"\r\n") * 20 + last)
            assert said.count(b"HTTP/1.1 200 OK") == 21

    asyncio.run(run())


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.3"])
def test_no_other_protocol_is_spoken(upgrade: bytes) -> None:
    answer = alive(GET + b"Connection: Upgrade, close\r\nUpgrade: " + upgrade + b"\r\n\r\n")
    assert answer.status in (200, 400)


def test_connect_is_no_method_of_this_server() -> None:
    answer = alive(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n")
    assert 400 <= answer.status < 500


def test_a_client_that_leaves_is_forgotten() -> None:
    """In every state: nothing sent, half a head, half a body, while its answer is written."""

    async def run(server: Outside) -> None:
        body = b'{"prompt": "a", "stream": true}'
        head = b"POST /completion HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        for n in (0, 5, len(head), len(head) + 5, len(head) + len(body)):
            _, writer = await server.connect()
            writer.write((head + body)[:n])
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.transport.abort()
        for _ in range(100):
            slots = json.loads((await server.ask("GET", "/slots")).body)
            if not any(slot["is_processing"] for slot in slots):
                return
            await asyncio.sleep(0.05)
        pytest.fail("a request goes on without its client")

    async def world() -> None:
        async with outside(HTTP, endless) as server:
            await run(server)

    asyncio.run(world())
