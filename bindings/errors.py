"""Every exception that pannier raises on purpose.

PannierError
├── EngineError            the compiled engine: source, build, store, load
│   ├── SourceError        llama.cpp's source cannot be had or is not the pinned one
│   ├── PatchError         a patch of the series is missing, unlisted or does not apply
│   ├── ToolchainError     a compiler, header or tool is missing
│   ├── BuildError         the compiler failed
│   └── EngineNotFound     no engine that fits has been built
├── ModelError             the model file
│   └── LoadCancelled      the caller stopped the load
├── ArgumentError          a value outside its range, refused before the engine sees it
├── ContextError           the context, its sequences and its steps
│   ├── CacheFull          no free KV cells for the batch; memory is unchanged
│   ├── DecodeError        the engine failed inside a step
│   └── PlacementError     an op or a weight would not be where it was placed
├── ChatError              the chat template refused the messages
├── ClosedError            use of a model or context after close()
├── ConvertError           the checkpoint cannot be converted
├── PlanError              what is asked for does not fit
├── TraceError             a trace of routers cannot be read, written or recorded
├── RequestError           a request that can never run as asked
└── ServerError            the engine behind the server is not there
"""

from __future__ import annotations


class PannierError(Exception):
    """Root of pannier's exceptions. The message says what was wrong and what to do next."""


class EngineError(PannierError):
    """The compiled engine."""


class SourceError(EngineError):
    """llama.cpp's source cannot be had, or is not the pinned one."""


class PatchError(EngineError):
    """A patch of the series is missing, unlisted, or does not apply."""


class ToolchainError(EngineError):
    """A compiler, header or tool is missing; the message names the package to install."""


class BuildError(EngineError):
    """The compiler failed; the message ends with its last lines and names the log file."""


class EngineNotFound(EngineError):
    """No engine that fits has been built."""


class ModelError(PannierError, ValueError):
    """The model file is missing, damaged or not supported."""


class LoadCancelled(ModelError):
    """The progress callback stopped the load."""


class ArgumentError(PannierError, ValueError):
    """A value outside its range. Nothing has changed."""


class ContextError(PannierError, RuntimeError):
    """The context, its sequences and its steps."""


class CacheFull(ContextError):
    """No free KV cells for the batch. The memory is as it was before the step."""


class DecodeError(ContextError):
    """The engine failed inside a step. Every sequence of the batch was removed."""


class PlacementError(ContextError):
    """An op, a weight or a cache would not be where, or as, it was asked for. The message names
    each with its reason and what to do."""


class ChatError(PannierError):
    """The chat template refused the messages, or a message has the wrong shape."""


class ClosedError(PannierError):
    """Use of a model or context after `close()`."""


class ConvertError(PannierError):
    """The checkpoint cannot be converted."""


class PlanError(PannierError):
    """What is asked for does not fit; the message says by how much, and what would."""


class TraceError(PannierError):
    """A trace of routers that cannot be read, written or recorded."""


class RequestError(PannierError):
    """A request that can never run as asked."""


class ServerError(PannierError):
    """The engine behind the server is not there."""
