"""template-limits: a template cannot end the process, fill the memory or run for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pannier.engine import Engine, source_tree
from tests.conftest import run_python
from tests.patches.conftest import HERE

pytestmark = pytest.mark.engine

MODEL = HERE.parent / "data" / "llama" / "model-f32.gguf"

CODE = """
import json, sys, threading
from pannier import ChatError, Model

with open(sys.argv[1]) as file:
    templates, messages = json.load(file)
answers = []

def answer(template):
    try:
        return model.apply_chat_template(messages, template=template).prompt
    except ChatError as error:
        return f"ChatError: {error}"

def run():
    answers.extend(answer(template) for template in templates)

with Model(sys.argv[2], vocab_only=True) as model:
    threading.stack_size(1 << 20)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
print(json.dumps(answers))
"""
Render = Callable[..., list[str]]
MESSAGES = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}] * 3


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """What a process of its own answers, on a thread with a stack of 1 MiB."""

    def render(engine: Engine, *templates: str, messages: object = MESSAGES) -> list[str]:
        path = tmp_path / "templates.json"
        path.write_text(json.dumps([templates, messages]))
        answers: list[str] = json.loads(run_python(engine, CODE, str(path), str(MODEL)))
        return answers

    return render


def nested(n: int, body: str, start: str = "[]", end: str = "done") -> str:
    """A value `ns.s` inside itself, n times."""
    return (
        f"{{% set ns = namespace(s={start}) %}}{{% for i in range({n}) %}}{body}{{% endfor %}}{end}"
    )


def only_here(template: str) -> str:
    """Not where llama.cpp tries a template out with messages of its own, a dozen times."""
    return "{% if messages[0].content == 'one' %}" + template + "{% endif %}"


DEEP = "nested too deeply"
TOO_DEEP = {
    "a macro that calls itself": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "two that call each other": "{% macro g() %}{{ h() }}{% endmacro %}"
    "{% macro h() %}{{ g() }}{% endmacro %}{{ g() }}",
    "callers": "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
    "brackets": "{{ " + "[" * 4900 + " }}",
    "parentheses": "{{ " + "(" * 2400 + "1" + ")" * 2400 + " }}",
    "nots": "{{ " + "not " * 4900 + "1 }}",
    "signs": "{{ " + "- " * 4900 + "1 }}",
    "calls": "{{ f" + "()" * 2400 + " }}",
    "choices": "{{ " + "1 if 0 else " * 1200 + "1 }}",
    "a sum": "{{ 1" + "+1" * 2400 + " }}",
    "filters": "{{ 1" + "|abs" * 2400 + " }}",
    "conditions": "{% if x %}" * 5000 + "{% endif %}" * 5000,
    "other conditions": "{% if x %}" + "{% elif x %}" * 5000 + "{% endif %}",
    "a list of itself": "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}",
    "that as JSON": "{% set a = [] %}{% set _ = a.append(a) %}{{ a | tojson }}",
    "a namespace of itself": "{% set n = namespace() %}{% set n.x = n %}{{ n | string }}",
    "a key of tuples": nested(
        20000, "{% set ns.s = (ns.s, 1) %}", "(1, 2)", "{{ {ns.s: 1} | length }}"
    ),
    "lists in lists": nested(20000, "{% set ns.s = [ns.s] %}", end="{{ ns.s }}"),
}
TOO_LONG = {
    "a sum": "{{ 1" + "+1" * 100000 + " }}",
    "parentheses": "{{ " + "(" * 100000,
}
TOO_LARGE = {
    "range": "{{ range(1000000000) | length }}",
    "a range past the largest number": "{{ range(0, 9223372036854775807, 4611686018427387904) }}",
    "repetition": "{{ ('a' * 1000000) * 1000000 }}",
    "a string that doubles": nested(100, "{% set ns.s = ns.s ~ ns.s %}", "'abcdefgh' * 10000"),
    "a list that doubles": nested(100, "{% set ns.s = ns.s + ns.s %}", "[1]"),
    "join": "{{ range(10000) | list | join('a' * 100000) }}",
    "replace": "{{ ('a' * 10000) | replace('a', 'b' * 100000) }}",
    "replace nothing": "{{ ('a' * 100000) | replace('', 'b' * 100000) }}",
    "indent": "{{ 'a\\nb' | indent(100000000000) }}",
    "indent lines": "{{ ('a\\n' * 10000) | indent(1000000) }}",
    "separators": "{{ range(10000) | list | tojson(separators=['a' * 1000000, 'b']) }}",
    "text": "{% for i in range(100000) %}" + "x" * 50000 + "{% endfor %}",
}


@pytest.mark.parametrize(
    ("attacks", "named"),
    [(TOO_DEEP, DEEP), (TOO_LONG, "more than 5000 tokens"), (TOO_LARGE, "more than 256 MiB")],
    ids=["deep", "long", "large"],
)
def test_attacks(cpu_engine: Engine, render: Render, attacks: dict[str, str], named: str) -> None:
    templates = (only_here(template) for template in attacks.values())
    *answers, after = render(cpu_engine, *templates, "{{ messages[0].content }}")
    for name, answer in zip(attacks, answers, strict=True):
        assert answer.startswith("ChatError") and named in answer, (name, answer[:200])
    assert after == "one"


@pytest.mark.slow
def test_loops_without_end(cpu_engine: Engine, render: Render) -> None:
    loops = "{% for i in range(10000) %}" * 3 + "{{ i }}" + "{% endfor %}" * 3
    (answer,) = render(cpu_engine, loops)
    assert "takes too long" in answer


def test_a_division_by_zero(cpu_engine: Engine, render: Render) -> None:
    zero, one = render(cpu_engine, "{{ 1 is divisibleby(0) }}", "{{ 5 is divisibleby(-1) }}")
    assert "division by zero" in zero
    assert one == "True"


def test_deep_values_end_one_after_another(cpu_engine: Engine, render: Render) -> None:
    bodies = (
        "{% set ns.s = [ns.s, ns.s] %}",
        "{% set ns.s = {'a': ns.s} %}",
        "{% set ns.s = [ns.s.append] %}",
        "{% set b = [] %}{% set _ = b.append(k=ns.s) %}{% set ns.s = b %}",
        "{% set b = [] %}{% set _ = ns.s.append(b) %}{% set ns.s = b %}",
    )
    answers = render(
        cpu_engine,
        *(only_here(nested(40000, body, "{}" if "'a'" in body else "[]")) for body in bodies),
    )
    assert answers == ["done"] * len(bodies)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 'a,b,,c'.split(',') | string }}", "['a', 'b', '', 'c']"),
        ("{{ 'a,b,c'.split(',', 1) | string }}", "['a', 'b,c']"),
        ("{{ ',a,'.split(',') | string }}", "['', 'a', '']"),
        ("{{ 'abcabc' | replace('bc', 'x') }}", "axax"),
        ("{{ 'aaa' | replace('aa', 'aaaa') }}", "aaaaa"),
        ("{{ 'ab' | replace('', '-') }}", "-a-b-"),
        ("{{ 'ab' * 3 ~ 1 }}", "ababab1"),
    ],
)
def test_what_the_patch_rewrote(
    cpu_engine: Engine, render: Render, template: str, expected: str
) -> None:
    (answer,) = render(cpu_engine, template)
    assert answer == expected


def conversations() -> list[list[dict[str, object]]]:
    """With a system message, a call of a tool, and without either."""
    call = {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    user = {"role": "user", "content": "What is 2 + 2?\nAnd 3 + 3?"}
    assistant = {"role": "assistant", "content": "<think>\nSums.\n</think>\n\n4 and 6"}
    return [
        [user, assistant, user],
        [{"role": "system", "content": "Be brief."}, user],
        [
            user,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call00001", "name": "f", "content": "4"},
        ],
    ]


def test_upstreams_templates_render_as_without_the_patch(
    cpu_engine: Engine, unpatched_engine: Engine, render: Render
) -> None:
    templates = [
        path.read_text() for path in sorted((source_tree() / "models/templates").glob("*.jinja"))
    ]
    assert len(templates) > 50
    for messages in conversations():
        ours = render(cpu_engine, *templates, messages=messages)
        assert ours == render(unpatched_engine, *templates, messages=messages)
        assert sum(not answer.startswith("ChatError") for answer in ours) > len(templates) // 2
