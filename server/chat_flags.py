"""The flags that say how conversations become prompts, and answers messages.

Source of names and meanings: llama.cpp's `common/arg.cpp`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Literal

from .flag_values import at_least
from .state import ChatSettings

Switch = Literal["on", "off", "auto"]
REASONING: dict[str, Switch] = {
    **dict.fromkeys(("on", "enabled", "true", "1"), "on"),
    **dict.fromkeys(("off", "disabled", "false", "0"), "off"),
    **dict.fromkeys(("auto", "-1"), "auto"),
}
FORMATS = ("none", "auto", "deepseek", "deepseek-legacy")
BOTH = argparse.BooleanOptionalAction


def add_chat(group: Any) -> None:
    """All of them."""
    _add_template(group.add_argument)
    _add_reasoning(group.add_argument)


def _add_template(add: Any) -> None:
    add("--chat-template", default="", metavar="TEXT",
        help="Jinja template in place of the model's, or chatml")  # fmt: skip
    add("--chat-template-file", type=text_file, metavar="FILE",
        help="file with such a template")  # fmt: skip
    add("--chat-template-kwargs", type=json_object, default={}, metavar="JSON",
        help="variables of the template; those of a request come before them")  # fmt: skip
    add("--jinja", action=BOTH, default=True,
        help="run the template; without, one of llama.cpp's own that looks like it, and no tools "
        "(default: --jinja)")  # fmt: skip
    add("--skip-chat-parsing", action=BOTH, default=False,
        help="all of an answer is content, as it is (default: --no-skip-chat-parsing)")  # fmt: skip
    add("--prefill-assistant", action=BOTH, default=True,
        help="if the last message is the assistant's, the answer goes on with it "
        "(default: --prefill-assistant)")  # fmt: skip


def _add_reasoning(add: Any) -> None:
    add("-rea", "--reasoning", type=switch, default="auto", metavar="{on,off,auto}",
        help="whether models think; auto: if the template knows how (default: auto)")  # fmt: skip
    add("--reasoning-format", choices=FORMATS, default="auto",
        help="where reasoning goes: none leaves it in the content, the others put it in "
        "reasoning_content (default: auto)")  # fmt: skip
    add("--reasoning-effort", default="default", metavar="LEVEL",
        help="how much to reason, where the template knows, such as low or high")  # fmt: skip
    add("--reasoning-preserve", action=BOTH, default=None,
        help="whether templates that can keep the reasoning of earlier messages do so "
        "(default: the template's own)")  # fmt: skip
    add("--reasoning-budget", type=at_least(-1), default=-1, metavar="N",
        help="most tokens of reasoning; -1: any number (default: -1)")  # fmt: skip
    add("--reasoning-budget-message", default="", metavar="TEXT",
        help="written before the end of reasoning when the budget is spent")  # fmt: skip


def read_chat(args: argparse.Namespace) -> ChatSettings:
    """The settings that the flags make."""
    kwargs = dict(args.chat_template_kwargs)
    if args.reasoning != "auto":
        kwargs["enable_thinking"] = args.reasoning == "on"
    if args.reasoning_effort != "default":
        kwargs["reasoning_effort"] = args.reasoning_effort
    if args.reasoning_preserve is not None:
        kwargs["preserve_reasoning"] = args.reasoning_preserve
    return ChatSettings(
        template=args.chat_template_file or args.chat_template,
        template_kwargs=kwargs,
        use_jinja=args.jinja,
        reasoning=args.reasoning,
        reasoning_format="deepseek" if args.reasoning_format == "auto" else args.reasoning_format,
        reasoning_budget=args.reasoning_budget,
        reasoning_budget_message=args.reasoning_budget_message,
        skip_parsing=args.skip_chat_parsing,
        prefill_assistant=args.prefill_assistant,
    )


def switch(text: str) -> Switch:
    """llama.cpp's words for on, off and auto."""
    if text not in REASONING:
        raise argparse.ArgumentTypeError(f"{text!r} is not on, off or auto")
    return REASONING[text]


def text_file(text: str) -> str:
    """What a file holds."""
    try:
        return Path(text).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error}") from error


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value
