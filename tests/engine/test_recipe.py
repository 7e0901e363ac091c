"""What changes the key of an engine, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pannier.engine import BuildOptions
from pannier.engine import recipe as module
from pannier.engine.recipe import TOOLS, Recipe, make_recipe

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def plain(tree: Path, native: Path, series: Path) -> Recipe:
    return make_recipe(BuildOptions(backend="cpu", source=tree))


def test_the_same_things_give_the_same_key(plain: Recipe) -> None:
    assert make_recipe(plain.options).key == plain.key
    assert make_recipe(replace(plain.options, jobs=1)).key == plain.key


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "vulkan"},
        {"rpc": True},
        {"tools": True},
        {"unpatched": True},
        {"bench_patches": ("slower",)},
        {"sanitize": ("address",)},
        {"definitions": (("GGML_LTO", "ON"),)},
    ],
)
def test_another_choice_gives_another_key(
    plain: Recipe, series: Path, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    (series / "bench").mkdir()
    (series / "bench" / "slower.patch").write_text((series / "second-number.patch").read_text())
    monkeypatch.setattr(module.backends, "missing_for", lambda options: [])
    options = BuildOptions(**{**plain.options.__dict__, **change})
    assert make_recipe(options).key != plain.key


def test_every_input_file_counts(plain: Recipe, tree: Path, native: Path, series: Path) -> None:
    seen = {plain.key}
    for path in (
        tree / "src" / "llama.cpp",
        native / "number.h",
        native / "CMakeLists.txt",
        series / "second-number.patch",
    ):
        path.write_text(path.read_text() + "\n")
        seen.add(make_recipe(plain.options).key)
    assert len(seen) == 5
    (native / "more.cpp").touch()
    assert make_recipe(plain.options).key not in seen


def test_compiler_and_processor_count(plain: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    here = plain.key
    monkeypatch.setattr(module, "cpu_identity", lambda: "another processor")
    elsewhere = make_recipe(plain.options).key
    assert elsewhere != here
    monkeypatch.setattr(module, "version_of", lambda program: "another compiler")
    assert make_recipe(plain.options).key not in (here, elsewhere)


def test_backends_and_targets(plain: Recipe) -> None:
    assert plain.backends == ("cpu",)
    assert plain.targets == ("pannier",)
    rich = replace(plain, options=replace(plain.options, backend="vulkan", rpc=True, tools=True))
    assert rich.backends == ("vulkan", "cpu", "rpc")
    assert rich.targets == ("pannier", *TOOLS, "ggml-rpc-server")


def test_the_native_sources_are_listed_with_the_package() -> None:
    suffixes = {path.suffix for path in module.native_files(module.native_directory())}
    assert suffixes <= {".txt", ".h", ".cpp"}, "pyproject.toml's package-data lists these only"
