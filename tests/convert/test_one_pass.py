"""One pass gives what two steps give: upstream's conversion, then llama-quantize."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest

from pannier.convert import convert
from pannier.engine import Engine, source_tree

from .conftest import ALL_FAMILIES, DATA

pytestmark = pytest.mark.engine

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]

UPSTREAM = """
import runpy, sys
from pathlib import Path
script = Path(sys.argv[1])
sys.argv = sys.argv[1:]
sys.path[:0] = [str(script.parent), str(script.parent / "gguf-py")]
import conversion
from pannier.convert import collect
# what upstream's script cannot do without: tokenizers of its list, MTP tensors in Qwen3Next
collect.accept_unknown_tokenizers(conversion.TextModel, None)
model_class = conversion.get_model_class
def with_or_without_mtp(*args, **kwargs):
    found = model_class(*args, **kwargs)
    collect.drop_absent_mtp(found)
    return found
conversion.get_model_class = with_or_without_mtp
runpy.run_path(str(script), run_name="__main__")
"""


def tensors(path: Path) -> Tensors:
    """Type, shape and bytes of each tensor. Trailing dimensions of 1 are dropped: llama-quantize
    does not write them, upstream's conversion and pannier do."""
    found: Tensors = {}
    for tensor in gguf.GGUFReader(path).tensors:
        shape = [int(n) for n in tensor.shape]
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        found[tensor.name] = (tensor.tensor_type.name, tuple(shape), tensor.data.tobytes())
    return found


def two_steps(name: str, recipe: str, folder: Path, tools: Engine) -> Path:
    """Upstream's own script to F32, which loses nothing, then llama-quantize."""
    whole = folder / f"{name}.gguf"
    if not whole.exists():
        script = source_tree() / "convert_hf_to_gguf.py"
        options = [DATA / name, "--outfile", whole, "--outtype", "f32"]
        run([sys.executable, "-c", UPSTREAM, script, *options])
    out = folder / f"{name}-{recipe}.gguf"
    # gpt-oss is MXFP4 in its checkpoint: llama-quantize has to be told to leave that alone
    kept = ["--allow-requantize", "--tensor-type", r"_exps\.weight=mxfp4"]
    options = kept if name == "gpt_oss" else []
    libraries = {"LD_LIBRARY_PATH": str(tools.directory / "lib")}
    run([tools.directory / "bin" / "llama-quantize", *options, whole, out, recipe], **libraries)
    return out


def run(command: list[Any], **environment: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that upstream converts each checkpoint once."""
    return tmp_path_factory.mktemp("two_steps")


@pytest.mark.parametrize("recipe", ["Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_types_and_bytes_of_every_tensor(
    name: str, recipe: str, folder: Path, tmp_path: Path, tools_engine: Engine
) -> None:
    theirs = tensors(two_steps(name, recipe, folder, tools_engine))
    ours = tensors(convert(DATA / name, tmp_path / "m.gguf", quant=recipe, exact_recipe=True))
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == set()
    assert len({type for type, _, _ in ours.values()}) > 1
