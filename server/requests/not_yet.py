"""Fields of llama-server and OpenAI that are not there yet, and the values that ask for nothing."""

from __future__ import annotations

from typing import Any

GENERATION: dict[str, tuple[Any, ...]] = {
    "json_schema": (),
    "grammar_lazy": (False,),
    "grammar_triggers": ([],),
    "preserved_tokens": ([],),
    "reasoning_format": ("none", "auto"),
    "reasoning_control": (False,),
    "reasoning_budget_tokens": (-1,),
    "thinking_budget_tokens": (-1,),
    "continue_final_message": (False,),
    "response_format": ({}, {"type": "text"}),
    "tools": ([],),
    "functions": ([],),
    "multimodal_data": ([],),
}
CONSTRAINT = (
    "json_schema",
    "grammar_lazy",
    "grammar_triggers",
    "preserved_tokens",
    "reasoning_budget_tokens",
)
"""Fields that completions have; in a chat some of them are the template's to say."""
CONVERSATION = (
    *CONSTRAINT,
    "reasoning_format",
    "thinking_budget_tokens",
    "continue_final_message",
    "echo",
    "response_format",
    "tools",
)
"""Fields that a conversation has."""
COMPLETION = {name: passes for name, passes in GENERATION.items() if name not in CONSTRAINT}
CHAT = {name: passes for name, passes in GENERATION.items() if name not in CONVERSATION}
OPENAI_COMPLETION = {**COMPLETION, "best_of": (1,), "suffix": ("",)}
RESPONSES: dict[str, tuple[Any, ...]] = {
    "previous_response_id": ("",),
    "conversation": (),
    "background": (False,),
    "n": (1,),
    "n_cmpl": (1,),
}
"""Answers are not kept, and a request has one."""
