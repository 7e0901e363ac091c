"""Functions of transformers' Qwen3Next, written for training on a CPU.

The reference solves small triangular systems, convolves each channel by itself and sorts tokens
by expert; on a CPU that takes most of a training step. The numbers are the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

CHUNK = 16


def use_cpu_kernels() -> None:
    """Have transformers' Qwen3Next call the functions of this module."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
    from transformers.models.qwen3_next import modeling_qwen3_next as modeling

    modeling.causal_conv1d_fn = short_convolution
    modeling.torch_chunk_gated_delta_rule = gated_delta_rule
    ALL_EXPERTS_FUNCTIONS.register("dense", dense_experts)
    # Decays soon reach numbers below 1e-38, with which a CPU computes many times slower.
    torch.set_flush_denormal(True)


def short_convolution(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """Causal convolution of each channel, then SiLU: [batch, channel, time], [channel, width]."""
    assert bias is None and activation == "silu"
    n_time, width = hidden_states.shape[-1], weight.shape[-1]
    weight = weight.to(hidden_states.dtype)
    rows = F.pad(hidden_states.transpose(1, 2), (0, 0, width - 1, 0))
    out = rows[:, :n_time] * weight[:, 0]
    for tap in range(1, width):
        out = torch.addcmul(out, rows[:, tap : tap + n_time], weight[:, tap])
    return F.silu(out).transpose(1, 2)


def gated_delta_rule(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The gated delta rule in chunks, from an empty state: [batch, time, head, dimension].

    Source: arXiv:2406.06484, section 3, with the decay of arXiv:2412.06464. Time must be a
    multiple of `CHUNK`, and there are as many key heads as value heads.
    """
    assert initial_state is None and not output_final_state
    with torch.autocast("cpu", enabled=False):
        n_head = key.shape[2]
        query, key, value = (_chunks(each.float()) for each in (query, key, value))
        g, beta = (_chunks(each.float()[..., None])[..., 0] for each in (g, beta))
        query, key = _unit(query) * query.shape[-1] ** -0.5, _unit(key)
        return _scan(query, key, value, g.cumsum(-1), beta, n_head), None


def dense_experts(
    experts: Any,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
) -> torch.Tensor:
    """All experts for all tokens, [token, hidden], those that were not chosen with weight 0.

    For experts as small as these two matrix products are quicker than sorting the tokens.
    """
    n_expert, n_both, n_hidden = experts.gate_up_proj.shape
    n_tokens = len(hidden_states)
    both = F.linear(hidden_states, experts.gate_up_proj.view(n_expert * n_both, n_hidden))
    gate, up = both.view(n_tokens, n_expert, 2, n_both // 2).unbind(2)
    weights = torch.zeros(n_tokens, n_expert, dtype=both.dtype)
    weights = weights.scatter(1, top_k_index, top_k_weights.to(both.dtype))
    active = F.silu(gate) * up * weights[..., None]
    down = experts.down_proj.permute(1, 0, 2).reshape(n_hidden, -1)
    return F.linear(active.view(n_tokens, -1), down)


def _chunks(each: torch.Tensor) -> torch.Tensor:
    """[batch, time, head, n] as [chunk, batch * head, CHUNK, n]."""
    n_batch, n_time, n_head, n = each.shape
    each = each.view(n_batch, n_time // CHUNK, CHUNK, n_head, n).permute(1, 0, 3, 2, 4)
    return each.reshape(n_time // CHUNK, n_batch * n_head, CHUNK, n)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows * torch.rsqrt(rows.square().sum(-1, keepdim=True) + 1e-6)


def _scan(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    decay: torch.Tensor,
    beta: torch.Tensor,
    n_head: int,
) -> torch.Tensor:
    """Outputs of all chunks, [batch, time, head, dimension]; `decay` is its log, summed."""
    ones = torch.ones(CHUNK, CHUNK, dtype=torch.bool)
    between = decay[..., :, None] - decay[..., None, :]
    between = between.masked_fill(ones.triu(1), float("-inf")).exp()
    scaled = key * beta[..., None]
    lower = (scaled @ key.transpose(-1, -2) * between).masked_fill(ones.triu(), 0.0)
    inverse = UnitLowerInverse.apply(lower)
    faded = decay.exp()[..., None]
    new, old = inverse @ (value * beta[..., None]), inverse @ (scaled * faded)
    inside = query @ key.transpose(-1, -2) * between
    query = query * faded
    last = decay[..., -1:]
    key = (key * (last - decay).exp()[..., None]).transpose(-1, -2)
    keep = last.exp()[..., None]
    state = torch.zeros(key.shape[1], key.shape[2], value.shape[-1])
    out = []
    # unbound, not indexed: the gradient of an index is a whole tensor of zeros
    steps = (each.unbind() for each in (new, old, query, inside, key, keep))
    for new_c, old_c, query_c, inside_c, key_c, keep_c in zip(*steps, strict=True):
        written = torch.baddbmm(new_c, old_c, state, alpha=-1)
        out.append(torch.baddbmm(query_c @ state, inside_c, written))
        state = torch.baddbmm(state * keep_c, key_c, written)
    rows = torch.stack(out).view(len(out), -1, n_head, CHUNK, value.shape[-1])
    return rows.permute(1, 0, 3, 2, 4).flatten(1, 2)


class UnitLowerInverse(torch.autograd.Function):  # type: ignore[misc]
    """Inverse of 1 + x for strictly lower triangular x, [..., CHUNK, CHUNK].

    As (1 - x)(1 + x^2)(1 + x^4)...: x to the power of CHUNK is 0.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        inverse = torch.eye(CHUNK) - x
        for _ in range(CHUNK.bit_length() - 2):
            x = x @ x
            inverse = inverse + inverse @ x
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (inverse,) = ctx.saved_tensors
        turned = inverse.transpose(-1, -2)
        return -(turned @ gradient @ turned)
