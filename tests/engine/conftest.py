"""A miniature llama.cpp and libpannier: the whole build in seconds, not minutes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pannier.native
import pannier.patches

ROOT_CMAKE = """\
cmake_minimum_required(VERSION 3.21)
project(llama.cpp C CXX)
foreach(name ggml-base ggml llama llama-common)
    add_library(${name} SHARED src/${name}.cpp)
endforeach()
target_compile_definitions(ggml INTERFACE GGML_USE_CPU GGML_SHARED)
set(tools llama-server llama-quantize llama-bench llama-perplexity llama-imatrix
    llama-batched-bench)
foreach(name ${tools})
    add_executable(${name} src/main.cpp)
endforeach()
"""
LIBRARY = "int number_of_{name}() {{ return 1; }}\n"
NATIVE = """\
#include "number.h"
extern "C" __attribute__((visibility("default"))) int pannier_number();
extern "C" int pannier_number() { return NUMBER; }
"""
PATCH = """\
Why: the test wants to see
  a difference.
Upstream: not submitted.
Test: this one.
Exit: never.

diff --git a/src/llama.cpp b/src/llama.cpp
--- a/src/llama.cpp
+++ b/src/llama.cpp
@@ -1 +1,2 @@
 int number_of_llama() { return 1; }
+int patched_llama() { return 2; }
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no choices in the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PANNIER_CACHE", str(folder))
    for name in ("PANNIER_ENGINE", "PANNIER_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A llama.cpp tree that builds in a second."""
    root = tmp_path / "tree"
    for folder in ("include", "ggml/src", "src", "common", "conversion", "models"):
        (root / folder).mkdir(parents=True)
    (root / "CMakeLists.txt").write_text(ROOT_CMAKE)
    (root / "include" / "llama.h").write_text("#pragma once\n")
    (root / "ggml" / "src" / "ggml-backend-impl.h").write_text("#pragma once\n")
    (root / "src" / "llama-context.h").write_text("#pragma once\n")
    (root / "src" / "llama-ext.h").write_text("#pragma once\n")
    (root / "conversion" / "base.py").write_text("KNOWN = ()\n")
    (root / "models" / "big.gguf").write_text("not read by a build\n")
    for name in ("ggml-base", "ggml", "llama", "llama-common"):
        text = LIBRARY.format(name=name.replace("-", "_"))
        (root / "src" / f"{name}.cpp").write_text(text)
    (root / "src" / "main.cpp").write_text("int main() { return 0; }\n")
    return root


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Native sources of one function, under the project's own CMakeLists.txt."""
    folder = tmp_path / "native"
    folder.mkdir()
    shutil.copy(Path(pannier.native.__path__[0], "CMakeLists.txt"), folder)
    (folder / "number.h").write_text("#define NUMBER 1\n")
    (folder / "number.cpp").write_text(NATIVE)
    monkeypatch.setattr(pannier.native, "__path__", [str(folder)])
    return folder


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A series of one patch for the miniature tree."""
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "series").write_text("# In order.\nsecond-number.patch\n")
    (folder / "second-number.patch").write_text(PATCH)
    monkeypatch.setattr(pannier.patches, "__path__", [str(folder)])
    return folder
