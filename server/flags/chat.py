"""Flags that say how conversations become prompts, and answers messages."""

from __future__ import annotations

from .flag import FALSEY, TRUTHY, Flag, switch, value
from .values import at_least, json_object, named, readable

REASONING = {
    **dict.fromkeys(TRUTHY, "on"),
    **dict.fromkeys(FALSEY, "off"),
    **dict.fromkeys(("auto", "-1"), "auto"),
}
FORMATS = {
    "none": "none",
    "auto": "deepseek",
    "deepseek": "deepseek",
    "deepseek-legacy": "deepseek-legacy",
}

CHAT: tuple[Flag, ...] = (
    value("--chat-template", "chat.template", "JINJA", str,
          "the chat template, instead of the model's", env="LLAMA_ARG_CHAT_TEMPLATE"),
    value("--chat-template-file", "chat.template", "FILE", readable,
          "such a template in a file", env="LLAMA_ARG_CHAT_TEMPLATE_FILE", usual=True),
    value("--chat-template-kwargs", "chat.template_kwargs", "JSON", json_object,
          "values for the template, as '{\"enable_thinking\": false}'; a request's come first",
          env="LLAMA_ARG_CHAT_TEMPLATE_KWARGS"),
    switch("--jinja", "chat.use_jinja", "run the template; without, one of llama.cpp's own that "
           "looks like it, and no tools", off="--no-jinja", env="LLAMA_ARG_JINJA"),
    switch("--skip-chat-parsing", "chat.skip_parsing", "all of an answer is content, as it is",
           off="--no-skip-chat-parsing", env="LLAMA_ARG_SKIP_CHAT_PARSING"),
    switch("--prefill-assistant", "chat.prefill_assistant", "if the last message is the "
           "assistant's, the answer goes on with it", off="--no-prefill-assistant",
           env="LLAMA_ARG_PREFILL_ASSISTANT"),
    value("-rea --reasoning", "chat.reasoning", "on|off|auto", named(REASONING),
          "whether models think; auto: if the template knows how", env="LLAMA_ARG_REASONING",
          usual=True),
    value("--reasoning-format", "chat.reasoning_format", "FORMAT", named(FORMATS),
          "where reasoning goes: none leaves it in the content, auto, deepseek and deepseek-legacy "
          "put it in reasoning_content", env="LLAMA_ARG_THINK", usual=True),
    value("--reasoning-effort", "chat.reasoning_effort", "LEVEL",
          lambda text: "" if text == "default" else text,
          "how much to reason, where the template knows, as low or high; default: its own",
          env="LLAMA_ARG_REASONING_EFFORT"),
    switch("--reasoning-preserve", "chat.preserve_reasoning", "templates that can keep the "
           "reasoning of earlier messages do so (default: the template's own)",
           off="--no-reasoning-preserve", env="LLAMA_ARG_REASONING_PRESERVE"),
    value("--reasoning-budget", "chat.reasoning_budget", "N", at_least(-1),
          "most tokens of reasoning; -1: any number", env="LLAMA_ARG_THINK_BUDGET", usual=True),
    value("--reasoning-budget-message", "chat.reasoning_budget_message", "TEXT", str,
          "written before the end of reasoning when the budget is spent",
          env="LLAMA_ARG_THINK_BUDGET_MESSAGE"),
)  # fmt: skip
