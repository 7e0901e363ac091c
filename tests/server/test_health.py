"""Whether the server runs, and what it serves."""

from __future__ import annotations

import asyncio

from .conftest import N_CTX_SLOT, N_SLOTS, serving, steps


def test_health_and_models() -> None:
    async def run() -> None:
        async with serving(steps("a"), aliases=("zeta", "alpha")) as world:
            for path in ("/health", "/v1/health"):
                answer = await world.http.get(path)
                assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            listing = (await world.http.get("/v1/models")).json()
            assert listing == (await world.http.get("/models")).json()
            assert listing["object"] == "list"
            assert listing["data"][0]["id"] == listing["models"][0]["name"] == "alpha"
            assert listing["data"][0]["meta"] == {
                "vocab_type": 2,
                "n_vocab": 258,
                "n_ctx": N_CTX_SLOT,
                "n_ctx_train": 4096,
                "n_embd": 16,
                "n_params": 500,
                "size": 1000,
                "ftype": "Q8_0",
            }

    asyncio.run(run())


def test_props() -> None:
    async def run() -> None:
        async with serving(steps("a")) as world:
            props = (await world.http.get("/props")).json()
        assert props["total_slots"] == N_SLOTS
        assert props["model_alias"] == "m.gguf"
        assert (props["bos_token"], props["eos_token"]) == ("<s>", "</s>")
        assert props["chat_template"] == "{{ fake }}"
        defaults = props["default_generation_settings"]
        assert defaults["n_ctx"] == N_CTX_SLOT
        assert defaults["params"]["temperature"] == 0.8
        assert "grammar" not in defaults["params"]

    asyncio.run(run())
