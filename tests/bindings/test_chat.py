"""Chats on a vocabulary: rendering, parsing, schemas, and what is refused before that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pannier import ArgumentError, ChatError, ClosedError, Model
from pannier.chat import ChatMessage, MessageDelta, ToolCall, schema_to_grammar
from pannier.engine import source_tree

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"
USER = {"role": "user", "content": "Rain in Bonn?"}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def tool(name: str = "rain", parameters: Any = PARAMETERS) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


CALL = '<tool_call>\n{"name": "rain", "arguments": {"city": "Bonn"}}\n</tool_call>'


@pytest.fixture
def thinker(pannier: Any) -> Iterator[Model]:
    """A vocabulary with Qwen3's template: reasoning and tools."""
    with Model(TINY, vocab_only=True, devices=("none",)) as model:
        template = source_tree() / "models" / "templates" / "Qwen-Qwen3-0.6B.jinja"
        model.set_chat_template(template.read_text("utf-8"))
        yield model


def render(model: Model, **request: Any) -> Any:
    return model.render_chat({"messages": [USER], "reasoning_format": "auto", **request})


def test_facts(thinker: Model) -> None:
    facts = thinker.chat_facts
    assert facts.supports_thinking and facts.caps["supports_parallel_tool_calls"]
    assert "<tool_call>" in facts.source
    thinker.set_chat_template("chatml")
    assert not thinker.chat_facts.supports_thinking
    with pytest.raises(ChatError, match="Unexpected token"):
        thinker.set_chat_template("{% if %}")
    assert not thinker.chat_facts.supports_thinking, "the template before stays"


def test_an_answer_part_by_part(thinker: Model) -> None:
    prompt, parser = render(thinker, tools=[tool()])
    assert prompt.grammar_lazy and prompt.thinking_ends == ("</think>",)
    assert [t.value for t in prompt.grammar_triggers] == ["<tool_call>\n"]
    deltas: list[MessageDelta] = []
    text = "<think>Hm.</think>I look." + CALL
    for i in range(len(text)):
        parsed = parser.parse(text[i].encode(), [(0, 1)])
        deltas += parsed.deltas
        assert parsed.message is None and not parsed.plain
    last = parser.parse(b"", last=True)
    (call,) = last.message.tool_calls
    assert call == ToolCall(call.id, "rain", '{"city": "Bonn"}') and len(call.id) == 32
    assert last.message == ChatMessage("I look.", "Hm.", (call,))
    assert "".join(d.reasoning_content for d in deltas) == "Hm."
    assert "".join(d.content for d in deltas) == "I look."
    calls = [delta.call for delta in deltas if delta.call]
    assert "".join(c.arguments for c in calls) == call.arguments
    assert "".join(c.id for c in calls) == call.id and {d.index for d in deltas} == {-1, 0}
    with pytest.raises(ArgumentError, match="nothing follows"):
        parser.parse(b"more")
    parser.close()
    with pytest.raises(ClosedError):
        parser.parse(b"")


def test_content_that_nothing_can_end_is_plain(thinker: Model) -> None:
    _, parser = render(thinker)
    copy = parser.copy()
    assert not parser.parse(b"<think>Hm.").plain
    assert not parser.parse(b"</think>").plain
    assert parser.parse(b"Rain").plain
    assert copy.parse(b"Rain", last=True).message == ChatMessage("Rain")


def test_bytes_that_are_no_text(thinker: Model) -> None:
    _, parser = render(thinker)
    assert parser.parse(b"a\xff\xc3b", last=True).message == ChatMessage("a\ufffd\ufffdb")


def test_a_message_goes_on(thinker: Model) -> None:
    begun = {"role": "assistant", "content": "It will"}
    request = {
        "messages": [USER, begun],
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    prompt, parser = render(thinker, **request)
    assert prompt.prompt.endswith("It will")
    assert parser.parse(b" rain").deltas == [MessageDelta(content=" rain")]
    _, parser = render(thinker, **request, echo=True)
    assert parser.parse(b" rain").deltas == [MessageDelta(content="It will rain")]


def test_the_wrong_format_is_an_error(thinker: Model) -> None:
    _, parser = render(thinker, json_schema=PARAMETERS)
    with pytest.raises(ChatError, match="does not match the expected"):
        parser.parse(b"rain", last=True)


def test_offsets_lie_inside_the_text(thinker: Model) -> None:
    _, parser = render(thinker)
    for offset in (-1, 1):
        with pytest.raises(ArgumentError, match=f"begins at byte {offset} of 1"):
            parser.parse(b"a", [(offset, 5)])


def test_schemas(pannier: Any) -> None:
    assert 'root ::= "{" space' in schema_to_grammar(PARAMETERS)
    tree = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}
    assert "ref-defs-t" in schema_to_grammar(tree)


