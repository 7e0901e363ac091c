"""Two servers that frameworks talk to, a model for those that load one, and no way to the network.

One server's model thinks a little and then says anything; the other one's begins each answer with a
brace, which its template takes for a call, so that it fills in a form where one is asked for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pannier import Model
from pannier.engine import Engine, source_tree

from ..server.test_clients import serving

# Before anything here is imported: these fetch prices of models, and send what is used.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "true", "HAYSTACK_TELEMETRY_ENABLED": "False"}

MODEL = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
SMALL: dict[str, Any] = {"n_threads": 1, "verbose": False}
LOCAL = ("127.0.0.1", "localhost", None)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody asks for a host that is not this one, not even in a thread that hides it."""
    asked = []
    resolve = socket.getaddrinfo

    def watched(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in LOCAL:
            asked.append(name)
            raise socket.gaierror(f"{name} is not this machine")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    yield
    assert asked == []


def base_url(engine: Engine, template: str, *options: str) -> Iterator[str]:
    file = source_tree() / "models" / "templates" / f"{template}.jinja"
    common = ("-c", "8192", "-np", "2", "-t", "1", "--chat-template-file", str(file))
    with serving(engine, *common, *options, model=MODEL) as server:
        yield f"http://127.0.0.1:{server.port}/v1"


@pytest.fixture(scope="session")
def talks(cpu_engine: Engine) -> Iterator[str]:
    yield from base_url(cpu_engine, "Qwen-QwQ-32B", "--reasoning-budget", "3")


@pytest.fixture(scope="session")
def calls(cpu_engine: Engine) -> Iterator[str]:
    with Model(MODEL, vocab_only=True, devices=("none",)) as model:
        (brace,) = model.tokenize("{", add_special=False)
    yield from base_url(
        cpu_engine, "meta-llama-Llama-3.1-8B-Instruct", "--logit-bias", f"{brace}+30"
    )


@pytest.fixture
def llama_cpp(pannier: Any) -> Any:
    """pannier under llama-cpp-python's name."""
    pannier.install_as_llama_cpp()
    return pannier
