"""Options of a conversion, end to end: what is in the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pannier.convert import convert, plan
from pannier.errors import ConvertError
from pannier.modelfile import open_model_file
from pannier.placement import Placement
from pannier.roles import ROLES

from .conftest import Reference, Runner, relative_error

pytestmark = pytest.mark.engine


def tensors(path: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def save(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    whole = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def test_experts_in_a_shard_of_their_own(data: Path, tmp_path: Path, run: Runner) -> None:
    first = convert(
        data / "qwen3moe", tmp_path / "m.gguf", quant="F32", experts="cpu", split_experts=True
    )
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert first.name == names[0]
    trunk, experts = (tensors(tmp_path / name) for name in names)
    assert all("_exps" in name for name in experts)
    assert not any("_exps" in name for name in trunk)
    file = open_model_file(first)
    placement = Placement.from_metadata(file.metadata)
    assert placement is not None
    assert placement.bytes_on("cpu") == sum(int(tensor.n_bytes) for tensor in experts.values())
    reference = Reference.of("qwen3moe")
    logits, greedy = run(first, reference.prompt, len(reference.greedy))
    assert relative_error(logits, reference.logits) < 1e-3
    assert greedy == reference.greedy


def test_a_dense_model_has_no_experts_to_split_off(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="--split-experts: this model has no routed experts"):
        plan(data / "llama", tmp_path, split_experts=True)


def test_the_placement_says_what_the_file_holds(data: Path, tmp_path: Path) -> None:
    out = convert(data / "qwen3next", tmp_path / "m.gguf", quant="Q8_0", experts="cpu")
    file = open_model_file(out)
    placement = Placement.from_metadata(file.metadata)
    assert placement is not None
    order = [placement.device_of(tensor.name) for tensor in file.tensors]
    assert order == sorted(order, key=["gpu", "input", "cpu"].index)
    for device in ("gpu", "input", "cpu"):
        held = [t.n_bytes for t in file.tensors if placement.device_of(t.name) == device]
        assert placement.bytes_on(device) == sum(held)  # type: ignore[arg-type]


def test_gates_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    out = convert(data / "qwen3next", tmp_path / "m.gguf", quant="Q8_0")
    exact = tensors(data / "qwen3next" / "model-f32.gguf")
    file = tensors(out)
    assert file["blk.0.ssm_ba.weight"].tensor_type.name == "F32"
    assert file["blk.0.ssm_out.weight"].tensor_type.name == "Q8_0"
    assert np.array_equal(file["blk.0.ssm_ba.weight"].data, exact["blk.0.ssm_ba.weight"].data)


def test_target_size(data: Path, tmp_path: Path) -> None:
    whole = convert(data / "qwen3moe", tmp_path / "whole.gguf", quant="Q8_0").stat().st_size
    out = convert(data / "qwen3moe", tmp_path / "fits.gguf", target_size=whole)
    assert out.stat().st_size == whole
    assert tensors(out)["blk.0.ffn_up_exps.weight"].tensor_type.name == "Q8_0"
    smaller = convert(data / "qwen3moe", tmp_path, target_size=whole - 1)
    assert smaller.name == "qwen3moe-Q5_K_M.gguf"  # in rows of 32, Q6_K is Q8_0
    assert smaller.stat().st_size < whole


def test_numbers_that_are_none(llama: Path, tmp_path: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    bad = weights["model.layers.1.mlp.up_proj.weight"].clone()
    bad[3, 5], bad[7, 1:3] = float("nan"), float("inf")
    save(llama, weights | {"model.layers.1.mlp.up_proj.weight": bad})
    for quant in ("Q4_K_M", "F32", "BF16"):
        with pytest.raises(
            ConvertError, match=r"blk\.1\.ffn_up\.weight holds 3 values .* of 2048: .* \(log: "
        ) as info:
            convert(llama, tmp_path / "m.gguf", quant=quant)
        Path(str(info.value).rsplit("(log: ", 1)[1][:-1]).unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_a_shape_that_the_configuration_denies(llama: Path, tmp_path: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    wrong = torch.zeros(64, 48)
    save(llama, weights | {"model.layers.1.mlp.up_proj.weight": wrong})
    with pytest.raises(ConvertError, match=r"blk\.1\.ffn_up\.weight.*32.*64.*48"):
        convert(llama, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_a_missing_tensor(llama: Path, tmp_path: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save(llama, weights)
    with pytest.raises(ConvertError, match=r"blk\.1\.ffn_up\.weight"):
        convert(llama, tmp_path / "m.gguf")


def test_foreign_code_is_not_run(llama: Path, tmp_path: Path) -> None:
    """A tokenizer class of the checkpoint's own: refused, and run only when that is allowed."""
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    code += "from transformers import PreTrainedTokenizerFast as Own\n"
    (llama / "own.py").write_text(code)
    path = llama / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {
        "tokenizer_class": "Own",
        "auto_map": {"AutoTokenizer": [None, "own.Own"]},
    }
    path.write_text(json.dumps(config))
    convert_or_refuse = {}
    for trust in (False, True):
        try:
            convert(llama, tmp_path / "m.gguf", trust_remote_code=trust)
        except ConvertError as error:
            convert_or_refuse[trust] = str(error)
        if not trust:
            assert not marker.exists()
    assert "allow it with --trust-remote-code" in convert_or_refuse.get(False, "")


