"""The tiny checkpoints of this folder: what each is made from (see make_checkpoints.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

VOCAB = 320
SENTENCEPIECE_VOCAB = 384

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = QWEN2_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)


@dataclass(frozen=True)
class Checkpoint:
    """What a tiny checkpoint is made from."""

    name: str
    architecture: str
    split: str | None
    """Regex of the byte-level BPE pre-tokenizer; None makes a SentencePiece model."""
    seed: int
    store: torch.dtype
    """Type of the weights on disk. The reference always computes with them in float32."""
    config: dict[str, Any]
    centred_norms: bool = False
    """Whether the architecture's RMS norms multiply by 1 + weight."""
    embedding_gain: float = 3.0
    """Length of an embedding row. As an output matrix, tied, it spreads logits by as much."""
    norm_means: dict[str, float] = field(default_factory=dict)
    """Mean factor of the norms of a kind where it is not 1."""
    hub: dict[str, Any] = field(default_factory=dict)
    """What config.json says in checkpoints on the hub where transformers, which reads both, now
    writes it otherwise. llama.cpp's conversion reads the hub's form. None: not there."""
    hub_names: dict[str, str] = field(default_factory=dict)
    """Regular expressions of tensor names, and what the hub's names have instead."""
    mxfp4_experts: bool = False
    """Whether experts are stored in MXFP4."""


COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
MOE = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "intermediate_size": 64,
    "tie_word_embeddings": False,
}

WIDE = {"hidden_size": 64, "head_dim": 32}
"""NVFP4 packs 64 weights of a row into one block."""
MAMBA = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_expand": 2,
}

