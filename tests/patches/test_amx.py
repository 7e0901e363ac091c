"""The AMX patches: prompts over quantised weights, on a processor with AMX."""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from pannier.engine.toolchain import find_toolchain
from tests.conftest import engine_environment, run_python

CPU = Path("/proc/cpuinfo")
SOURCE = Path(__file__).parents[1] / "data" / "llama" / "model-f32.gguf"  # rows of 32, 64 and 128
CODE = """
import json, sys
import pannier

n_tokens = int(sys.argv[2])
with pannier.Model(sys.argv[1]) as model:
    with model.context(n_ctx=256, n_outputs_max=n_tokens, n_threads=2) as context:
        batch = pannier.Batch()
        batch.add(0, list(range(40, 40 + n_tokens)), logits=True)
        context.step(batch)
        print(json.dumps(context.logits(n_tokens - 1).tolist()))
"""

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not CPU.exists() or "amx_int8" not in CPU.read_text(), reason="needs a processor with AMX"
    ),
]


def write(path: Path, quantized: bool) -> Path:
    """The tiny model with its matrices rounded to Q8_0: as such, or as floats again."""
    reader = gguf.GGUFReader(SOURCE)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    for tensor in reader.tensors:
        data = tensor.data if len(tensor.shape) == 1 else gguf.quantize(tensor.data, q8_0)
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, data)
        elif quantized:
            writer.add_tensor(tensor.name, data, raw_dtype=q8_0)
        else:
            writer.add_tensor(tensor.name, gguf.dequantize(data, q8_0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(engine, path: Path, n_tokens: int) -> np.ndarray:
    return np.array(json.loads(run_python(engine, CODE, str(path), str(n_tokens))))


@pytest.mark.parametrize("n_tokens", [2, 31, 32, 48])  # a tile has 32 tokens
def test_prompts_with_the_patches(cpu_engine, tmp_path, n_tokens):
    found = logits(cpu_engine, write(tmp_path / "q8.gguf", True), n_tokens)
    expected = logits(cpu_engine, write(tmp_path / "f32.gguf", False), n_tokens)
    # Activations are rounded to 8 bits, too: 0.12 at 32 tokens. A wrong tile gives 1.2.
    assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)


def test_a_prompt_dies_without_the_patches(unpatched_engine, tmp_path):
    answer = subprocess.run(
        [find_toolchain().cxx, "-print-file-name=include"],
        capture_output=True,
        text=True,
        check=True,
    )
    header = Path(answer.stdout.strip()) / "amxtileintrin.h"
    if not header.exists() or r"ldtilecfg\t%X0" not in header.read_text():
        pytest.skip("this compiler knows that _tile_loadconfig reads 64 bytes")
    result = subprocess.run(
        [sys.executable, "-c", CODE, write(tmp_path / "q8.gguf", True), "2"],
        env=engine_environment(unpatched_engine),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert result.returncode < 0


DEMO = Path(__file__).parents[2] / "convert" / "demo" / "pannier-demo.gguf"
SEQUENCES = """
import json, sys
import numpy as np
import pannier

tokens = [100 + 7 * i for i in range(20)]
with pannier.Model(sys.argv[1]) as model:
    rows = {}
    for n in (1, 12):
        with model.context(n_ctx=1024, n_parallel=n, n_outputs_max=20 * n, n_threads=2) as context:
            batch = pannier.Batch()
            for seq_id in range(n):
                batch.add(seq_id, tokens, logits=True)
            context.step(batch)
            rows[n] = [context.logits(20 * i + 19) for i in range(n)]
    [alone] = rows[1]
    differences = [np.linalg.norm(row - alone) / np.linalg.norm(alone) for row in rows[12]]
    print(json.dumps([float(difference) for difference in differences]))
"""


def test_sequences_of_a_quantised_hybrid_say_what_each_says_alone(cpu_engine):
    """Twelve of them: without the patch the process dies."""
    differences = json.loads(run_python(cpu_engine, SEQUENCES, str(DEMO)))
    assert len(differences) == 12
    assert max(differences) < 0.05  # the noise of 8-bit activations; wrong products are above 0.3
