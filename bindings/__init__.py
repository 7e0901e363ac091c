"""pannier: big mixture-of-experts and hybrid models on small GPUs, on llama.cpp."""

from importlib import import_module
from typing import TYPE_CHECKING

from .adapter import Adapter
from .batch import Batch, Sampled, StepResult
from .chat import ChatPrompt
from .context import Context
from .context_plan import ContextPlan
from .device import Device, devices
from .errors import (
    ArgumentError,
    CacheFull,
    ChatError,
    ClosedError,
    ContextError,
    ConvertError,
    DecodeError,
    EngineError,
    EngineNotFound,
    LoadCancelled,
    ModelError,
    PannierError,
    PlacementError,
    PlanError,
    RequestError,
    ServerError,
    TraceError,
)
from .memory import DeviceMemory, MemoryReport, MemoryRow, SequenceMemory, TensorRow
from .model import Model
from .moe_cache import MoeCache, MoeCounts, MoeLayer
from .op_placement import PlacementReport
from .routes import Routes
from .sampling import SamplingParams
from .sequence import Sequence
from .sharing import CellGroup

if TYPE_CHECKING:
    from .completion import Completion
    from .free_sampler import Sampler
    from .llama import (
        BaseLlamaCache,
        Llama,
        LlamaCache,
        LlamaDiskCache,
        LlamaGrammar,
        LlamaPromptLookupDecoding,
        LlamaRAMCache,
        LlamaState,
        LogitsProcessorList,
        MinTokensLogitsProcessor,
        StoppingCriteriaList,
        install_as_llama_cpp,
    )
    from .pool import Call, Pool

_LATER = {
    "Call": "pool",
    "Completion": "completion",
    "Pool": "pool",
    "Sampler": "free_sampler",
} | dict.fromkeys(
    (
        *("Llama", "LlamaGrammar", "LlamaPromptLookupDecoding", "LlamaState"),
        *("BaseLlamaCache", "LlamaCache", "LlamaDiskCache", "LlamaRAMCache"),
        *("LogitsProcessorList", "MinTokensLogitsProcessor", "StoppingCriteriaList"),
        "install_as_llama_cpp",
    ),
    "llama",
)
"""Names that are imported when they are asked for: the scheduler comes with them."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'pannier' has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


__all__ = [
    "Adapter",
    "ArgumentError",
    "BaseLlamaCache",
    "Batch",
    "CacheFull",
    "Call",
    "CellGroup",
    "ChatError",
    "ChatPrompt",
    "ClosedError",
    "Completion",
    "Context",
    "ContextError",
    "ContextPlan",
    "ConvertError",
    "DecodeError",
    "Device",
    "DeviceMemory",
    "EngineError",
    "EngineNotFound",
    "Llama",
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaGrammar",
    "LlamaPromptLookupDecoding",
    "LlamaRAMCache",
    "LlamaState",
    "LoadCancelled",
    "LogitsProcessorList",
    "MemoryReport",
    "MemoryRow",
    "MinTokensLogitsProcessor",
    "Model",
    "ModelError",
    "MoeCache",
    "MoeCounts",
    "MoeLayer",
    "PannierError",
    "PlacementError",
    "PlacementReport",
    "PlanError",
    "Pool",
    "RequestError",
    "Routes",
    "Sampled",
    "Sampler",
    "SamplingParams",
    "Sequence",
    "SequenceMemory",
    "ServerError",
    "StepResult",
    "StoppingCriteriaList",
    "TensorRow",
    "TraceError",
    "devices",
    "install_as_llama_cpp",
]
