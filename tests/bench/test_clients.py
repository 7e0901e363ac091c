"""Clients that stay, the memory of a process, and a server that does not come up."""

import mmap
import os

import pytest

from pannier.bench.clients import Client, at_work, check, compute
from pannier.bench.resident import of_status, resident_bytes
from pannier.bench.server import BenchServer, running
from pannier.errors import PannierError, ServerError
from pannier.server.config import EngineConfig
from tests.bindings.conftest import DATA

TINY = str(DATA / "qwen3next" / "model-f32.gguf")


def test_pages_of_files_do_not_count():
    text = "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t 500 kB\nRssFile:\t 300 kB\nRssShmem:\t 100 kB\n"
    assert of_status(text) == 600 * 1024
    with pytest.raises(KeyError):
        of_status("Name:\tx\n")


def test_this_process_is_resident():
    before = resident_bytes(os.getpid())
    with mmap.mmap(-1, 64 << 20) as block:  # an allocator may have such a block already
        block.write(b"x" * len(block))
        grown = resident_bytes(os.getpid()) - before
        assert len(block) * 0.95 < grown < len(block) * 2.5
    with pytest.raises(ServerError, match="cannot tell the memory of process"):
        resident_bytes(2**22 + 1)


def test_clients_that_failed_or_ended():
    client = Client(BenchServer(None, "127.0.0.1", 1), [1], 1)
    check([client])
    client.has_ended = True
    with pytest.raises(ServerError, match="raise --predict"):
        check([client])
    client.run()
    with pytest.raises(ServerError, match=r"a client's request failed: .*refused"):
        check([client])


@pytest.mark.engine
def test_clients_stay_until_they_leave(cpu_engine):
    config = EngineConfig(
        model=TINY, engine=str(cpu_engine.directory), n_ctx=2048, n_parallel=2, n_threads=1
    )
    with running(config) as server:
        compute(server, [5] * 64)
        prompts = [[5] * 64 + [6 + i] for i in range(2)]
        with at_work(server, prompts, 900) as clients:
            report = server.get("/memory")
            assert sum(row["id"] is not None for row in report["clients"]) == 2
            assert all(client.is_alive() for client in clients)
            assert resident_bytes(server.engine_pid()) > 1 << 20
        assert not any(client.is_alive() for client in clients)
        with (
            pytest.raises(ServerError, match="request failed: status 400"),
            at_work(server, [[5] * 3000], 1),
        ):
            pytest.fail("a prompt without room was computed")
        with pytest.raises(ServerError, match="answered 404 to /nothing"):
            server.get("/nothing")
        pid = server.engine_pid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.engine
def test_a_server_that_cannot_start_says_why(cpu_engine):
    config = EngineConfig(
        model=TINY, engine=str(cpu_engine.directory), flash_attn="off", cache_type_v="q8_0"
    )
    with pytest.raises(PannierError, match="V cache"), running(config):
        pytest.fail("it has started")
