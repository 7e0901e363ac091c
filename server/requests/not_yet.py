"""Fields of llama-server and OpenAI that are not there yet, and the values that ask for nothing."""

from __future__ import annotations

from typing import Any

GENERATION: dict[str, tuple[Any, ...]] = {
    "verbose": (False,),
    "return_progress": (False,),
    "n_indent": (0,),
    "n_discard": (0,),
    "n_cache_reuse": (0,),
    "t_max_predict_ms": (0, -1),
    "adaptive_target": (-1,),
    "backend_sampling": (False,),
    "post_sampling_probs": (False,),
    "lora": ([],),
    "json_schema": (),
    "grammar_lazy": (False,),
    "grammar_triggers": ([],),
    "preserved_tokens": ([],),
    "reasoning_control": (False,),
    "reasoning_budget_tokens": (-1,),
    "thinking_budget_tokens": (-1,),
    "continue_final_message": (False,),
    "echo": (False,),
    "response_format": ({}, {"type": "text"}),
    "tools": ([],),
    "functions": ([],),
    "multimodal_data": ([],),
}
THERE = (
    "json_schema",
    "grammar_lazy",  # these three are the template's to say
    "grammar_triggers",
    "preserved_tokens",
    "reasoning_format",
    "reasoning_budget_tokens",
    "thinking_budget_tokens",
    "continue_final_message",
    "echo",
    "response_format",
    "tools",
)
"""Fields that a conversation has."""
CHAT = {name: passes for name, passes in GENERATION.items() if name not in THERE}
OPENAI_COMPLETION: dict[str, tuple[Any, ...]] = {**GENERATION, "best_of": (1,), "suffix": ("",)}
RESPONSES: dict[str, tuple[Any, ...]] = {
    "previous_response_id": ("",),
    "conversation": (),
    "background": (False,),
    "n": (1,),
    "n_cmpl": (1,),
}
"""Answers are not kept, and a request has one."""
