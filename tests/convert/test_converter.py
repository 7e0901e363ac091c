"""Conversion of the tiny checkpoints: what is in the file, and what is left when it fails."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pannier.convert import ConvertProgress, convert, converter, plan
from pannier.convert.parts import PartFolder
from pannier.convert.shard import allocate
from pannier.errors import ConvertError

from .conftest import FAMILIES


def tensors(path: Path) -> dict[str, gguf.ReaderTensor]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def values(tensor: gguf.ReaderTensor) -> np.ndarray:
    return gguf.dequantize(tensor.data, tensor.tensor_type)


def field(path: Path, key: str) -> object:
    found = gguf.GGUFReader(path).fields.get(key)
    return found and found.contents()


def weight_types(path: Path) -> Counter[str]:
    """How many matrices have each type. Routers and convolutions stay in F32, as upstream."""
    kept = ("ffn_gate_inp", "ssm_conv1d")
    return Counter(
        tensor.tensor_type.name
        for name, tensor in tensors(path).items()
        if len(tensor.shape) >= 2 and not any(part in name for part in kept)
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_fresh_conversion_is_the_frozen_file(data: Path, tmp_path: Path, name: str) -> None:
    out = convert(data / name, tmp_path / "m.gguf", quant="F32", name=f"Tiny {name}")
    assert out.read_bytes() == (data / name / "model-f32.gguf").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_the_checkpoints(data: Path, name: str) -> None:
    """The frozen files against the checkpoints: tensors that upstream takes over one to one."""
    weights = load_file(data / name / "model.safetensors")
    file = tensors(data / name / "model-f32.gguf")
    pairs = {
        "token_embd": "model.embed_tokens",
        "blk.0.ffn_down_shexp": "model.layers.0.mlp.shared_expert.down_proj",
        "blk.0.ffn_down": "model.layers.0.mlp.down_proj",
        "blk.1.ffn_gate_inp": "model.layers.1.mlp.gate",
        "blk.2.ffn_up": "model.layers.2.mlp.up_proj",
        "blk.2.attn_v": "model.layers.2.self_attn.v_proj",
        "blk.3.attn_q": "model.layers.3.self_attn.q_proj",
        "blk.0.ssm_out": "model.layers.0.linear_attn.out_proj",
        "output": "lm_head",
    }
    compared = 0
    for ours, theirs in pairs.items():
        # llama's rotary layout permutes q and k; its v is as it was
        permuted = name == "llama" and ours.endswith("attn_q")
        if f"{ours}.weight" in file and not permuted:
            expected = weights[f"{theirs}.weight"].float().numpy()
            assert np.array_equal(values(file[f"{ours}.weight"]), expected), ours
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", ["qwen3next", "qwen3moe"])
def test_experts_are_stacked(data: Path, name: str) -> None:
    weights = load_file(data / name / "model.safetensors")
    file = tensors(data / name / "model-f32.gguf")
    stacked = values(file["blk.1.ffn_up_exps.weight"])
    for expert in range(8):
        one = weights[f"model.layers.1.mlp.experts.{expert}.up_proj.weight"].float().numpy()
        assert np.array_equal(stacked[expert], one)


@pytest.mark.parametrize(("type", "error"), [("f16", 5e-4), ("bf16", 0.0), ("q8_0", 0.01)])
def test_weight_types(data: Path, tmp_path: Path, type: str, error: float) -> None:
    out = convert(data / "qwen3next", tmp_path, quant=type, exact_recipe=True)
    assert out == tmp_path / f"qwen3next-{type.upper()}.gguf"
    assert set(weight_types(out)) == {type.upper()}
    exact = tensors(data / "qwen3next" / "model-f32.gguf")
    for name, tensor in tensors(out).items():
        expected = values(exact[name])
        off = np.linalg.norm(values(tensor) - expected) / np.linalg.norm(expected)
        assert off <= error, name


def test_auto_keeps_bf16_and_makes_f16_of_the_rest(data: Path, tmp_path: Path) -> None:
    assert converter.make_request(data / "qwen3moe", tmp_path).precision == "BF16"
    assert converter.make_request(data / "llama", tmp_path).precision == "F16"


def test_a_plan_is_what_is_then_written(data: Path, tmp_path: Path) -> None:
    module_path = list(sys.path)
    planned = plan(data / "llama", tmp_path / "m.gguf", quant="Q8_0")
    seen: list[tuple[str, int, int]] = []

    def watch(progress: ConvertProgress) -> None:
        assert progress.plan == planned
        seen.append((progress.tensor, progress.n_tensors, progress.n_bytes))

    out = convert(data / "llama", tmp_path / "m.gguf", quant="Q8_0", on_progress=watch)
    file = tensors(out)
    assert seen[0] == ("", 0, 0)
    assert list(dict.fromkeys(name for name, _, _ in seen[1:])) == list(file)
    assert [tensor.name for tensor in planned.tensors] == list(file)
    assert seen[-1][1:] == (planned.n_tensors, planned.n_bytes)
    assert planned.n_bytes == sum(int(tensor.n_bytes) for tensor in file.values())
    assert planned.types == Counter(tensor.tensor_type.name for tensor in file.values())
    assert (planned.architecture, planned.pre) == ("LlamaForCausalLM", "llama-bpe")
    # the caller's interpreter stays as it was
    assert sys.path == module_path
    assert "conversion" not in sys.modules


def test_no_bos_where_the_tokenizer_puts_none(llama: Path, tmp_path: Path) -> None:
    """llama.cpp would put one by the name llama-bpe alone, and a token of its choice at that."""
    tokenizer = json.loads((llama / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (llama / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((llama / "tokenizer_config.json").read_text())
    del config["bos_token"]
    (llama / "tokenizer_config.json").write_text(json.dumps(config))
    out = convert(llama, tmp_path / "m.gguf")
    assert field(out, "tokenizer.ggml.add_bos_token") is False
    assert field(tmp_path.parent / out, "tokenizer.ggml.pre") == "llama-bpe"


def test_mtp_tensors_are_kept_where_they_are(data: Path, tmp_path: Path) -> None:
    """The frozen Qwen3Next has none and converts; one that has them keeps them as a block."""
    assert field(data / "qwen3next" / "model-f32.gguf", "qwen3next.nextn_predict_layers") is None
    folder = Path(shutil.copytree(data / "qwen3next", tmp_path / "with_mtp"))
    weights = load_file(folder / "model.safetensors")
    last = {
        name.replace("model.layers.3.", "mtp.layers.0."): tensor.clone()
        for name, tensor in weights.items()
        if name.startswith("model.layers.3.")
    }
    ones = torch.ones(32, dtype=torch.bfloat16)
    own = {f"mtp.{kind}.weight": ones for kind in ("norm", "pre_fc_norm_embedding")}
    own |= {"mtp.pre_fc_norm_hidden.weight": ones.clone()}
    own |= {"mtp.fc.weight": torch.zeros(32, 64, dtype=torch.bfloat16)}
    save(folder, weights | last | own)
    out = convert(folder, tmp_path / "m.gguf")
    assert field(out, "qwen3next.nextn_predict_layers") == 1
    assert "blk.4.nextn.eh_proj.weight" in tensors(out)


def save(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    unshared = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    save_file(unshared, folder / "model.safetensors", metadata={"format": "pt"})


def test_unknown_architecture_names_the_nearest(qwen3moe: Path, tmp_path: Path) -> None:
    config = json.loads((qwen3moe / "config.json").read_text())
    config["architectures"] = ["Qwen3MoForCausalLM"]
    (qwen3moe / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConvertError, match=r"Qwen3MoForCausalLM is not .*nearest: Qwen3MoeForC"):
        convert(qwen3moe, tmp_path / "m.gguf")


def test_unknown_pretokenizer_name(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"has no pre-tokenizer 'qwen2\.6'; nearest: qwen2"):
        convert(data / "llama", tmp_path / "m.gguf", pre="qwen2.6")


def test_a_tokenizer_that_splits_its_own_way(qwen3moe: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((qwen3moe / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": "[aeiou]"}
    (qwen3moe / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConvertError, match=r"\[aeiou\].*--pre NAME.*\(log: .*\)") as info:
        convert(qwen3moe, tmp_path / "m.gguf")
    log = Path(str(info.value).rsplit("(log: ", 1)[1][:-1])
    assert "Traceback" in log.read_text()
    log.unlink()
    out = convert(qwen3moe, tmp_path / "m.gguf", pre="gpt-2")
    assert field(out, "tokenizer.ggml.pre") == "gpt-2"


def test_missing_torch(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pannier.convert import upstream

    monkeypatch.setattr(upstream, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(ConvertError, match=r"needs torch, .*pip install 'pannier\[convert\]'"):
        convert(data / "llama", tmp_path / "m.gguf")


def test_full_disk(tmp_path: Path) -> None:
    """The room is claimed before the first tensor: a file size limit is a disk that is full."""
    with (tmp_path / "file").open("wb") as file:
        allocate(file.fileno(), 4096)
        assert os.fstat(file.fileno()).st_size == 4096
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with pytest.raises(ConvertError, match=r"the disk has no room for 2\.1 MB: File too"):
                allocate(file.fileno(), 1 << 21)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def test_no_folder_to_write_to(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"no folder .*absent to write m\.gguf to"):
        convert(data / "llama", tmp_path / "absent" / "m.gguf")


def test_a_source_without_a_conversion(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"not a llama\.cpp source tree"):
        converter.require_architecture(converter.open_checkpoint(data / "llama"), tmp_path)


def test_damage_that_only_upstream_finds(llama: Path, tmp_path: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    save(llama, weights | {"model.layers.0.what.weight": torch.zeros(2, 2)})
    with pytest.raises(ConvertError, match=r"ValueError: Can not map tensor .*what.*\(log: "):
        convert(llama, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_an_interrupt_leaves_the_old_file(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"old")

    def interrupt(progress: ConvertProgress) -> None:
        if progress.n_tensors >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(data / "llama", out, on_progress=interrupt)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"m.gguf": b"old"}


def test_a_killed_child_leaves_the_old_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"old")
    start = converter.start

    def start_and_kill(*args: object) -> subprocess.Popen[bytes]:
        child = start(*args)  # type: ignore[arg-type]
        child.kill()
        return child

    monkeypatch.setattr(converter, "start", start_and_kill)
    with pytest.raises(ConvertError, match="signal 9"):
        convert(data / "llama", out)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"m.gguf": b"old"}


WAITING = """
import sys, time
from pannier.convert import convert
def wait(progress):
    print("waiting", flush=True)
    time.sleep(60)