def nested(n: int, key: str = "items") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(n):
        schema = {"type": "array", "items": schema} if key == "items" else {key: [schema]}
    return schema


def references(n: int, last: Any) -> dict[str, Any]:
    """Definitions that each stand for the next."""
    links = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(n)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{n}": last}}


def listed(n: int) -> dict[str, Any]:
    """Lists of types in lists of types: each level three times the one below."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(n):
        schema = {"type": ["object", "array", "string"], "properties": {"a": schema}}
    return schema


def properties(n: int, name: str = "p") -> dict[str, Any]:
    return {"type": "object", "properties": {f"{name}{i}": {"type": "string"} for i in range(n)}}


TOO_MUCH: dict[str, tuple[Any, str]] = {
    "brackets": (nested(300), "nests deeper than 256"),
    "alternatives": (nested(300, "anyOf"), "nests deeper than 256"),
    "references": (references(2000, {"type": "string"}), "lead to each other"),
    "references of objects": (
        references(0, {"x": 1})
        | {"$defs": {f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(2000)}},
        "nests deeper than 1000",
    ),
    "a circle": (references(5, {"$ref": "#/$defs/d2"}), "lead to each other"),
    "a circle in allOf": (
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}},
        "lead to each other",
    ),
    "lists of types": (listed(20), "more than 10000 parts"),
    "optional properties": (properties(301), "at most 300 may be optional"),
    "a long name": (properties(1, "é" * 5000), "at most 256"),
    "long paths": (nested(0) | {"properties": {"a": 1}} | properties(1, "x" * 250), ""),
    "a long pattern": ({"type": "string", "pattern": "a" * 5000}, "pattern of more than 4096"),
    "a large bound": ({"type": "integer", "minimum": 1e300}, "minimum beyond 64 bits"),
    "a large count": ({"type": "string", "minLength": 2**40}, "minLength beyond 32 bits"),
    "no schema": ([], "schema must be an object"),
    "an unknown type": ({"type": "strange"}, "unrecognized type strange"),
    "a wrong reference": ({"$ref": "#/nowhere"}, "cannot resolve"),
    "a reference elsewhere": ({"$ref": "https://example.com"}, "same document"),
    "no alternative": ({"anyOf": []}, "must not be empty"),
    "half a pattern": ({"type": "string", "pattern": "^(a$"}, "unbalanced"),
}
del TOO_MUCH["long paths"]


@pytest.mark.parametrize("name", TOO_MUCH)
def test_schemas_that_are_refused(thinker: Model, name: str) -> None:
    schema, reason = TOO_MUCH[name]
    with pytest.raises(ArgumentError, match=reason):
        schema_to_grammar(schema)
    with pytest.raises((ArgumentError, ChatError), match=reason):
        render(thinker, tools=[tool(parameters=schema)])


def test_limits_count_over_all_tools(thinker: Model) -> None:
    half = properties(200) | {"required": []}
    render(thinker, tools=[tool(f"t{i}", half) for i in range(20)])
    with pytest.raises(ArgumentError, match="the schema of tool t49 has more than 10000 parts"):
        render(thinker, tools=[tool(f"t{i}", half) for i in range(60)])


def test_schemas_at_the_limits_are_quick(thinker: Model) -> None:
    deep = references(900, {"type": "string"})
    for schema in (deep, properties(300), nested(100), listed(7)):
        assert schema_to_grammar(schema)
        assert render(thinker, json_schema=schema)[0].grammar


def test_deep_arguments_and_requests(thinker: Model) -> None:
    function = {"name": "rain", "arguments": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"}
    called = {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
    with pytest.raises(ArgumentError, match="the arguments of a tool call nests deeper"):
        render(thinker, messages=[USER, called, USER])
    deep: Any = json.loads("[" * 300 + "]" * 300)
    with pytest.raises(ArgumentError, match="the request nests deeper than 256"):
        render(thinker, chat_template_kwargs={"deep": deep})


def test_a_pattern_that_no_grammar_knows_is_any_string(pannier: Any, capfd: Any) -> None:
    lookahead = schema_to_grammar({"type": "string", "pattern": "^(?=a)b$"})
    assert "root ::= string" in lookahead
    assert capfd.readouterr().err == ""
