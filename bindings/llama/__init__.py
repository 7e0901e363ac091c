"""llama-cpp-python's `Llama` on pannier: the same calls, for any number of threads at once.

`llama.py` is the class; `arguments.py` what its constructor's arguments are here; `completion.py`
and `pieces.py` texts from tokens; `tokens.py` where tokens come from; `position.py` the sequence of
`eval`, `sample` and `save_state`.
"""

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

__all__ = [
    "Llama",
    "LlamaGrammar",
    "LlamaPromptLookupDecoding",
    "LlamaState",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MinTokensLogitsProcessor",
    "StoppingCriteria",
    "StoppingCriteriaList",
]