CHECKPOINTS = (
    Checkpoint(
        "qwen3next", "Qwen3NextForCausalLM", QWEN2_SPLIT, 1, torch.bfloat16,
        COMMON | MOE | {
            "num_hidden_layers": 4,
            "shared_expert_intermediate_size": 32,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_conv_kernel_dim": 4,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25,
            },
        },
        centred_norms=True,
    ),
    Checkpoint(
        "qwen3moe", "Qwen3MoeForCausalLM", QWEN2_SPLIT, 3, torch.bfloat16,
        COMMON | MOE | {
            "num_hidden_layers": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    Checkpoint(
        "gemma3", "Gemma3ForCausalLM", None, 9, torch.bfloat16,
        COMMON | {
            "vocab_size": SENTENCEPIECE_VOCAB,
            # llama.cpp takes every sixth layer of Gemma3 as a global one
            "num_hidden_layers": 6,
            "intermediate_size": 64,
            "sliding_window": 16,
            "query_pre_attn_scalar": 64,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        centred_norms=True,
        # Embeddings are small and attention sharp, or greedy text would repeat one token:
        # Gemma scales the first by sqrt(hidden_size) and bounds what each layer adds. MLPs add
        # little: llama.cpp's CPU GELU is a table in half precision, good to about 5e-4.
        embedding_gain=0.75,
        norm_means={
            "q_norm": 1.7,
            "k_norm": 1.7,
            "post_attention_layernorm": 2.0,
            "post_feedforward_layernorm": 0.3,
        },
    ),
    Checkpoint(
        "llama", "LlamaForCausalLM", LLAMA3_SPLIT, 13, torch.float32,
        COMMON | {
            "num_hidden_layers": 4,
            "intermediate_size": 64,
            "bos_token_id": 3,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    Checkpoint(
        "qwen3", "Qwen3ForCausalLM", QWEN2_SPLIT, 13, torch.bfloat16,
        COMMON | WIDE | {
            "num_hidden_layers": 3,
            "intermediate_size": 128,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    Checkpoint(
        "qwen35moe", "Qwen3_5MoeForCausalLM", QWEN2_SPLIT, 3, torch.bfloat16,
        COMMON | WIDE | {
            "num_hidden_layers": 4,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "shared_expert_intermediate_size": 64,
            "tie_word_embeddings": False,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_conv_kernel_dim": 4,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25,
                "mrope_section": [2, 1, 1], "mrope_interleaved": True,
            },
        },
        centred_norms=True,
    ),
    Checkpoint(
        "nemotron_h", "NemotronHForCausalLM", QWEN2_SPLIT, 4, torch.bfloat16,
        COMMON | WIDE | {
            "layers_block_type": [
                "linear_attention", "moe", "linear_attention", "full_attention", "moe",
            ],
            "intermediate_size": 64,
            "moe_intermediate_size": 64,
            "moe_shared_expert_intermediate_size": 64,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "routed_scaling_factor": 2.5,
            "ssm_state_size": 16,
            "mamba_num_heads": 4,
            "mamba_head_dim": 32,
            "n_groups": 2,
        },
        hub={
            "hybrid_override_pattern": "MEM*E",
            "num_hidden_layers": 5,
            "layers_block_type": None,
            "mtp_layers_block_type": None,
            "rms_norm_eps": None,  # not this family's: the conversion would believe it
        },
    ),
    Checkpoint(
        "granitemoehybrid", "GraniteMoeHybridForCausalLM", QWEN2_SPLIT, 20, torch.bfloat16,
        COMMON | MAMBA | {
            "num_hidden_layers": 4,
            "layer_types": [
                "linear_attention", "linear_attention", "full_attention", "linear_attention",
            ],
            "head_dim": 16,
            "intermediate_size": 32,
            "shared_intermediate_size": 32,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "mamba_n_groups": 1,
            "embedding_multiplier": 4.0,
            "logits_scaling": 1.25,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.125,
            "position_embedding_type": "nope",
            "tie_word_embeddings": False,
        },
        hub={"layer_types": ["mamba", "mamba", "attention", "mamba"], "head_dim": None},
    ),
    Checkpoint(
        "falcon_h1", "FalconH1ForCausalLM", QWEN2_SPLIT, 8, torch.bfloat16,
        COMMON | MAMBA | {
            "num_hidden_layers": 3,
            "intermediate_size": 64,
            "mamba_d_ssm": 64,
            "mamba_n_groups": 2,
            "mlp_multipliers": [0.8, 1.2],
            "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7],
            "key_multiplier": 0.6,
            "lm_head_multiplier": 1.1,
            "embedding_multiplier": 2.0,
            "attention_in_multiplier": 1.1,
            "attention_out_multiplier": 0.9,
            "ssm_in_multiplier": 1.3,
            "ssm_out_multiplier": 0.7,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    Checkpoint(
        "mamba2", "Mamba2ForCausalLM", QWEN2_SPLIT, 2, torch.bfloat16,
        {
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_heads": 4,
            "head_dim": 16,
            "state_size": 16,
            "n_groups": 2,
            "bos_token_id": None,
            "pad_token_id": 0,
            "eos_token_id": 2,
        },
    ),
    Checkpoint(
        "gpt_oss", "GptOssForCausalLM", QWEN2_SPLIT, 1, torch.bfloat16,
        COMMON | {
            "num_hidden_layers": 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 32,
            "sliding_window": 16,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 150000.0,
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 4096,
                # gpt-oss says False, but llama.cpp always rounds YaRN's range to whole
                # dimensions (ggml_rope_yarn_corr_dims): logits would be 0.06 apart
                "truncate": True,
            },
        },
        mxfp4_experts=True,
    ),
    Checkpoint(
        "kimi_linear", "KimiLinearForCausalLM", QWEN2_SPLIT, 12, torch.bfloat16,
        COMMON | WIDE | {
            "num_hidden_layers": 4,
            "layer_types": [
                "linear_attention", "linear_attention", "linear_attention", "full_attention",
            ],
            "num_key_value_heads": 2,
            "intermediate_size": 64,
            "moe_intermediate_size": 32,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "kv_lora_rank": 32,
            "qk_rope_head_dim": 16,
            "qk_nope_head_dim": 32,
            "v_head_dim": 32,
            "linear_head_dim": 16,
            "linear_num_heads": 2,
            "tie_word_embeddings": False,
        },
        hub={
            "layer_types": None,
            "mlp_layer_types": None,
            "first_k_dense_replace": 1,
            "moe_router_activation_func": "sigmoid",
            "linear_attn_config": {
                "full_attn_layers": [4],
                "kda_layers": [1, 2, 3],
                "head_dim": 16,
                "num_heads": 2,
                "short_conv_kernel_size": 4,
            },
        },
        hub_names={r"layers\.0\.block_sparse_moe": "layers.0.mlp"},
    ),
)
