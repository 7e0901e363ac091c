"""What is wrong with a checkpoint folder is said before anything is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pannier.convert.checkpoint import open_checkpoint
from pannier.errors import ConvertError


def split_in_two(folder: Path) -> list[Path]:
    """Turn a checkpoint's weights into two shards with an index."""
    from safetensors.numpy import load_file, save_file

    whole = folder / "model.safetensors"
    weights = sorted(load_file(whole).items())
    whole.unlink()
    weight_map = {}
    for number, part in enumerate((weights[::2], weights[1::2]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(part), folder / name)
        weight_map.update(dict.fromkeys(dict(part), name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return sorted(folder.glob("model-*"))


@pytest.mark.parametrize(
    ("name", "architecture", "dtype", "n_weights"),
    [
        ("qwen3next", "Qwen3NextForCausalLM", "bfloat16", 175976),
        ("gemma3", "Gemma3ForCausalLM", "bfloat16", 124448),
        ("llama", "LlamaForCausalLM", "float32", 84256),
    ],
)
def test_a_whole_checkpoint_is_read_from_its_headers(
    data: Path, name: str, architecture: str, dtype: str, n_weights: int
) -> None:
    checkpoint = open_checkpoint(data / name)
    assert checkpoint.architecture == architecture
    assert checkpoint.dtype == dtype
    assert checkpoint.n_weights == n_weights
    assert [shard.name for shard in checkpoint.shards] == ["model.safetensors"]


def test_shards_count_together(llama: Path) -> None:
    whole = open_checkpoint(llama).n_weights
    shards = split_in_two(llama)
    checkpoint = open_checkpoint(llama)
    assert checkpoint.shards == tuple(shards)
    assert checkpoint.n_weights == whole


def test_a_text_part_names_the_architecture(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text())
    config |= {"architectures": ["Whole"], "text_config": {"architectures": ["TextPart"]}}
    (llama / "config.json").write_text(json.dumps(config))
    checkpoint = open_checkpoint(llama)
    assert checkpoint.architecture == "TextPart"
    assert checkpoint.architectures == ("Whole", "TextPart")


def test_no_architecture_at_all(llama: Path) -> None:
    (llama / "config.json").write_text("{}")
    with pytest.raises(ConvertError, match='add the model class to it as "architectures"'):
        open_checkpoint(llama).architecture  # noqa: B018


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"there is no folder .*absent.*hf download"):
        open_checkpoint(tmp_path / "absent")


def test_a_file_in_place_of_the_folder(data: Path) -> None:
    with pytest.raises(ConvertError, match=r"config.json is a file: name the folder"):
        open_checkpoint(data / "llama" / "config.json")
    with pytest.raises(ConvertError, match="is a GGUF file already"):
        open_checkpoint(data / "llama" / "model-f32.gguf")


def test_missing_config(llama: Path) -> None:
    (llama / "config.json").unlink()
    with pytest.raises(ConvertError, match=r"has no config\.json"):
        open_checkpoint(llama)


@pytest.mark.parametrize(("text", "says"), [("{", "cannot be read as JSON"), ("[]", "no JSON obj")])
def test_damaged_config(llama: Path, text: str, says: str) -> None:
    (llama / "config.json").write_text(text)
    with pytest.raises(ConvertError, match=says):
        open_checkpoint(llama)


def test_no_weights(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    with pytest.raises(ConvertError, match="has no weights"):
        open_checkpoint(llama)


def test_missing_shard(llama: Path) -> None:
    split_in_two(llama)[1].unlink()
    with pytest.raises(ConvertError, match=r"1 of 2 weight files .*model-00002-of-00002"):
        open_checkpoint(llama)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}'])
def test_damaged_index(llama: Path, index: str) -> None:
    (llama / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ConvertError, match=r"model\.safetensors\.index\.json"):
        open_checkpoint(llama)


def test_truncated_weights(llama: Path) -> None:
    weights = llama / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(ConvertError, match=f"truncated: {len(content) - 1} bytes of"):
        open_checkpoint(llama)


@pytest.mark.parametrize("content", [b"", b"12345678", b"version https://git-lfs.github.com/spec"])
def test_what_is_no_safetensors_file(llama: Path, content: bytes) -> None:
    (llama / "model.safetensors").write_bytes(content)
    with pytest.raises(ConvertError, match="is not a safetensors file"):
        open_checkpoint(llama)


@pytest.mark.parametrize("header", [b"{", b"[]", b'{"a": 1}', b'{"a": {"shape": [1]}}'])
def test_damaged_safetensors_header(llama: Path, header: bytes) -> None:
    content = len(header).to_bytes(8, "little") + header
    (llama / "model.safetensors").write_bytes(content)
    with pytest.raises(ConvertError, match="has a damaged header"):
        open_checkpoint(llama)
