"""What routers chose: recorded, counted, and replayed through caches of experts."""

from .trace import Trace, TracedModel, Ubatch
from .trace_file import read_trace, write_trace

__all__ = ["Trace", "TracedModel", "Ubatch", "read_trace", "write_trace"]
