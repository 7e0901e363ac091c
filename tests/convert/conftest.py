"""The tiny checkpoints of tests/data, copies of them that tests may break, and the engine that
runs what they are converted to."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
FAMILIES = ("qwen3next", "qwen3moe", "gemma3", "llama")
"""Those whose conversion lies beside them, as model-f32.gguf."""
MORE_FAMILIES = (
    "qwen3",
    "qwen35moe",
    "nemotron_h",
    "granitemoehybrid",
    "falcon_h1",
    "mamba2",
    "gpt_oss",
    "kimi_linear",
)
ALL_FAMILIES = FAMILIES + MORE_FAMILIES
_NOT_CHECKPOINT = shutil.ignore_patterns("*.gguf", "*.npz")


def to_f32_gguf(checkpoint: Path, folder: Path) -> Path:
    """Convert to a file in `folder`: float weights in F32, packed ones as they are packed."""
    from pannier.convert import convert

    return convert(checkpoint, folder / f"{checkpoint.name}-f32.gguf", quant="F32")


@dataclass(frozen=True)
class Reference:
    """What transformers computed from a tiny checkpoint: see tests/data/README.md."""

    prompt: list[int]
    logits: np.ndarray
    greedy: list[int]

    @classmethod
    def of(cls, name: str) -> Reference:
        file = np.load(DATA / name / "reference.npz")
        return cls(file["prompt"].tolist(), file["logits"], file["greedy"].tolist())


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over norm of what is expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@dataclass(frozen=True)
class Runner:
    """Runs GGUF files on the CPU engine, with nothing that costs precision: one thread, F32
    cache, no flash attention."""

    pannier: Any

    def __call__(
        self, path: Path, prompt: list[int], n_greedy: int = 0
    ) -> tuple[np.ndarray, list[int]]:
        """Logits after every token of the prompt, [n_tokens, n_vocab], and what follows."""
        with (
            self.pannier.Model(path) as model,
            model.context(
                n_ctx=256,
                n_outputs_max=16,
                n_threads=1,
                type_k="f32",
                type_v="f32",
                flash_attn="off",
            ) as context,
        ):
            rows: list[np.ndarray] = []
            for start in range(0, len(prompt), 16):
                batch = self.pannier.Batch()
                batch.add(0, prompt[start : start + 16], logits=True)
                context.step(batch)
                rows += [context.logits(row) for row in range(len(batch))]
            context.sequence(0).clear()
            context.set_sampler(0, self.pannier.SamplingParams.greedy())
            tokens, feed = [], prompt
            for _ in range(n_greedy):
                batch = self.pannier.Batch()
                batch.add(0, feed, sample=True)
                feed = [context.step(batch).sampled[0].token]
                tokens += feed
        return np.stack(rows), tokens


def unpacked(path: Path) -> Path:
    """A copy, beside `path`, in which every tensor is in F32.

    An NVFP4 tensor's own scale, which llama.cpp multiplies results by, is multiplied in.
    """
    reader = gguf.GGUFReader(path)
    fields = dict(reader.fields)
    out = path.with_name(f"{path.stem}-unpacked.gguf")
    writer = gguf.GGUFWriter(out, fields.pop("general.architecture").contents())
    for name, field in fields.items():
        if not name.startswith("GGUF."):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    for name, tensor in unpacked_tensors(reader).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def unpacked_tensors(reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    """The file's tensors as float32, without those that scale an NVFP4 one."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    unpacked = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        weight = tensors.get(f"{stem}.weight")
        is_packed = weight is not None and weight.tensor_type.name == "NVFP4"
        if is_packed and kind in ("scale", "input_scale"):
            continue
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if is_packed and f"{stem}.scale" in tensors:
            scale = tensors[f"{stem}.scale"].data
            values = values * scale.reshape(-1, *(1,) * (values.ndim - 1))
        unpacked[name] = values.astype(np.float32)
    return unpacked


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the tiny checkpoints. Read only."""
    return DATA


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """tests/data/make_checkpoints.py, which knows how transformers runs a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DATA))
        torch = pytest.importorskip("torch", reason="needs torch")
        pytest.importorskip("transformers", reason="needs transformers")
        torch.set_num_threads(1)
        return importlib.import_module("make_checkpoints")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Runner:
    """The CPU engine, or the one that PANNIER_ENGINE names."""
    import pannier
    from pannier import _ffi

    if "PANNIER_ENGINE" in os.environ:
        _ffi.library()
    else:
        _ffi.load(request.getfixturevalue("cpu_engine").library)
    return Runner(pannier)


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The GGUF file of a tiny checkpoint, converted once."""
    folder = tmp_path_factory.mktemp("converted")
    files: dict[str, Path] = {}

    def convert_once(name: str) -> Path:
        if name not in files:
            files[name] = to_f32_gguf(DATA / name, folder)
        return files[name]

    return convert_once


@pytest.fixture
def qwen3moe(tmp_path: Path) -> Path:
    """A copy of the tiny Qwen3Moe checkpoint."""
    return _copy("qwen3moe", tmp_path)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A copy of the tiny Llama checkpoint."""
    return _copy("llama", tmp_path)


def _copy(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(DATA / name, folder / name, ignore=_NOT_CHECKPOINT))
