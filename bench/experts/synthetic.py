"""Models of `pannier synth`, made once and kept beside the benches' others."""

from __future__ import annotations

import subprocess
from pathlib import Path

from peer import pannier_command

from pannier.engine.cache import cache_directory


def ensure_synthetic(name: str, n_layers: int, folder: Path | None = None) -> Path:
    """The file of a model with so many layers."""
    folder = folder or cache_directory() / "bench-models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{n_layers}.gguf"
    if not path.is_file():
        options = ("synth", name, "--layers", str(n_layers), "-o", str(path))
        subprocess.run(pannier_command(*options), check=True)
    return path
