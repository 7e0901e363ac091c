"""llama-cpp-python's `Llama` on pannier: the same calls, for any number of threads at once.

`llama.py` is the class, over `core.py`, the model and its pool, and `stepping.py`, which goes token
by token; `arguments.py` what its constructor's arguments are here; `completion.py` and `pieces.py`
texts from tokens; `tokens.py` where tokens come from; `position.py` the sequence of `eval`,
`sample` and `save_state`; `tool_calls.py` tools that the model may call; `stand_in.py`
all of it under the name `llama_cpp`.
"""

from .cache import BaseLlamaCache, LlamaCache, LlamaDiskCache, LlamaRAMCache
from .callables import (
    LogitsProcessor,
    LogitsProcessorList,
    MinTokensLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
)
from .grammar import LlamaGrammar
from .llama import Llama
from .position import LlamaState
from .prompt_lookup import LlamaPromptLookupDecoding
from .stand_in import install_as_llama_cpp

__all__ = [
    "BaseLlamaCache",
    "Llama",
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaGrammar",
    "LlamaPromptLookupDecoding",
    "LlamaRAMCache",
    "LlamaState",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MinTokensLogitsProcessor",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "install_as_llama_cpp",
]
