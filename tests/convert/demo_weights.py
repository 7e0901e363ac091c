"""The demo model's GGUF file read back into transformers' Qwen3Next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

# GGUF's name of a tensor in a layer, and transformers' name under `model.layers.N.`
LAYER = {
    "attn_norm": "input_layernorm.weight",
    "post_attention_norm": "post_attention_layernorm.weight",
    "attn_q": "self_attn.q_proj.weight",
    "attn_k": "self_attn.k_proj.weight",
    "attn_v": "self_attn.v_proj.weight",
    "attn_output": "self_attn.o_proj.weight",
    "attn_q_norm": "self_attn.q_norm.weight",
    "attn_k_norm": "self_attn.k_norm.weight",
    "ssm_conv1d": "linear_attn.conv1d.weight",
    "ssm_dt": "linear_attn.dt_bias",
    "ssm_ba": "linear_attn.in_proj_ba.weight",
    "ssm_norm": "linear_attn.norm.weight",
    "ssm_out": "linear_attn.out_proj.weight",
    "ffn_gate_inp": "mlp.gate.weight",
    "ffn_down_exps": "mlp.experts.down_proj",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate.weight",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj.weight",
    "ffn_up_shexp": "mlp.shared_expert.up_proj.weight",
    "ffn_down_shexp": "mlp.shared_expert.down_proj.weight",
}
TOP = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}


def read_back(path: Path) -> Any:
    """A Qwen3NextForCausalLM in float32 with the file's weights, dequantised."""
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    reader = gguf.GGUFReader(path)
    found = {}
    for tensor in reader.tensors:
        data = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        shape = tuple(reversed(tensor.shape.tolist()))
        found[tensor.name] = torch.from_numpy(np.array(data, np.float32).reshape(shape))
    config = Qwen3NextConfig(**config_of(reader))
    model = Qwen3NextForCausalLM(config).float().eval()
    model.set_experts_implementation("eager")
    weights = dict(named(found, config))
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights)
    return model


def config_of(reader: gguf.GGUFReader) -> dict[str, Any]:
    def field(key: str) -> Any:
        return reader.fields[f"qwen3next.{key}"].contents()

    n_head = field("ssm.time_step_rank")
    return {
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].contents()),
        "hidden_size": field("embedding_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": field("attention.key_length"),
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": field("rope.freq_base"),
            "partial_rotary_factor": (
                field("rope.dimension_count") / field("attention.key_length")
            ),
        },
        "linear_conv_kernel_dim": field("ssm.conv_kernel"),
        "linear_key_head_dim": field("ssm.state_size"),
        "linear_num_key_heads": field("ssm.group_count"),
        "linear_num_value_heads": n_head,
        "linear_value_head_dim": field("ssm.inner_size") // n_head,
        "num_experts": field("expert_count"),
        "num_experts_per_tok": field("expert_used_count"),
        "moe_intermediate_size": field("expert_feed_forward_length"),
        "shared_expert_intermediate_size": field("expert_shared_feed_forward_length"),
        "tie_word_embeddings": True,
    }


def named(found: dict[str, torch.Tensor], config: Any) -> Any:
    """(name, weight) as transformers has them: norms around 0, decays as logarithms."""
    for name, target in TOP.items():
        yield target, found[f"{name}.weight"] - float(name == "output_norm")
    for key, weight in found.items():
        if key.startswith("blk."):
            _, layer, rest = key.split(".", 2)
            short = rest.removesuffix(".weight").removesuffix(".bias")
            if short in LAYER:
                value = weight - float(short.endswith("norm") and short != "ssm_norm")
                value = value.unsqueeze(1) if short == "ssm_conv1d" else value
                value = value.reshape(1, -1) if short == "ffn_gate_inp_shexp" else value
                yield f"model.layers.{layer}.{LAYER[short]}", value
    for layer in range(config.num_hidden_layers):
        yield from fused(found, layer, config)


def fused(found: dict[str, torch.Tensor], layer: int, config: Any) -> Any:
    """What GGUF splits and transformers keeps in one."""
    here, there = f"blk.{layer}.", f"model.layers.{layer}."
    both = [found[f"{here}ffn_{part}_exps.weight"] for part in ("gate", "up")]
    yield f"{there}mlp.experts.gate_up_proj", torch.cat(both, dim=1)
    if f"{here}ssm_a" in found:
        yield f"{there}linear_attn.A_log", (-found[f"{here}ssm_a"]).log()
        n_head, n = config.linear_num_key_heads, config.linear_key_head_dim
        assert n_head == config.linear_num_value_heads
        parts = [*found[f"{here}attn_qkv.weight"].chunk(3), found[f"{here}attn_gate.weight"]]
        heads = torch.cat([part.view(n_head, n, -1) for part in parts], dim=1)
        yield f"{there}linear_attn.in_proj_qkvz.weight", heads.flatten(0, 1)
