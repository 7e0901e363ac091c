"""How positions turn, where that is not to be as the model file says."""

from __future__ import annotations

from dataclasses import dataclass

from . import _ffi
from .errors import ArgumentError

SCALING = {"": -1, "none": 0, "linear": 1, "yarn": 2}


@dataclass(frozen=True)
class Rope:
    """Each default is the model's own. Names and meanings are llama.cpp's.

    Source: `llama_context_params` in llama.cpp's `include/llama.h`.
    """

    scaling: str = ""
    """"none", "linear" or "yarn"."""
    freq_base: float = 0.0
    freq_scale: float = 0.0
    """Factor on positions: 0.5 makes the context twice as long."""
    yarn_orig_ctx: int = 0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0

    def native(self) -> _ffi.rope_params:
        """As the engine takes it. Raises `ArgumentError`."""
        if self.scaling not in SCALING:
            raise ArgumentError(
                f"rope scaling is {self.scaling!r}; it must be none, linear or yarn"
            )
        return _ffi.rope_params(
            scaling=SCALING[self.scaling],
            freq_base=self.freq_base,
            freq_scale=self.freq_scale,
            yarn_orig_ctx=self.yarn_orig_ctx,
            yarn_ext_factor=self.yarn_ext_factor,
            yarn_attn_factor=self.yarn_attn_factor,
            yarn_beta_fast=self.yarn_beta_fast,
            yarn_beta_slow=self.yarn_beta_slow,
        )
