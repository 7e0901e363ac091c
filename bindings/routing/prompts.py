"""Prompts to record with: a line each, or JSON lines with a text or a conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..model import Model

Prompt = str | list[dict[str, Any]]
"""A text, or messages in OpenAI's shape."""


def read_prompts(path: Path) -> list[Prompt]:
    """Raises ArgumentError for a file without prompts, and for a line that is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"cannot read --prompts {path}: {error}") from None
    read = _of_json if path.suffix == ".jsonl" else lambda line, where: line
    prompts = [read(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise ArgumentError(f"--prompts {path} has none: write one on each line")
    return prompts


def tokens_of(model: Model, prompt: Prompt, *, chat: bool) -> list[int]:
    """The prompt as the model sees it: a conversation by its template, and a text likewise if it
    is to be `chat`. Raises ChatError where the template refuses it."""
    if isinstance(prompt, str) and chat:
        prompt = [{"role": "user", "content": prompt}]
    text = prompt if isinstance(prompt, str) else model.apply_chat_template(prompt).prompt
    return model.tokenize(text, parse_special=not isinstance(prompt, str))


def _of_json(line: str, where: str) -> Prompt:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{where} is not JSON: {error}") from None
    value = found.get("prompt", found.get("messages")) if isinstance(found, dict) else None
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return value
    raise ArgumentError(f'{where}: expected {{"prompt": "..."}} or {{"messages": [...]}}')
