"""What a tensor is for, told by its name."""

from __future__ import annotations

import re
from typing import Literal, get_args

from .placement import EXPERTS

Role = Literal["experts", "attention", "ffn", "recurrent", "embedding", "output", "norm", "other"]
ROLES: tuple[Role, ...] = get_args(Role)

_PATTERNS: tuple[tuple[Role, str], ...] = (
    ("experts", EXPERTS),
    ("recurrent", r"\.(ssm_|shortconv|time_mix_|channel_mix_)"),
    ("norm", r"norm"),
    ("attention", r"\.(attn_|indexer)"),
    ("ffn", r"\.ffn_"),
    ("embedding", r"^(token_embd|position_embd|token_types|per_layer_token_embd)\."),
    ("output", r"^output\."),
)
_COMPILED = tuple((role, re.compile(pattern)) for role, pattern in _PATTERNS)


def role_of(name: str) -> Role:
    """Role of a tensor, by GGUF's names for tensors (gguf-py, `constants.py`).

    "experts" are the routed ones; shared experts, dense layers and routers are "ffn". "recurrent"
    is whatever only a recurrent layer has: state-space, short convolution, RWKV's mixing.
    """
    return next((role for role, pattern in _COMPILED if pattern.search(name)), "other")
