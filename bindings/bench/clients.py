"""Clients that compute a prompt and stay, so that their memory can be read."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from ..errors import ServerError
from .server import BenchServer

POLL_S = 0.02


class Client(threading.Thread):
    """One streamed completion, read to its end or until it leaves."""

    def __init__(self, server: BenchServer, prompt: Sequence[int], n_predict: int) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(server.host, server.port)
        self._body = json.dumps(
            {
                "prompt": list(prompt),
                "n_predict": n_predict,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
            }
        )
        self.has_ended = False
        self.failure = ""

    def run(self) -> None:
        """Read the stream to its end, or until `leave`."""
        try:
            self._connection.request("POST", "/completion", self._body)
            answer = self._connection.getresponse()
            if answer.status != 200:
                self.failure = f"status {answer.status}: {answer.read(300)!r}"
            for line in answer:
                if line.startswith(b"error: ") or line.startswith(b'data: {"error"'):
                    self.failure = line.decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failure = self.failure or str(error) or type(error).__name__
        finally:
            self.has_ended = True
            self._connection.close()

    def leave(self) -> None:
        """Close the connection; the server gives up the request."""
        if (sock := self._connection.sock) is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                sock.shutdown(socket.SHUT_RDWR)


def compute(server: BenchServer, prompt: Sequence[int]) -> None:
    """Have a prompt computed and kept. Raises ServerError."""
    client = Client(server, prompt, 0)
    client.start()
    while client.is_alive():
        server.check_alive()
        client.join(POLL_S)
    if client.failure:
        raise ServerError(f"the common prefix could not be computed: {client.failure}")


@contextlib.contextmanager
def at_work(
    server: BenchServer, prompts: Sequence[Sequence[int]], n_predict: int
) -> Iterator[list[Client]]:
    """One client for each prompt, all of them with their first token; they leave with the block.

    Raises ServerError where one fails, or has all its tokens before the last has its first.
    """
    clients = [Client(server, prompt, n_predict) for prompt in prompts]
    for client in clients:
        client.start()
    try:
        while n_decoding(server) < len(clients):
            check(clients)
            server.check_alive()
            time.sleep(POLL_S)
        check(clients)
        yield clients
    finally:
        for client in clients:
            client.leave()
        for client in clients:
            client.join()


def n_decoding(server: BenchServer) -> int:
    """Requests that have a token."""
    slots = server.get("/slots")
    working = [slot for slot in slots if slot["is_processing"]]
    states = [state for slot in working for state in slot.get("next_token", ())]
    return sum(state["n_decoded"] > 0 for state in states)


def check(clients: Sequence[Client]) -> None:
    """Raises ServerError unless all are at work."""
    for client in clients:
        if client.failure:
            raise ServerError(f"a client's request failed: {client.failure}")
        if client.has_ended:
            raise ServerError(
                "a client had all its tokens before the others had their first: raise --predict"
            )
