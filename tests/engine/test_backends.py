"""Which backend, why, and what is missing for a better one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pannier.engine import BuildOptions, backends, devices, toolchain
from pannier.engine.backends import KNOWN, Backend, choose_backend, cuda_architectures
from pannier.engine.recipe import cmake_definitions, make_recipe
from pannier.engine.toolchain import Missing, find_toolchain
from pannier.errors import ToolchainError


def machine(monkeypatch: pytest.MonkeyPatch, **cards: str | None) -> None:
    """Pretend that this machine has the cards given and no others."""
    for name, backend in KNOWN.items():
        if name != "cpu":
            card = cards.get(name)
            fake = Backend(name, lambda card=card: card, backend.missing)
            monkeypatch.setitem(KNOWN, name, fake)


def lacking(name: str) -> Callable[[BuildOptions], list[Missing]]:
    return lambda options: [Missing(name, name)]


def complete(options: BuildOptions) -> list[Missing]:
    return []


def test_without_a_card_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    choice = choose_backend()
    assert choice.backend == "cpu"
    assert len(choice.reasons) == 1


def test_the_best_that_can_be_built_wins_and_says_what_a_better_one_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KNOWN, "cuda", Backend("cuda", lambda: "a card", lacking("nvcc")))
    monkeypatch.setitem(KNOWN, "vulkan", Backend("vulkan", lambda: "a card", complete))
    monkeypatch.setitem(KNOWN, "hip", Backend("hip", lambda: None, complete))
    choice = choose_backend()
    assert choice.backend == "vulkan"
    assert "not cuda" in choice.reasons[1]
    assert "nvcc" in choice.reasons[1]


def test_cuda_compiles_for_the_cards_found_or_those_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "compute_capabilities", lambda: ("86", "90"))
    options = BuildOptions(backend="cuda")
    assert cuda_architectures(options) == ("86-real", "90-real")
    definitions = cmake_definitions(options)
    assert definitions["CMAKE_CUDA_ARCHITECTURES"] == "86-real;90-real"
    assert definitions["GGML_CUDA_FA_QUANTS"] == "all"
    given = BuildOptions(backend="cuda", cuda_architectures=("75",))
    assert cmake_definitions(given)["CMAKE_CUDA_ARCHITECTURES"] == "75"


def test_cuda_without_compiler_and_card_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "compute_capabilities", lambda: ())
    monkeypatch.setattr(backends, "find_nvcc", lambda: None)
    with pytest.raises(ToolchainError, match=r"nvcc.*nvidia-cuda-toolkit.*--cuda-architectures"):
        make_recipe(BuildOptions(backend="cuda"))


def test_cublas_is_looked_for_where_nvcc_links_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho '#$ LIBRARIES=  \"-L{tmp_path}/lib\"' >&2\n")
    nvcc.chmod(0o755)
    monkeypatch.setattr(backends, "find_nvcc", lambda: nvcc)
    monkeypatch.setattr(backends, "SYSTEM_LIBRARIES", ())
    options = BuildOptions(backend="cuda", cuda_architectures=("90",))
    (missing,) = KNOWN["cuda"].missing(options)
    assert "cuBLAS" in missing.what
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcublas.so").touch()
    assert not KNOWN["cuda"].missing(options)


def test_vulkan_names_each_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_header", lambda header: False)
    monkeypatch.setattr(backends, "which", lambda name: None)
    monkeypatch.setattr(toolchain.sys, "platform", "linux")
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    missing = " ".join(map(str, KNOWN["vulkan"].missing(BuildOptions(backend="vulkan"))))
    for package in ("libvulkan-dev", "glslc", "spirv-headers"):
        assert f"apt-get install {package}" in missing


def test_the_package_is_named_as_this_system_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Missing("a compiler", "g++", "gcc-c++", "llvm")
    monkeypatch.setattr(toolchain.sys, "platform", "darwin")
    assert str(missing) == "a compiler (brew install llvm)"
    monkeypatch.setattr(toolchain.sys, "platform", "linux")
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: "/usr/bin/dnf")
    assert str(missing) == "a compiler (dnf install gcc-c++)"


def test_a_header_is_asked_of_the_compiler() -> None:
    assert backends.has_header("vector")
    assert not backends.has_header("no/such/header.hpp")


def test_without_a_compiler_nothing_is_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolchainError, match=r"C\+\+ compiler.*g\+\+.*git"):
        make_recipe(BuildOptions(backend="cpu"))
    assert not cache.exists()


def test_cmake_and_ninja_are_there_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    cc, cxx = toolchain.find_compilers()
    monkeypatch.setattr(toolchain, "find_compilers", lambda: (cc, cxx))
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: "/git" if name == "git" else None)
    tools = find_toolchain()
    assert tools.cmake.is_file()
    assert tools.ninja.is_file()
    assert tools.ccache is None


def test_the_environment_s_compiler_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "my-g++"
    compiler.symlink_to(toolchain.find_compilers()[1] or "")
    monkeypatch.setenv("CXX", str(compiler))
    assert toolchain.find_compilers()[1] == compiler
