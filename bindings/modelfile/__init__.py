"""GGUF files, read and checked in Python before any native code sees them."""

from .header import TensorInfo
from .model_file import ModelFile, open_model_file

__all__ = ["ModelFile", "TensorInfo", "open_model_file"]
