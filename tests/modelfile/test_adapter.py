"""Adapters that must not reach llama.cpp: each of these would end there in an assertion, in memory
that is not its own, or in an adapter that does nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pannier.errors import ModelError
from pannier.modelfile import open_model_file
from pannier.modelfile.adapter import AdapterFile, open_adapter_file

from ..edited_gguf import Lora
from .conftest import DATA

LLAMA = DATA / "llama" / "model-f32.gguf"
MOE = DATA / "qwen3moe" / "model-f32.gguf"
Q, DOWN = "blk.0.attn_q.weight", "blk.0.ffn_down.weight"
EXPERTS, EMBEDDINGS = "blk.0.ffn_up_exps.weight", "token_embd.weight"


def opened(lora: Lora, path: Path, metadata: dict[str, Any] | None = None) -> AdapterFile:
    return open_adapter_file(lora.write(path, metadata), open_model_file(lora.model))


def test_facts(tmp_path: Path) -> None:
    metadata = {
        "adapter.lora.task_name": "sums",
        "adapter.lora.prompt_prefix": "Add: ",
    }
    file = opened(Lora(LLAMA, "attn_q.", rank=3), tmp_path / "lora.gguf", metadata)
    assert (file.rank, file.task_name, file.prompt_prefix) == (3, "sums", "Add: ")
    assert file.invocation_tokens == ()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.type": "model"}, "general.type is 'model', not 'adapter'"),
        ({"general.type": None}, "general.type is None"),
        ({"general.type": 5}, "general.type has the type u32; it must be str"),
        ({"adapter.type": "ia3"}, "adapter.type is 'ia3'"),
        ({"adapter.type": True}, "adapter.type has the type bool"),
        ({"general.architecture": "qwen3"}, "it is for 'qwen3', the model is 'llama'"),
        ({"adapter.lora.alpha": 16}, "adapter.lora.alpha has the type u32; it must be f32"),
        ({"adapter.lora.alpha": float("nan")}, "adapter.lora.alpha is nan"),
        ({"adapter.lora.alpha": float("inf")}, "adapter.lora.alpha is inf"),
        ({"adapter.lora.task_name": 5}, "adapter.lora.task_name has the type u32"),
        ({"adapter.alora.invocation_tokens": "a"}, "is of str; it must be arr"),
        ({"adapter.alora.invocation_tokens": ["a"]}, r"is of arr\[str\]; it must be arr"),
    ],
)
def test_metadata(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        opened(Lora(LLAMA, "attn_q."), tmp_path / "lora.gguf", metadata)


def rename(parts: str, old: str, new: str) -> Callable[[Lora], None]:
    def spoil(lora: Lora) -> None:
        for name in parts:
            matrices = getattr(lora, name)
            matrices[new] = matrices.pop(old)

    return spoil


def replace(part: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    def spoil(lora: Lora) -> None:
        getattr(lora, part)[name] = change(getattr(lora, part)[name])

    return spoil


@pytest.mark.parametrize(
    ("model", "spoil", "message"),
    [
        (LLAMA, rename("ab", Q, "blk.9.attn_q.weight"), "changes blk.9.attn_q.weight, which the"),
        (LLAMA, rename("a", Q, DOWN), "lora_a is missing|lora_b is missing"),
        (LLAMA, replace("a", Q, lambda a: a[:, :-1]), "lora_a has the shape 31, 2, where 32, 2"),
        (LLAMA, replace("a", Q, lambda a: a[:1]), "lora_b has the shape 2, 128, where 1, 128"),
        (LLAMA, replace("b", Q, lambda b: b[:-1]), "lora_b has the shape 2, 127, where 2, 128"),
        (LLAMA, replace("b", Q, lambda b: b.T.copy()), "lora_b has the shape 128, 2"),
        (LLAMA, replace("a", Q, lambda a: a[0]), "lora_a has the shape 32, where 32, 0"),
        (LLAMA, replace("a", Q, lambda a: a[None].repeat(2, 0)), "lora_a has the shape 32, 2, 2"),
        (LLAMA, replace("a", Q, lambda a: a.astype("i4")), "lora_a is I32, not one of F32"),
        (LLAMA, replace("b", Q, lambda b: b.astype("f8")), "lora_b is F64"),
        (MOE, replace("a", EXPERTS, lambda a: a[:7]), "lora_a has the shape 32, 2, 7, 1?"),
        (MOE, replace("b", EXPERTS, lambda b: b[0]), "lora_b has the shape 2, 32, where 2, 32, 8"),
        (MOE, replace("b", EMBEDDINGS, lambda b: b[:, :1]), "lora_b has the shape 1, 32, where 2"),
        (MOE, replace("a", EMBEDDINGS, lambda a: a[:9]), "lora_a has the shape 2, 9, where 2, 320"),
    ],
)
def test_tensors(tmp_path: Path, model: Path, spoil: Callable[[Lora], None], message: str) -> None:
    parts = ("blk.0.attn_q.",) if model == LLAMA else ("blk.0.ffn_up_exps", "token_embd")
    lora = Lora(model, *parts)
    opened(lora, tmp_path / "sound.gguf")
    spoil(lora)
    with pytest.raises(ModelError, match=message) as caught:
        opened(lora, tmp_path / "lora.gguf")
    assert ";" in str(caught.value), "a message ends with what to do"


def test_names(tmp_path: Path) -> None:
    lora = Lora(LLAMA, "blk.0.attn_q.")
    lora.a, lora.b = {}, {}
    with pytest.raises(ModelError, match="it changes nothing"):
        opened(lora, tmp_path / "lora.gguf")


def test_tied_embeddings(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the model's output matrix too"):
        opened(Lora(LLAMA, "token_embd"), tmp_path / "lora.gguf")


def test_a_model_is_no_adapter() -> None:
    with pytest.raises(ModelError, match=r"general.type is 'model', not 'adapter'"):
        open_adapter_file(LLAMA, open_model_file(LLAMA))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        open_adapter_file(tmp_path / "none.gguf", open_model_file(LLAMA))


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    path = Lora(LLAMA, "attn_q.").write(tmp_path / "lora.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged or was cut short"):
        open_adapter_file(path, open_model_file(LLAMA))
