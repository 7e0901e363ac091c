"""The LoRA adapters of a server: what was loaded, and how strong each one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..modelfile import open_model_file
from ..modelfile.adapter import AdapterFile, open_adapter_file
from .errors import ApiError
from .messages import Adapters


def read_adapters(model: str, paths: Iterable[str]) -> tuple[AdapterFile, ...]:
    """Check the files. Raises `ModelError`."""
    paths = tuple(paths)
    files = [open_adapter_file(Path(path), open_model_file(model)) for path in paths]
    for file in files:
        if file.invocation_tokens:
            raise ModelError(
                f"{file.path}: it is an activated LoRA, which is not supported yet; leave it out"
            )
    return tuple(files)


class AdapterList:
    """Adapters by number, in the order in which they were given, and the scales that hold for
    requests that name none."""

    def __init__(self, files: Sequence[AdapterFile] = (), scales: Sequence[float] = ()) -> None:
        self._files = files
        self._scales = list(scales)

    @property
    def defaults(self) -> Adapters:
        """For a request that says nothing."""
        return tuple((id, scale) for id, scale in enumerate(self._scales) if scale)

    def chosen(self, scales: Mapping[int, float]) -> Adapters:
        """With these scales; adapters that are not named have none. Raises `ApiError`."""
        for id in scales:
            if id >= len(self._files):
                raise ApiError(self._unknown(id))
        return tuple((id, scale) for id, scale in sorted(scales.items()) if scale)

    def set(self, scales: Mapping[int, float]) -> None:
        """The scales of requests from now on. Raises `ApiError`."""
        chosen = dict(self.chosen(scales))
        self._scales = [chosen.get(id, 0.0) for id in range(len(self._files))]

    def _unknown(self, id: int) -> str:
        if not self._files:
            return f"Field 'lora': there is no adapter {id}; start the server with --lora"
        return f"Field 'lora': there is no adapter {id}; they are 0 to {len(self._files) - 1}"

    def rows(self) -> list[dict[str, Any]]:
        """One for each, as llama-server shows them."""
        return [
            {
                "id": id,
                "path": str(file.path),
                "scale": self._scales[id],
                "task_name": file.task_name,
                "prompt_prefix": file.prompt_prefix,
            }
            for id, file in enumerate(self._files)
        ]
