"""The code keeps its own rules: ruff, mypy, and imports that cannot hit the working directory."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "pannier": "bindings",
    "pannier.convert": "convert",
    "pannier.patches": "patches",
    "pannier.server": "server",
    "pannier.third_party": "third_party",
}
"""Top folders by package, as in pyproject.toml."""


def sources() -> list[Path]:
    """Our Python files."""
    tops = (*PACKAGES.values(), "tests", "bench")
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a tool; fail the test with what it says."""
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.fail(result.stdout + result.stderr)


def test_ruff_check() -> None:
    run("ruff", "check", "--no-cache", ".")


def test_ruff_format() -> None:
    run("ruff", "format", "--no-cache", "--check", ".")


def test_mypy(tmp_path: Path) -> None:
    """mypy cannot see through `package-dir`: it gets the packages as they are installed."""
    package = tmp_path / "pannier"
    package.mkdir()
    for entry in (ROOT / PACKAGES["pannier"]).iterdir():
        (package / entry.name).symlink_to(entry)
    for name, folder in PACKAGES.items():
        if name != "pannier":
            (package / name.removeprefix("pannier.")).symlink_to(ROOT / folder)
    config = ("--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache")
    run("mypy", *config, "-p", "pannier", cwd=tmp_path)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_of_a_top_folder_by_its_bare_name(path: Path) -> None:
    """`import server` would import from the working directory by accident."""
    banned = set(PACKAGES.values())
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        bare = {name.split(".")[0] for name in names} & banned
        assert not bare, f"line {node.lineno}: import pannier's packages by their full name"