convert(sys.argv[1], sys.argv[2], on_progress=wait)
"""


def test_a_killed_parent_leaves_the_old_file(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(data / "llama"), str(out)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"waiting\n"
        parent.kill()
    assert out.read_bytes() == b"old"
    new = convert(data / "llama", out)
    assert weight_types(new) == {"F16": 29}
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_a_child_without_a_parent_clears_up(data: Path, tmp_path: Path) -> None:
    from dataclasses import asdict

    from pannier.convert.job import Job
    from pannier.convert.options import Options
    from pannier.engine import source_tree

    reader, writer = os.pipe()
    os.close(reader)
    folder = tmp_path / "part"
    folder.mkdir()
    job = Job(
        tree=str(source_tree()),
        checkpoint=str(data / "llama"),
        folder=str(folder),
        file_name="m.gguf",
        precision="F32",
        options=Options(),
        dry_run=False,
        reports=writer,
    )
    command = [sys.executable, "-m", "pannier.convert._worker", json.dumps(asdict(job))]
    done = subprocess.run(command, pass_fds=(writer,), capture_output=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_dead_are_swept_and_only_those(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".m[1].{dead.pid}.part", f".m[1].{os.getppid()}.part", f".m1.{dead.pid}.part"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.gguf").touch()
    with PartFolder(tmp_path, "m[1]") as parts:
        assert parts.path.is_dir()
        with pytest.raises(ConvertError, match="is converting to m"), PartFolder(tmp_path, "m[1]"):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_set_never_mixes_old_and_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between any two renames, the first shard, without which none loads, is not there."""
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    for name in names:
        (tmp_path / name).write_text("old")
    seen = []
    rename = Path.replace

    def watched(path: Path, target: Path) -> Path:
        seen.append({name: (tmp_path / name).exists() for name in names})
        return rename(path, target)

    with PartFolder(tmp_path, "m") as parts:
        for name in names:
            (parts.path / name).write_text("new")
        monkeypatch.setattr(Path, "replace", watched)
        parts.publish([tmp_path / name for name in names])
    assert [state[names[0]] for state in seen] == [False, False]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        names, "new"
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_command_line(data: Path, tmp_path: Path, signum: signal.Signals) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"old")
    command = [sys.executable, "-m", "pannier", "convert", str(data / "llama"), "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("converting llama")
        time.sleep(0.5)  # somewhere inside; where does not matter
        process.send_signal(signum)
        rest = process.stderr.read()
    assert (process.returncode, rest) == (130, "pannier: interrupted\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"m.gguf": b"old"}
