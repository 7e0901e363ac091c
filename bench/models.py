"""The random-weight models that the benches run: made here, kept in a cache folder.

    python bench/models.py [--out DIR] [--quantize PATH/TO/llama-quantize] [NAME ...]

"large" and "small" have Qwen3Next's architecture. The large one stands for a model whose weights
dominate a step, the small one for a step in which everything else does. "dense" and "window" have
attention in every layer: Qwen3's, and Gemma3's with sliding windows. "states" is for memory,
"experts" for places of experts.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pannier.convert import byte_vocabulary, random_dense, random_gguf
from pannier.convert.byte_vocabulary import vocabulary_of
from pannier.convert.random_dense import Gemma3Spec, Qwen3Spec
from pannier.convert.random_gguf import Qwen3NextSpec, RandomSpec, write_random
from pannier.engine import BuildOptions, ensure_engine
from pannier.engine.cache import cache_directory


@dataclass(frozen=True)
class BenchModel:
    """A model of the benches: its shape, and the type that llama-quantize gives it, if any."""

    file: str
    spec: RandomSpec
    quant: str | None = None

    @property
    def key(self) -> str:
        """Tells files of an older shape, or from other code, from this one's."""
        modules = (random_gguf, random_dense, byte_vocabulary)
        made_by = [Path(module.__file__).read_bytes() for module in modules]
        return sha256(b"".join([repr(self).encode(), *made_by])).hexdigest()


def large() -> BenchModel:
    """332 million weights, 68 million of them at work for a token: 12 layers, 3 of them full
    attention, 64 experts of which 8 are used."""
    spec = Qwen3NextSpec(
        name="pannier bench, 332M random weights",
        n_embd=512,
        n_layer=12,
        n_head=2,
        n_head_kv=1,
        head_dim=256,
        ssm_head_dim=128,
        ssm_k_heads=1,
        ssm_v_heads=2,
        n_expert=64,
        n_expert_used=8,
        n_ff_exp=256,
        vocabulary=vocabulary_of(32768),
        tied=True,
    )
    return BenchModel("qwen3next-332m-q4_k_m.gguf", spec, "Q4_K_M")


def small() -> BenchModel:
    """2 million weights: 4 layers, one of them full attention, 16 experts of which 4 are used.
    Q8_0, since its rows are too short for the K types."""
    spec = Qwen3NextSpec(
        name="pannier bench, 2M random weights",
        n_embd=128,
        n_layer=4,
        n_head=2,
        n_head_kv=1,
        head_dim=64,
        ssm_head_dim=32,
        ssm_k_heads=2,
        ssm_v_heads=4,
        n_expert=16,
        n_expert_used=4,
        n_ff_exp=32,
        vocabulary=vocabulary_of(8192),
        tied=True,
        type="Q8_0",
    )
    return BenchModel("qwen3next-2m.gguf", spec)


def dense() -> BenchModel:
    """134 million weights: 12 layers of full attention with 8 query and 2 key heads."""
    spec = Qwen3Spec(
        name="pannier bench, 134M random weights, attention only",
        n_embd=768,
        n_layer=12,
        n_head=8,
        n_head_kv=2,
        head_dim=128,
        n_ff=3072,
        vocabulary=vocabulary_of(32768),
        tied=True,
    )
    return BenchModel("qwen3-134m-q4_k_m.gguf", spec, "Q4_K_M")


def window() -> BenchModel:
    """Like "dense", but five layers of six see a window of 512 tokens."""
    spec = Gemma3Spec(
        name="pannier bench, 134M random weights, sliding windows",
        n_embd=768,
        n_layer=12,
        n_head=8,
        n_head_kv=2,
        head_dim=128,
        n_ff=3072,
        n_swa=512,
        vocabulary=vocabulary_of(32768),
        tied=True,
    )
    return BenchModel("gemma3-134m-q4_k_m.gguf", spec, "Q4_K_M")


def states() -> BenchModel:
    """30 million weights, and clients of 10 MiB and 24 KiB for a token: 48 layers, 12 of them full
    attention, as in Qwen3-Next."""
    spec = Qwen3NextSpec(
        name="pannier bench, large states",
        n_embd=128,
        n_layer=48,
        n_head=2,
        n_head_kv=2,
        head_dim=256,
        ssm_head_dim=64,
        ssm_k_heads=8,
        ssm_v_heads=16,
        n_expert=4,
        n_expert_used=2,
        n_ff_exp=32,
        vocabulary=vocabulary_of(1024),
        tied=True,
        type="Q8_0",
    )
    return BenchModel("qwen3next-states.gguf", spec)


def experts() -> BenchModel:
    """57 million weights, 50 million of them experts: 8 layers of 64, of which 4 are used. Small
    enough for a software driver, and nearly all of it experts."""
    spec = Qwen3NextSpec(
        name="pannier bench, many experts",
        n_embd=256,
        n_layer=8,
        n_head=2,
        n_head_kv=1,
        head_dim=64,
        ssm_head_dim=32,
        ssm_k_heads=2,
        ssm_v_heads=4,
        n_expert=64,
        n_expert_used=4,
        n_ff_exp=128,
        vocabulary=vocabulary_of(8192),
        tied=True,
        type="Q8_0",
    )
    return BenchModel("qwen3next-experts.gguf", spec)


MODELS = {
    "large": large,
    "small": small,
    "dense": dense,
    "window": window,
    "states": states,
    "experts": experts,
}


def ensure_model(name: str, folder: Path | None = None, quantize: Path | None = None) -> Path:
    """The GGUF of the model `name`, one of MODELS, made if it is not there.

    folder: where it is kept; default the user's cache. quantize: llama-quantize for those
    that need it; default that of an engine with tools, built if need be.
    """
    model = MODELS[name]()
    folder = folder or cache_directory() / "bench-models"
    folder.mkdir(parents=True, exist_ok=True)
    path, stamp = folder / model.file, folder / f"{model.file}.stamp"
    if path.is_file() and stamp.is_file() and stamp.read_text() == model.key:
        return path
    if model.quant is None:
        write_random(path, model.spec)
    else:
        write_quantized(path, model, quantize or default_quantize())
    stamp.write_text(model.key)
    return path


def write_quantized(path: Path, model: BenchModel, quantize: Path) -> None:
    """Write the model in F16, have llama-quantize make the rest, and keep only its result."""
    full, part = path.with_suffix(".f16.part"), path.with_suffix(".part")
    try:
        write_random(full, model.spec)
        command = [str(quantize), str(full), str(part), str(model.quant)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        part.replace(path)
    finally:
        full.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def default_quantize() -> Path:
    """llama-quantize of an unpatched engine with tools, built on first use."""
    engine = ensure_engine(BuildOptions(backend="cpu", tools=True, unpatched=True))
    assert engine.tools is not None
    return engine.tools / "llama-quantize"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=list(MODELS), metavar="NAME", help=", ".join(MODELS)
    )
    parser.add_argument("--out", type=Path, help="folder to keep them in (default: user cache)")
    parser.add_argument("--quantize", type=Path, help="llama-quantize (default: an engine's own)")
    args = parser.parse_args()
    for name in args.names:
        print(ensure_model(name, args.out, args.quantize))


if __name__ == "__main__":
    main()
