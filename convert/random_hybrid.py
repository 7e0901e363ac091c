"""Random-weight models of more hybrids: Nemotron-H with experts, Kimi-Linear, and Qwen3.5's
mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .random_gguf import Number, Qwen3NextSpec, RandomSpec, Shapes


@dataclass(frozen=True, kw_only=True)
class NemotronHSpec(RandomSpec):
    """Sizes of a Nemotron-H model: every layer is a Mamba-2 mixer, attention, or experts."""

    architecture = "nemotron_h_moe"

    pattern: str
    """A letter for each layer: M is a mixer, * attention, E experts."""
    ssm_heads: int
    ssm_head_dim: int
    ssm_state: int
    ssm_groups: int
    n_expert: int
    n_expert_used: int
    n_ff_exp: int
    n_ff_shared: int

    def layer(self, index: int) -> Shapes:
        """One of the three, behind a norm."""
        layers = {"M": self._mixer, "*": self._attention, "E": self._experts}
        return {"attn_norm.weight": (self.n_embd,), **layers[self.pattern[index]]()}

    def numbers(self) -> Mapping[str, Number]:
        """Which layer is what, and the sizes of mixers and experts."""
        return {
            "feed_forward_length": [self.n_ff_exp if kind == "E" else 0 for kind in self.pattern],
            "attention.head_count_kv": [
                self.n_head_kv if kind == "*" else 0 for kind in self.pattern
            ],
            "attention.layer_norm_epsilon": 1e-5,
            "rope.dimension_count": self.head_dim,
            "expert_count": self.n_expert,
            "expert_used_count": self.n_expert_used,
            "expert_feed_forward_length": self.n_ff_exp,
            "expert_shared_feed_forward_length": self.n_ff_shared,
            "expert_shared_count": 1,
            "expert_weights_norm": True,
            "expert_weights_scale": 2.5,
            "ssm.conv_kernel": 4,
            "ssm.state_size": self.ssm_state,
            "ssm.group_count": self.ssm_groups,
            "ssm.inner_size": self.ssm_heads * self.ssm_head_dim,
            "ssm.time_step_rank": self.ssm_heads,
        }

    def _mixer(self) -> Shapes:
        inner = self.ssm_heads * self.ssm_head_dim
        channels = inner + 2 * self.ssm_groups * self.ssm_state
        return {
            "ssm_in.weight": (inner + channels + self.ssm_heads, self.n_embd),
            "ssm_conv1d.weight": (channels, 4),
            "ssm_conv1d.bias": (channels,),
            "ssm_dt.bias": (self.ssm_heads,),
            "ssm_a": (self.ssm_heads, 1),
            "ssm_d": (self.ssm_heads, 1),
            "ssm_norm.weight": (self.ssm_groups, inner // self.ssm_groups),
            "ssm_out.weight": (self.n_embd, inner),
        }

    def _attention(self) -> Shapes:
        queries, keys = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        return {
            "attn_q.weight": (queries, self.n_embd),
            "attn_k.weight": (keys, self.n_embd),
            "attn_v.weight": (keys, self.n_embd),
            "attn_output.weight": (self.n_embd, queries),
        }

    def _experts(self) -> Shapes:
        return {
            "ffn_gate_inp.weight": (self.n_expert, self.n_embd),
            "exp_probs_b.bias": (self.n_expert,),
            "ffn_up_exps.weight": (self.n_expert, self.n_ff_exp, self.n_embd),
            "ffn_down_exps.weight": (self.n_expert, self.n_embd, self.n_ff_exp),
            "ffn_up_shexp.weight": (self.n_ff_shared, self.n_embd),
            "ffn_down_shexp.weight": (self.n_embd, self.n_ff_shared),
        }


@dataclass(frozen=True, kw_only=True)
class KimiLinearSpec(RandomSpec):
    """Sizes of a Kimi-Linear model: Kimi Delta Attention but for some layers of latent attention.

    `head_dim` is that of the values of latent attention, and of its keys without rope."""

    architecture = "kimi-linear"

    full_attention: tuple[int, ...]
    """Layers of latent attention, the first layer being 0."""
    kda_head_dim: int
    n_lora_kv: int
    n_rope: int
    n_ff: int
    n_expert: int
    n_expert_used: int
    n_ff_exp: int
    n_dense: int = 1
    """Layers at the beginning that have no experts."""

    def layer(self, index: int) -> Shapes:
        """A mixer, and experts or a feed-forward."""
        mixer = self._latent() if index in self.full_attention else self._delta()
        rest = self._dense() if index < self.n_dense else self._experts()
        norms = {"attn_norm.weight": (self.n_embd,), "ffn_norm.weight": (self.n_embd,)}
        return {**norms, **mixer, **rest}

    def numbers(self) -> Mapping[str, Number]:
        """Which layer is what, and the sizes of both kinds of attention and of experts."""
        latent = [int(layer in self.full_attention) for layer in range(self.n_layer)]
        return {
            "feed_forward_length": self.n_ff,
            "attention.head_count_kv": latent,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.kv_lora_rank": self.n_lora_kv,
            "attention.key_length": self.n_lora_kv + self.n_rope,
            "attention.value_length": self.n_lora_kv,
            "attention.key_length_mla": self.head_dim + self.n_rope,
            "attention.value_length_mla": self.head_dim,
            "rope.dimension_count": self.n_rope,
            "ssm.conv_kernel": 4,
            "kda.head_dim": self.kda_head_dim,
            "expert_count": self.n_expert,
            "expert_used_count": self.n_expert_used,
            "expert_feed_forward_length": self.n_ff_exp,
            "expert_shared_count": 1,
            "expert_gating_func": 2,
            "expert_weights_scale": 2.446,
            "leading_dense_block_count": self.n_dense,
        }

    def _delta(self) -> Shapes:
        width, head = self.kda_head_dim * self.n_head, self.kda_head_dim
        convolution = (1, width, 1, 4)
        return {
            **{f"attn_{name}.weight": (width, self.n_embd) for name in "qkv"},
            **{f"ssm_conv1d_{name}.weight": convolution for name in "qkv"},
            **{f"ssm_{name}_a.weight": (head, self.n_embd) for name in "fg"},
            **{f"ssm_{name}_b.weight": (width, head) for name in "fg"},
            "ssm_beta.weight": (self.n_head, self.n_embd),
            "ssm_a": (1, 1, self.n_head, 1),
            "ssm_dt.bias": (width,),
            "ssm_norm.weight": (head,),
            "attn_output.weight": (self.n_embd, width),
        }

    def _latent(self) -> Shapes:
        rank, head = self.n_lora_kv, self.head_dim
        return {
            "attn_q.weight": (self.n_head * (head + self.n_rope), self.n_embd),
            "attn_kv_a_norm.weight": (rank,),
            "attn_kv_a_mqa.weight": (rank + self.n_rope, self.n_embd),
            "attn_k_b.weight": (self.n_head, rank, head),
            "attn_v_b.weight": (self.n_head, head, rank),
            "attn_output.weight": (self.n_embd, self.n_head * head),
        }

    def _dense(self) -> Shapes:
        return {
            "ffn_gate.weight": (self.n_ff, self.n_embd),
            "ffn_up.weight": (self.n_ff, self.n_embd),
            "ffn_down.weight": (self.n_embd, self.n_ff),
        }

    def _experts(self) -> Shapes:
        wide, tall = (self.n_ff_exp, self.n_embd), (self.n_embd, self.n_ff_exp)
        return {
            "ffn_gate_inp.weight": (self.n_expert, self.n_embd),
            "exp_probs_b.bias": (self.n_expert,),
            "ffn_gate_exps.weight": (self.n_expert, *wide),
            "ffn_up_exps.weight": (self.n_expert, *wide),
            "ffn_down_exps.weight": (self.n_expert, *tall),
            "ffn_gate_shexp.weight": wide,
            "ffn_up_shexp.weight": wide,
            "ffn_down_shexp.weight": tall,
        }


@dataclass(frozen=True, kw_only=True)
class Qwen35MoeSpec(Qwen3NextSpec):
    """Sizes of a Qwen3.5 mixture of experts: Qwen3Next's layers, their two gates apart, and rope
    in sections."""

    architecture = "qwen35moe"

    def layer(self, index: int) -> Shapes:
        """Qwen3Next's, with a tensor for each of the linear attention's gates."""
        shapes = dict(super().layer(index))
        if shapes.pop("ssm_ba.weight", None):
            gate = (self.ssm_v_heads, self.n_embd)
            shapes |= {"ssm_beta.weight": gate, "ssm_alpha.weight": gate}
        return shapes

    def numbers(self) -> Mapping[str, Number]:
        """Qwen3Next's, and the sections."""
        return {**super().numbers(), "rope.dimension_sections": [11, 11, 10, 0]}
