"""Random-weight models of attention layers only: Qwen3, and Gemma3 with its sliding windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .random_gguf import Number, RandomSpec, Shapes


@dataclass(frozen=True, kw_only=True)
class Qwen3Spec(RandomSpec):
    """Sizes of a dense Qwen3 model: every layer attends to all tokens before."""

    architecture = "qwen3"

    n_ff: int

    def layer(self, index: int) -> Shapes:
        """Grouped-query attention with norms on queries and keys, and a gated feed-forward."""
        queries, keys = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        return {
            "attn_norm.weight": (self.n_embd,),
            "attn_q.weight": (queries, self.n_embd),
            "attn_k.weight": (keys, self.n_embd),
            "attn_v.weight": (keys, self.n_embd),
            "attn_q_norm.weight": (self.head_dim,),
            "attn_k_norm.weight": (self.head_dim,),
            "attn_output.weight": (self.n_embd, queries),
            "ffn_norm.weight": (self.n_embd,),
            "ffn_gate.weight": (self.n_ff, self.n_embd),
            "ffn_up.weight": (self.n_ff, self.n_embd),
            "ffn_down.weight": (self.n_embd, self.n_ff),
        }

    def numbers(self) -> Mapping[str, Number]:
        """Feed-forward and rope."""
        return {"feed_forward_length": self.n_ff, "rope.freq_base": 1e6}


@dataclass(frozen=True, kw_only=True)
class Gemma3Spec(Qwen3Spec):
    """Sizes of a Gemma3 model: only every sixth layer attends past a window of `n_swa` tokens."""

    architecture = "gemma3"

    n_swa: int

    def layer(self, index: int) -> Shapes:
        """Qwen3's tensors, and norms after each half of the layer."""
        norm = (self.n_embd,)
        post = {"post_attention_norm.weight": norm, "post_ffw_norm.weight": norm}
        return {**super().layer(index), **post}

    def numbers(self) -> Mapping[str, Number]:
        """Qwen3's, and the window."""
        return {**super().numbers(), "attention.sliding_window": self.n_swa}
