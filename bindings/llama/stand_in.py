"""pannier in the place of llama-cpp-python, for packages that import that by its name."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ..errors import ArgumentError
from .arguments import CACHE_TYPES, DEFAULT_SEED, POOLINGS, ROPE_SCALINGS, SPLIT_MODES

VERSION = "0.3.36"
"""Whose interface it is."""
SUBMODULES = (
    *("llama", "llama_cache", "llama_chat_format", "llama_grammar", "llama_speculative"),
    *("llama_tokenizer", "llama_types"),
)
ABSENT = {
    "LlamaHFTokenizer": "leave the tokenizer out, a GGUF file has its own",
    "Llava15ChatHandler": "it reads no images",
}
SHAPES = re.compile(r"(Create)?(Chat)?(Completion|Embedding)\w*|JsonType")
"""Names of the dictionaries that go in and come out."""


class StandIn(ModuleType):
    """A module of llama-cpp-python's names, with pannier behind them."""

    def __init__(self, name: str, names: dict[str, Any]) -> None:
        super().__init__(name, __doc__)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        if SHAPES.fullmatch(name):
            return dict
        raise AttributeError(
            f"pannier has no {self.__name__}.{name}: llama.cpp's C interface is not there; what "
            "needs it can use the OpenAI endpoint of `pannier serve`"
        )


def install_as_llama_cpp() -> None:
    """Have `import llama_cpp` mean pannier in this process, whatever is installed.

    Call it before a package that imports llama-cpp-python is imported. There are `Llama` and what
    is used with it, the constants of its arguments, and `dict` for the types of dictionaries;
    llama.cpp's own functions are not there.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "llama_cpp"]:
        del sys.modules[name]
    names = _names()
    package = sys.modules["llama_cpp"] = StandIn("llama_cpp", names)
    for name in SUBMODULES:
        module = sys.modules[f"llama_cpp.{name}"] = StandIn(f"llama_cpp.{name}", names)
        setattr(package, name, module)


def _names() -> dict[str, Any]:
    """What each of the modules has."""
    llama = import_module(__package__)
    return {
        "__version__": VERSION,
        "LLAMA_DEFAULT_SEED": DEFAULT_SEED,
        **{name: getattr(llama, name) for name in llama.__all__},
        **{name: _absent(name, instead) for name, instead in ABSENT.items()},
        **_constants(),
    }


def _absent(name: str, instead: str) -> type:
    """A class that can be named and not be made."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ArgumentError(f"pannier has no {name}: {instead}")

    return type(name, (), {"__init__": fail, "from_pretrained": classmethod(fail)})


def _constants() -> dict[str, int]:
    """The numbers that arguments are given as."""
    unspecified = {"": "unspecified", "auto": "unspecified"}
    rows = [
        *(("GGML_TYPE", number, name) for number, name in CACHE_TYPES.items()),
        *(("LLAMA_POOLING_TYPE", number, name) for number, name in POOLINGS.items()),
        *(("LLAMA_ROPE_SCALING_TYPE", number, name) for number, name in ROPE_SCALINGS.items()),
        *(("LLAMA_SPLIT_MODE", number, name) for number, name in enumerate(SPLIT_MODES)),
    ]
    return {f"{of}_{unspecified.get(name, name).upper()}": number for of, number, name in rows}
