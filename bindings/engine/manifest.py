"""What is written beside an engine's libraries: what went in, and what came out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .archive import file_sha256
from .options import BuildOptions
from .recipe import Recipe

FILE_NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class FileRecord:
    """One file of an engine."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One engine's record."""

    key: str
    backends: tuple[str, ...]
    built_at: str
    """UTC, ISO 8601."""
    options: BuildOptions
    ingredients: dict[str, Any]
    preload: tuple[str, ...]
    """Libraries that must be in the process before this engine's (LD_PRELOAD): a sanitiser's."""
    files: dict[str, FileRecord]
    """By path relative to the engine's folder."""

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(record.size_bytes for record in self.files.values())

    @property
    def source(self) -> str:
        """Identity of the llama.cpp source."""
        return str(self.ingredients["source"])


def make_manifest(recipe: Recipe, directory: Path, preload: Iterable[str]) -> Manifest:
    """Record the engine whose files lie in `directory`."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return Manifest(
        key=recipe.key,
        backends=recipe.backends,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        options=recipe.options,
        ingredients=recipe.ingredients,
        preload=tuple(preload),
        files={path.relative_to(directory).as_posix(): _record(path) for path in files},
    )


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write `manifest.json` into an engine's folder."""
    values = {
        "format": FORMAT,
        "key": manifest.key,
        "backends": list(manifest.backends),
        "built_at": manifest.built_at,
        "options": manifest.options.as_dict(),
        "ingredients": manifest.ingredients,
        "preload": list(manifest.preload),
        "files": {name: asdict(record) for name, record in manifest.files.items()},
    }
    (directory / FILE_NAME).write_text(json.dumps(values, indent=2) + "\n")


def read_manifest(directory: Path) -> Manifest:
    """Read an engine's record. Raises EngineError when there is none or it is not understood."""
    path = directory / FILE_NAME
    try:
        values = json.loads(path.read_text())
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}, expected {FORMAT}")
        return Manifest(
            key=values["key"],
            backends=tuple(values["backends"]),
            built_at=values["built_at"],
            options=BuildOptions.from_dict(values["options"]),
            ingredients=values["ingredients"],
            preload=tuple(values["preload"]),
            files={name: FileRecord(**record) for name, record in values["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"no engine in {directory}: cannot read {path}: {error}") from None


def damaged_files(manifest: Manifest, directory: Path) -> list[str]:
    """The recorded files that are gone or changed, each with what is wrong."""
    found = []
    for name, record in manifest.files.items():
        path = directory / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != record.size_bytes or file_sha256(path) != record.sha256:
            found.append(f"{name} has changed")
    return found


def _record(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, file_sha256(path))
