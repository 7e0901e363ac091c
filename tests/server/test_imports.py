"""The scheduler knows no HTTP, tokenizer, native code or clock: it imports none."""

import ast
import sys
from pathlib import Path

import pytest

from pannier import sampling
from pannier.server import (
    admission,
    branches,
    cells,
    drafts,
    embedding_scheduler,
    limits,
    lookup,
    messages,
    operations,
    pace,
    plan,
    prefix_cache,
    reasons,
    refusal,
    running,
    scheduler,
    sequence_pool,
    slots,
    turns,
    waiting,
)

HELPERS = (
    admission,
    branches,
    cells,
    drafts,
    embedding_scheduler,
    limits,
    lookup,
    operations,
    pace,
    plan,
    prefix_cache,
    reasons,
    refusal,
    running,
    scheduler,
    sequence_pool,
    turns,
    slots,
    waiting,
)
KNOWN = {module.__name__.rpartition(".")[2] for module in (*HELPERS, messages, sampling)}


@pytest.mark.parametrize("module", [*HELPERS, messages, sampling])
def test_only_the_standard_library_and_our_data_classes(module):
    tree = ast.parse(Path(module.__file__).read_text())
    outside = {"ctypes", "time", "asyncio", "socket", "threading"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.level == 0 else []
            if node.level:
                assert {node.module} <= KNOWN or {alias.name for alias in node.names} <= KNOWN
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names
            assert top not in outside
