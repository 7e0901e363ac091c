"""Hit rates of a cache of experts, by a trace of the model's routers."""

from __future__ import annotations

from ..errors import ArgumentError
from ..routing import Trace, read_trace
from ..routing.hit_curve import hit_curve
from .facts import ModelFacts
from .speed import HitCurve


def traced_hits(path: str, facts: ModelFacts) -> HitCurve:
    """Of llama.cpp's cache. Raises TraceError, and ArgumentError for another model's trace."""
    trace = read_trace(path)
    check_trace(trace, facts, path)
    return hit_curve(trace)


def check_trace(trace: Trace, facts: ModelFacts, path: str) -> None:
    """Raise ArgumentError unless a trace can be of a model of these layers and experts."""
    model = trace.model
    traced = (model.n_expert, model.n_expert_used)
    known = (facts.n_expert, facts.n_expert_used)
    if traced != known or not set(trace.layers) <= set(facts.moe_layers):
        raise ArgumentError(
            f"--trace {path} is of {model.name!r}: {len(trace.layers)} layers that use {traced[1]} "
            f"of {traced[0]} experts; this model has {len(facts.moe_layers)} that use {known[1]} "
            f"of {known[0]}"
        )
