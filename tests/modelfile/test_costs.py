"""What a client costs, against the engine's own figures and against the real models' tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pannier.errors import PannierError
from pannier.modelfile import open_model_file
from pannier.modelfile.costs import CACHE_TYPES, client_costs

from .conftest import FILES

MIB, KIB = 2**20, 2**10


@pytest.mark.engine
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_costs_are_what_the_engine_allocates(path: Path, pannier: Any) -> None:
    costs = client_costs(open_model_file(path).metadata)
    assert costs is not None
    with pannier.Model(path) as model:
        for type in CACHE_TYPES:
            try:
                context = model.context(n_ctx=256, n_threads=1, type_k=type, type_v=type)
            except PannierError:
                assert costs.cell_bytes(type) is None, "rows that fit no block of the type"
                continue
            with context:
                assert context.kv_cell_bytes == costs.cell_bytes(type)
                assert context.recurrent_seq_bytes == costs.recurrent_bytes


@pytest.mark.engine
def test_a_window_has_cells_of_its_own(pannier: Any) -> None:
    path = next(path for path in FILES if path.parent.name == "gemma3")
    costs = client_costs(open_model_file(path).metadata)
    assert costs is not None and costs.window == 16
    with pannier.Model(path) as model, model.context(n_ctx=256, n_threads=1) as context:
        report = context.memory()
        n_cells = context.n_ctx
        rest = report.kind_bytes("kv") - n_cells * (costs.cell_bytes() or 0)
        assert rest % (costs.window_cell_bytes() or 0) == 0


def metadata_of(architecture: str, **sizes: int | list[int]) -> dict[str, object]:
    """A header's sizes, without a file."""
    values = {f"{architecture}.{key.replace('__', '.')}": value for key, value in sizes.items()}
    return {"general.architecture": architecture, **values}


QWEN3_NEXT = metadata_of(
    "qwen3next",
    block_count=48,
    embedding_length=2048,
    attention__head_count=16,
    attention__head_count_kv=2,
    attention__key_length=256,
    attention__value_length=256,
    ssm__conv_kernel=4,
    ssm__state_size=128,
    ssm__group_count=16,
    ssm__time_step_rank=32,
    ssm__inner_size=4096,
    full_attention_interval=4,
)
QWEN35_35B = metadata_of(
    "qwen35moe",
    block_count=41,
    nextn_predict_layers=1,
    embedding_length=2048,
    attention__head_count=16,
    attention__head_count_kv=2,
    attention__key_length=256,
    attention__value_length=256,
    ssm__conv_kernel=4,
    ssm__state_size=128,
    ssm__group_count=16,
    ssm__time_step_rank=32,
    ssm__inner_size=4096,
    full_attention_interval=4,
)
NEMOTRON_3_NANO = metadata_of(
    "nemotron_h_moe",
    block_count=52,
    embedding_length=2688,
    attention__head_count=32,
    attention__head_count_kv=[
        2 if c == "*" else 0 for c in "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
    ],
    feed_forward_length=[
        1856 if c == "E" else 0 for c in "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
    ],
    attention__key_length=128,
    attention__value_length=128,
    ssm__conv_kernel=4,
    ssm__state_size=128,
    ssm__group_count=8,
    ssm__time_step_rank=64,
    ssm__inner_size=4096,
)
KIMI_LINEAR = metadata_of(
    "kimi-linear",
    block_count=27,
    embedding_length=2304,
    attention__head_count=32,
    attention__head_count_kv=[int(layer % 4 == 3 or layer == 26) for layer in range(27)],
    attention__key_length=576,
    attention__value_length=512,
    attention__key_length_mla=192,
    attention__value_length_mla=128,
    ssm__conv_kernel=4,
    kda__head_dim=128,
)


@pytest.mark.parametrize(
    ("metadata", "recurrent_mib", "kib_per_token"),
    [
        (QWEN3_NEXT, 75.4, (24, 12.75, 6.75)),
        (QWEN35_35B, 62.8, (20, 10.625, 5.625)),
        (NEMOTRON_3_NANO, 47.6, (6, 3.1875, 1.6875)),
        (KIMI_LINEAR, 42.8, (7.875, 4.1836, 2.2148)),
    ],
    ids=["Qwen3-Next", "Qwen3.5", "Nemotron 3 Nano", "Kimi Linear"],
)
def test_costs_of_real_models(
    metadata: dict[str, object], recurrent_mib: float, kib_per_token: tuple[float, ...]
) -> None:
    """The models' own configurations, by hand: for Qwen3-Next 36 layers x (32 heads x 128 x 128
    + 3 x 8192) x 4 bytes, and 12 layers x 2 x 2 heads x 256 per token."""
    costs = client_costs(metadata)
    assert costs is not None
    assert costs.recurrent_bytes / MIB == pytest.approx(recurrent_mib, abs=0.05)
    cells = [(costs.cell_bytes(type) or 0) / KIB for type in CACHE_TYPES]
    assert cells == pytest.approx(kib_per_token, abs=1e-4)


def test_an_architecture_that_is_not_known_has_no_answer() -> None:
    assert client_costs(metadata_of("rwkv7", block_count=2)) is None
    assert client_costs({}) is None


def test_arrays_of_another_length_have_no_answer() -> None:
    assert (
        client_costs(metadata_of("jamba", block_count=4, attention__head_count_kv=[0, 1])) is None
    )
