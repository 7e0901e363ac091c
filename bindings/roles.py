"""What a tensor is for, told by its name."""

from __future__ import annotations

import re
from typing import Literal, get_args

from .placement import EXPERTS

Role = Literal["experts", "attention", "ssm", "embeddings", "other"]
ROLES: tuple[Role, ...] = get_args(Role)

_PATTERNS: tuple[tuple[Role, str], ...] = (
    ("experts", EXPERTS),
    ("ssm", r"\.(ssm_|shortconv|time_mix_|channel_mix_)"),
    ("attention", r"\.(attn_|indexer)(?!.*norm)"),
    ("embeddings", r"^(token_embd|output|position_embd|token_types|per_layer_token_embd)\."),
)
_COMPILED = tuple((role, re.compile(pattern)) for role, pattern in _PATTERNS)


def role_of(name: str) -> Role:
    """Role of a tensor, by GGUF's names for tensors (gguf-py, `constants.py`).

    "experts" are the routed ones; shared experts, dense layers, routers and norms are "other".
    "ssm" is whatever only a recurrent layer has: state-space, short convolution, RWKV's mixing.
    """
    return next((role for role, pattern in _COMPILED if pattern.search(name)), "other")
