"""A synthetic mixture-of-experts checkpoint of any size, with random bf16 weights.

Qwen3Moe's layout on the hub: a tensor for each expert, shards of at most 1 GB. The tokenizer is
that of the tiny checkpoint in tests/data.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

TINY = Path(__file__).resolve().parents[2] / "tests" / "data" / "qwen3moe"
HIDDEN, HEADS, KV_HEADS, HEAD, EXPERTS, EXPERT_FF = 2048, 16, 4, 128, 64, 768
SHARD_BYTES = 1_000_000_000
LAYER_BYTES = 2 * (EXPERTS * 3 * HIDDEN * EXPERT_FF + 2 * HIDDEN * HEAD * (HEADS + KV_HEADS))

Shape = tuple[int, ...]


def layers_for(n_bytes: int) -> int:
    """Layers of a checkpoint of about this size."""
    return max(1, round(n_bytes / LAYER_BYTES))


def shapes(n_layers: int, n_vocab: int) -> Iterator[tuple[str, Shape]]:
    """Names and shapes as transformers saves them."""
    yield "model.embed_tokens.weight", (n_vocab, HIDDEN)
    for layer in range(n_layers):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (HIDDEN,)
        yield prefix + "post_attention_layernorm.weight", (HIDDEN,)
        yield prefix + "self_attn.q_proj.weight", (HEADS * HEAD, HIDDEN)
        yield prefix + "self_attn.k_proj.weight", (KV_HEADS * HEAD, HIDDEN)
        yield prefix + "self_attn.v_proj.weight", (KV_HEADS * HEAD, HIDDEN)
        yield prefix + "self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD)
        yield prefix + "self_attn.q_norm.weight", (HEAD,)
        yield prefix + "self_attn.k_norm.weight", (HEAD,)
        yield prefix + "mlp.gate.weight", (EXPERTS, HIDDEN)
        for expert in range(EXPERTS):
            ffn = f"{prefix}mlp.experts.{expert}."
            yield ffn + "gate_proj.weight", (EXPERT_FF, HIDDEN)
            yield ffn + "up_proj.weight", (EXPERT_FF, HIDDEN)
            yield ffn + "down_proj.weight", (HIDDEN, EXPERT_FF)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (n_vocab, HIDDEN)


def shards(tensors: list[tuple[str, Shape]]) -> list[list[tuple[str, Shape]]]:
    """Tensors by file."""
    found: list[list[tuple[str, Shape]]] = [[]]
    size = 0
    for name, shape in tensors:
        n_bytes = 2 * prod(shape)
        if size + n_bytes > SHARD_BYTES and found[-1]:
            found.append([])
            size = 0
        found[-1].append((name, shape))
        size += n_bytes
    return found


def weights(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """bf16 numbers as uint16: normal ones, the upper half of their float32."""
    values = generator.standard_normal(prod(shape), dtype=np.float32) * 0.02
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def write_shard(path: Path, tensors: list[tuple[str, Shape]], seed: int) -> None:
    """A safetensors file: length of the header, header, data."""
    header, end = {}, 0
    for name, shape in tensors:
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape in tensors:
            file.write(weights(shape, generator).tobytes())


def write_checkpoint(folder: Path, n_bytes: int) -> Path:
    """Make the checkpoint in `folder` unless it is there."""
    if (folder / "model.safetensors.index.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)
    config = json.loads((TINY / "config.json").read_text())
    n_layers = layers_for(n_bytes)
    config |= {
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "num_experts": EXPERTS,
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": EXPERT_FF,
        "intermediate_size": 4 * HIDDEN,
        "num_hidden_layers": n_layers,
        "tie_word_embeddings": False,
    }
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    files = shards(list(shapes(n_layers, config["vocab_size"])))
    index = {}
    for number, tensors in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        write_shard(folder / name, tensors, number)
        index |= dict.fromkeys((tensor for tensor, _ in tensors), name)
    total = sum(2 * prod(shape) for tensors in files for _, shape in tensors)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)
    return folder
