"""pannier under llama-cpp-python's name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import pannier


@pytest.fixture
def llama_cpp() -> Iterator[ModuleType]:
    pannier.install_as_llama_cpp()
    yield importlib.import_module("llama_cpp")
    for name in [name for name in sys.modules if name.partition(".")[0] == "llama_cpp"]:
        del sys.modules[name]


def test_names(llama_cpp: ModuleType) -> None:
    assert llama_cpp.Llama is pannier.Llama
    assert importlib.import_module("llama_cpp.llama_grammar").LlamaGrammar is pannier.LlamaGrammar
    assert importlib.import_module("llama_cpp.llama").LlamaCache is pannier.LlamaCache
    assert importlib.util.find_spec("llama_cpp") is not None


def test_types_are_dictionaries(llama_cpp: ModuleType) -> None:
    types = importlib.import_module("llama_cpp.llama_types")
    assert types.ChatCompletionRequestMessage is types.CreateCompletionResponse is dict


def test_constants(llama_cpp: ModuleType) -> None:
    """As in ggml.h and llama.h."""
    assert (llama_cpp.GGML_TYPE_F16, llama_cpp.GGML_TYPE_Q8_0, llama_cpp.GGML_TYPE_BF16) == (
        1,
        8,
        30,
    )
    assert (llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED, llama_cpp.LLAMA_POOLING_TYPE_CLS) == (-1, 2)
    assert llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN == llama_cpp.LLAMA_SPLIT_MODE_ROW == 2


def test_what_is_not_there(llama_cpp: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"llama_decode.*pannier serve"):
        _ = llama_cpp.llama_decode
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("llama_cpp.server")
    handlers = importlib.import_module("llama_cpp.llama_chat_format")
    with pytest.raises(pannier.ArgumentError, match="Llava15ChatHandler"):
        handlers.Llava15ChatHandler(clip_model_path="x")
