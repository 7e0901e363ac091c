"""Random-weight models of gpt-oss: sliding windows in every other layer, sinks, biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .random_gguf import Number, RandomSpec, Shapes


@dataclass(frozen=True, kw_only=True)
class GptOssSpec(RandomSpec):
    """Sizes of a gpt-oss model. The first layer has a window, the second has none, and so on."""

    architecture = "gpt-oss"

    n_swa: int
    n_expert: int
    n_expert_used: int
    n_ff_exp: int

    def layer(self, index: int) -> Shapes:
        """Attention with sinks, and experts; all projections have a bias."""
        return {**self._attention(), **self._experts()}

    def numbers(self) -> Mapping[str, Number]:
        """Windows, rope scaled by YaRN, experts."""
        return {
            "feed_forward_length": self.n_ff_exp,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.sliding_window": self.n_swa,
            "rope.freq_base": 150000.0,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 32.0,
            "rope.scaling.original_context_length": 4096,
            "rope.scaling.yarn_beta_fast": 32.0,
            "rope.scaling.yarn_beta_slow": 1.0,
            "expert_count": self.n_expert,
            "expert_used_count": self.n_expert_used,
            "expert_feed_forward_length": self.n_ff_exp,
        }

    def _attention(self) -> Shapes:
        queries, keys = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        projections = {
            "attn_q": (queries, self.n_embd),
            "attn_k": (keys, self.n_embd),
            "attn_v": (keys, self.n_embd),
            "attn_output": (self.n_embd, queries),
        }
        return {
            "attn_norm.weight": (self.n_embd,),
            **{f"{name}.weight": shape for name, shape in projections.items()},
            **{f"{name}.bias": shape[:1] for name, shape in projections.items()},
            "attn_sinks.weight": (self.n_head,),
        }

    def _experts(self) -> Shapes:
        wide, tall = (self.n_ff_exp, self.n_embd), (self.n_embd, self.n_ff_exp)
        stacks = {
            "ffn_gate_exps": (self.n_expert, *wide),
            "ffn_up_exps": (self.n_expert, *wide),
            "ffn_down_exps": (self.n_expert, *tall),
        }
        return {
            "post_attention_norm.weight": (self.n_embd,),
            "ffn_gate_inp.weight": (self.n_expert, self.n_embd),
            "ffn_gate_inp.bias": (self.n_expert,),
            **{f"{name}.weight": shape for name, shape in stacks.items()},
            **{f"{name}.bias": shape[:2] for name, shape in stacks.items()},
        }
