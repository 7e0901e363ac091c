"""Rules for chat templates: llama.cpp's parser and interpreter descend by recursion, so depth and
length of a template's expressions are bounded here (`common/jinja`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .reader import refuse

MAX_BYTES = 1 << 20
MAX_DEPTH = 200
MAX_STATEMENTS = 2000
MAX_TOKENS = 5000
"""Tokens of one `{{ }}` or `{% %}`: a chain of operators is as deep as it is long."""

_TEXT = re.compile(r"\{#.*?#\}|\{%|\{\{", re.DOTALL)
_TOKEN = re.compile(
    r"'(?:\\.|[^'\\])*'?|\"(?:\\.|[^\"\\])*\"?|%\}|\}\}|[(\[{]|[)\]}]|\w+|\s+|.", re.DOTALL
)
_STATEMENT = re.compile(r"-?\s*(if|elif|for|macro|set|call|filter|generation)\b")


def check_templates(path: Path, metadata: Mapping[str, object]) -> None:
    """Refuse templates that are too long or too deep to parse. Raises ModelError."""
    for key, value in metadata.items():
        if key.startswith("tokenizer.chat_template") and isinstance(value, str):
            size = len(value.encode("utf-8", "surrogatepass"))
            if size > MAX_BYTES:
                refuse(path, f"{key} is {size} bytes long; {MAX_BYTES} is the most")
            _check(path, key, value)


def _check(path: Path, key: str, template: str) -> None:
    position, n_statements = 0, 0
    while match := _TEXT.search(template, position):
        position = match.end()
        if match[0] not in ("{%", "{{"):
            continue
        n_statements += bool(_STATEMENT.match(template, position))
        position, depth, n_tokens = _measure(template, position)
        for name, value, most in (
            ("brackets inside each other", depth, MAX_DEPTH),
            ("tokens in one expression", n_tokens, MAX_TOKENS),
            ("statements", n_statements, MAX_STATEMENTS),
        ):
            if value > most:
                refuse(path, f"{key} has {value} {name}; {most} is the most")


def _measure(template: str, position: int) -> tuple[int, int, int]:
    """Where a tag ends, how deep its brackets are, and how many tokens it has."""
    depth = deepest = curly = n_tokens = 0
    for match in _TOKEN.finditer(template, position):
        token = match[0]
        position = match.end()
        if token == "%}" or (token == "}}" and curly <= 0):
            break
        if token == "}}":
            curly, depth = curly - 2, depth - 2
        elif token in "([{":
            depth, curly = depth + 1, curly + (token == "{")
        elif token in ")]}":
            depth, curly = depth - 1, curly - (token == "}")
        n_tokens += not token.isspace()
        deepest = max(deepest, depth)
    return position, deepest, n_tokens
