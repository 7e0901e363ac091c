"""One completion over a raw socket, and what the server says of it."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back, and when."""

    status: int
    body: Any
    wall_s: float
    token_times_s: tuple[float, ...] = field(default=(), repr=False)
    """Of each event of a stream, from the request."""

    @property
    def tokens(self) -> list[int]:
        return list(self.body["tokens"])

    @property
    def n_computed(self) -> int:
        """Prompt tokens that were not in the cache."""
        return int(self.body["timings"]["prompt_n"])


async def complete(port: int, prompt: list[int], n_predict: int, **more: Any) -> Answer:
    """A greedy completion that does not end early."""
    fields = {"temperature": 0, "ignore_eos": True, "return_tokens": True, "cache_prompt": True}
    request = {"prompt": prompt, "n_predict": n_predict, **fields, **more}
    payload = json.dumps(request).encode()
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
    writer.write(
        b"POST /completion HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(payload), payload)
    )
    data, times = bytearray(), []
    while chunk := await reader.read(2**16):
        times += [time.perf_counter() - start] * chunk.count(b"data: ")
        data += chunk
    writer.close()
    wall = time.perf_counter() - start
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = whole(body)
    status = int(head.split()[1])
    return Answer(status, parse(body, more.get("stream", False)), wall, tuple(times))


def whole(chunks: bytes) -> bytes:
    """A body that came in chunks."""
    parts = []
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        n = int(size, 16)
        parts.append(rest[:n])
        chunks = rest[n + 2 :] if n else b""
    return b"".join(parts)


def parse(body: bytes, stream: bool) -> Any:
    if not stream:
        return json.loads(body)
    events = [json.loads(part[6:]) for part in body.split(b"\n\n") if part.startswith(b"data: {")]
    last = events[-1]
    return {**last, "tokens": [token for event in events for token in event.get("tokens", ())]}


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.load(answer)