def with_mtp(data: Path, folder: Path) -> Path:
    """The tiny Qwen3Next with a block for multi-token prediction, a copy of its last one."""
    shutil.copytree(data / "qwen3next", folder, ignore=shutil.ignore_patterns("*.gguf", "*.npz"))
    weights = load_file(folder / "model.safetensors")
    last = {
        name.replace("model.layers.3.", "mtp.layers.0."): tensor
        for name, tensor in weights.items()
        if name.startswith("model.layers.3.")
    }
    ones = torch.ones(32, dtype=torch.bfloat16)
    norms = ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")
    own = {f"mtp.{kind}.weight": ones for kind in norms}
    own |= {"mtp.fc.weight": torch.zeros(32, 64, dtype=torch.bfloat16)}
    save(folder, weights | last | own)
    return folder


def test_multi_token_prediction(data: Path, tmp_path: Path) -> None:
    folder = with_mtp(data, tmp_path / "with_mtp")
    kept = {t.name for t in plan(folder, tmp_path, mtp="keep").tensors}
    dropped = {t.name for t in plan(folder, tmp_path, mtp="drop").tensors}
    mtp = {name for name in kept if name.startswith("blk.4.")}
    assert "blk.4.nextn.eh_proj.weight" in mtp
    assert dropped == kept - mtp
    main = convert(folder, tmp_path / "m.gguf", split_mtp=True)
    assert set(tensors(main)) == dropped
    apart = set(tensors(tmp_path / "m-mtp.gguf"))
    assert mtp < apart
    assert all(name in mtp or not name.startswith("blk.") for name in apart)


def test_no_multi_token_prediction_to_part_with(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"--mtp drop: .*LlamaForCausalLM has no blocks"):
        plan(data / "llama", tmp_path, mtp="drop")
    with pytest.raises(ConvertError, match="has no blocks for multi-token prediction"):
        plan(data / "qwen3next", tmp_path, mtp="only")


def test_what_the_plan_knows(data: Path, tmp_path: Path) -> None:
    planned = plan(data / "qwen3next", tmp_path, quant="Q4_K_M")
    roles: dict[str, Any] = dict(planned.role_bytes)
    assert set(roles) == set(ROLES) - {"other"}
    assert sum(roles.values()) == planned.n_bytes
    assert sum(row.n_bytes for row in planned.placement) == planned.n_bytes
    assert planned.out == tmp_path / "qwen3next-Q4_K_M.gguf"
    assert 0 < planned.peak_memory_bytes < 4 << 30
