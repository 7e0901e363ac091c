"""pannier: big mixture-of-experts and hybrid models on small GPUs, on llama.cpp."""

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

__all__ = [
    "Adapter",
    "ArgumentError",
    "Batch",
    "CacheFull",
    "CellGroup",
    "ChatError",
    "ChatPrompt",
    "ClosedError",
    "Context",
    "ContextError",
    "ContextPlan",
    "ConvertError",
    "DecodeError",
    "Device",
    "DeviceMemory",
    "EngineError",
    "EngineNotFound",
    "LoadCancelled",
    "MemoryReport",
    "MemoryRow",
    "Model",
    "ModelError",
    "MoeCache",
    "MoeCounts",
    "MoeLayer",
    "PannierError",
    "PlacementError",
    "PlacementReport",
    "PlanError",
    "RequestError",
    "Routes",
    "Sampled",
    "SamplingParams",
    "Sequence",
    "SequenceMemory",
    "ServerError",
    "StepResult",
    "TensorRow",
    "TraceError",
    "devices",
]
