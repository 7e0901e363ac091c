"""parse-depth: brackets inside brackets in a tool call do not overflow the stack."""

from __future__ import annotations

import pytest

from pannier.engine import Engine
from tests.conftest import run_python
from tests.patches.conftest import HERE

pytestmark = pytest.mark.engine

MODEL = HERE.parent / "data" / "llama" / "model-f32.gguf"

CODE = """
import sys, threading
from pannier import ChatError, Model
from pannier.engine import source_tree

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "Hello"}

def run():
    for depth in map(int, sys.argv[2:]):
        _, parser = model.render_chat({"messages": [USER], "tools": [TOOL]})
        text = '<tool_call>\\n{"name": "f", "arguments": {"a": ' + "[" * depth
        try:
            (delta,) = parser.parse(text.encode()).deltas
            print(len(delta.call.arguments))
        except ChatError as error:
            print(error)

with Model(sys.argv[1], vocab_only=True, devices=("none",)) as model:
    template = source_tree() / "models" / "templates" / "Qwen-Qwen3-0.6B.jinja"
    model.set_chat_template(template.read_text())
    threading.stack_size(1 << 20)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
"""


def test_a_deep_call_is_an_error(cpu_engine: Engine) -> None:
    few, many, after = run_python(cpu_engine, CODE, str(MODEL), "50", "200000", "1").splitlines()
    assert few == "56"  # {"a": and the brackets
    assert many == "the output is nested too deeply"
    assert after == "7"
