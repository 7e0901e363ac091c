"""Chat templates that a parser by recursion cannot take."""

from __future__ import annotations

import pytest

from .conftest import Refused, tiny

KEY = "tokenizer.chat_template"


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("x" * ((1 << 20) + 1), "bytes long"),
        ("{{ " + "(" * 300 + ")" * 300 + " }}", "300 brackets inside each other"),
        ("{{ '%}' + " + "[" * 300 + " }}", "300 brackets inside each other"),
        ('{% set x = "}}\\"" ~ ' + "{1:" * 300 + " %}", "300 brackets inside each other"),
        ("{{ x" + " + x" * 6000 + " }}", "tokens in one expression"),
        ("{{ " + "not " * 6000 + "x }}", "tokens in one expression"),
        ("{%- if x -%}" * 3000 + "{% endif %}" * 3000, "statements"),
        ("{% if x %}" + "{% elif x %}" * 3000 + "{% endif %}", "statements"),
        ("text {# {{ ((( #} {{ " + "(" * 300, "brackets"),
    ],
    ids=["size", "round", "string", "escape", "sum", "not", "if", "elif", "comment"],
)
def test_refuses(template: str, match: str, refused: Refused) -> None:
    refused(tiny().set(KEY, "str", template.encode()), match)


def test_refuses_other_templates_of_the_file_too(refused: Refused) -> None:
    refused(tiny().set(f"{KEY}.tool_use", "str", b"x" * (1 << 21)), "tool_use is 2097152 bytes")


def test_accepts_brackets_in_text_and_strings(accepted: object) -> None:
    assert callable(accepted)
    template = "[" * 500 + "{{ '" + "(" * 500 + "' }}" + "{# " + "[" * 500 + " #}{"
    accepted(tiny().set(KEY, "str", template.encode()))
    accepted(tiny().set(KEY, "str", b"{{ {'a': {'b': 1}}['a'] }}{{ x }}"))
