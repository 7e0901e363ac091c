"""The wheel: installed outside the checkout it has all that building an engine needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import pannier
from pannier.engine import BuildOptions
from pannier.engine.recipe import make_recipe
from pannier.errors import ToolchainError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("bindings", "convert", "patches", "server", "third_party")
FILES = ("pyproject.toml", "README.md", "LICENSE")
DATA = {
    "convert/demo": (
        ROOT / "convert" / "demo",
        ("pannier-demo.gguf", "questions.txt", "README.md"),
    ),
    "native": (ROOT / "bindings" / "native", ("*.h", "*.cpp", "CMakeLists.txt")),
    "patches": (ROOT / "patches", ("series", "*.patch")),
    "patches/bench": (ROOT / "patches" / "bench", ("*.patch",)),
    "server/page": (ROOT / "server" / "page", ("*.html", "*.css", "*.js", "*.svg")),
    "third_party": (ROOT / "third_party", ("LICENSE.llama.cpp",)),
}
KEY = """
from pannier.engine import BuildOptions
from pannier.engine.recipe import make_recipe
print(make_recipe(BuildOptions(backend="cpu")).key)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; dependencies are those of these tests."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip: install it to test the wheel")
    folder = tmp_path_factory.mktemp("package")
    checkout = copy_of_checkout(folder / "checkout")
    environment = folder / "venv"
    venv.create(environment, symlinks=True)
    # Appended to the path, its .pth files are not read: an editable pannier stays unseen.
    (site_packages(environment) / "dependencies.pth").write_text(
        "".join(f"{sysconfig.get_path(kind)}\n" for kind in ("purelib", "platlib"))
    )
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install"]
    isolation = ["--no-build-isolation"] if backend_is_here() else []
    run(*pip, "-q", "--no-deps", "--disable-pip-version-check", *isolation, checkout)
    return environment


def copy_of_checkout(to: Path) -> Path:
    """The files that make the wheel: building leaves others beside them."""
    to.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, to / name)
    return to


def backend_is_here() -> bool:
    """Whether this Python has the build backend that pyproject.toml asks for."""
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


def site_packages(environment: Path) -> Path:
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / python / "site-packages"


def run(*command: str | Path) -> str:
    """Run a program far from the checkout; return what it printed."""
    banned = ("PYTHONPATH", "PYTHONHOME")
    result = subprocess.run(
        command,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name not in banned},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        pytest.fail(f"{command}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def test_the_command_runs(installed: Path) -> None:
    said = run(installed / "bin" / "pannier", "--help")
    assert said.startswith("usage: pannier")
    assert "serve" in said


def test_it_is_the_wheel_that_runs(installed: Path) -> None:
    said = run(installed / "bin" / "python", "-c", "import pannier; print(pannier.__file__)")
    assert Path(said.strip()) == site_packages(installed) / "pannier" / "__init__.py"


def test_every_module_is_in_it(installed: Path) -> None:
    top = Path(pannier.__file__).parent
    here = {Path("pannier") / path.relative_to(top) for path in top.rglob("*.py")}
    for name in SOURCES[1:]:
        here |= {Path("pannier") / path.relative_to(ROOT) for path in (ROOT / name).rglob("*.py")}
    site = site_packages(installed)
    there = {path.relative_to(site) for path in (site / "pannier").rglob("*.py")}
    assert there == here


@pytest.mark.parametrize("package", DATA)
def test_data_is_in_it(installed: Path, package: str) -> None:
    source, patterns = DATA[package]
    target = site_packages(installed) / "pannier" / package
    paths = [path for pattern in patterns for path in source.glob(pattern)]
    assert len(paths) >= len(patterns)
    for path in paths:
        assert (target / path.name).read_bytes() == path.read_bytes()


def test_both_licences_are_beside_it(installed: Path) -> None:
    [folder] = site_packages(installed).glob("pannier-*.dist-info/licenses")
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"LICENSE", "LICENSE.llama.cpp"}


def test_it_is_typed(installed: Path) -> None:
    assert (site_packages(installed) / "pannier" / "py.typed").is_file()


def test_it_would_build_the_same_engine_as_the_checkout(installed: Path) -> None:
    """The key is a hash of the source's name, the patches and the native sources."""
    try:
        key = make_recipe(BuildOptions(backend="cpu")).key
    except ToolchainError as error:
        pytest.skip(str(error))
    assert run(installed / "bin" / "python", "-W", "error", "-c", KEY).strip() == key
