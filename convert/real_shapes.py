"""Headers of real models at their real sizes, without a weight: files to plan with.

    python -m pannier.convert.real_shapes [--out DIR] [--type Q4_0] [NAME ...]

A file is as long as the model, and takes a few megabytes of disk: where the weights would be is a
hole. Every matrix has the one type that is asked for, which a published file may mix.

Where the numbers are from, and what of them is not sure:

- nemotron-3-nano: NVIDIA/Megatron-LM, `examples/post_training/modelopt/conf/nvidia/
  NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.sh`, for the pattern, the width, heads and experts; the
  mixer's state of 128 in 8 groups and kernel of 4 are Megatron's defaults and not repeated there.
  The vocabulary of 131,072 and the context of 1,048,576 tokens are from the model card, by memory.
- qwen3-next: config.json of Qwen/Qwen3-Next-80B-A3B-Instruct, by memory; the parameters add up to
  its 80 billion. 262,144 tokens are its own context; 1,048,576 need YaRN.
- kimi-linear: the defaults of `KimiLinearConfig` in Hugging Face transformers, made for
  moonshotai/Kimi-Linear-48B-A3B-Base, for all but the layers of latent attention (4, 8, .. 24 and
  27, counted from 1) and the delta heads of 128, which are from its config.json, by memory.

The tokens themselves are made up: only their number counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .byte_vocabulary import vocabulary_of
from .random_gguf import Qwen3NextSpec, RandomSpec, write_header
from .random_hybrid import KimiLinearSpec, NemotronHSpec

NEMOTRON_PATTERN = "MEMEM*" + 4 * "EMEMEM*" + "EMEMEMEM*" + "EMEMEMEME"


def nemotron_3_nano(type: str) -> NemotronHSpec:
    """NVIDIA-Nemotron-3-Nano-30B-A3B: 23 mixers, 23 layers of experts, 6 of attention."""
    return NemotronHSpec(
        name="Nemotron-3-Nano-30B-A3B, header only",
        type=type,
        shared_in_f32=False,
        n_embd=2688,
        n_layer=len(NEMOTRON_PATTERN),
        pattern=NEMOTRON_PATTERN,
        n_head=32,
        n_head_kv=2,
        head_dim=128,
        ssm_heads=64,
        ssm_head_dim=64,
        ssm_state=128,
        ssm_groups=8,
        n_expert=128,
        n_expert_used=6,
        n_ff_exp=1856,
        n_ff_shared=3712,
        vocabulary=vocabulary_of(131072),
        n_ctx_train=1048576,
    )


def qwen3_next(type: str) -> Qwen3NextSpec:
    """Qwen3-Next-80B-A3B: 36 layers of gated delta net, 12 of attention, 512 experts in each."""
    return Qwen3NextSpec(
        name="Qwen3-Next-80B-A3B, header only",
        type=type,
        shared_in_f32=False,
        n_embd=2048,
        n_layer=48,
        n_head=16,
        n_head_kv=2,
        head_dim=256,
        ssm_head_dim=128,
        ssm_k_heads=16,
        ssm_v_heads=32,
        n_expert=512,
        n_expert_used=10,
        n_ff_exp=512,
        vocabulary=vocabulary_of(151936),
        n_ctx_train=262144,
    )


def kimi_linear(type: str) -> KimiLinearSpec:
    """Kimi-Linear-48B-A3B: 20 layers of delta attention, 7 of latent attention."""
    return KimiLinearSpec(
        name="Kimi-Linear-48B-A3B, header only",
        type=type,
        shared_in_f32=False,
        n_embd=2304,
        n_layer=27,
        full_attention=(3, 7, 11, 15, 19, 23, 26),
        n_head=32,
        n_head_kv=1,
        head_dim=128,
        kda_head_dim=128,
        n_lora_kv=512,
        n_rope=64,
        n_ff=9216,
        n_expert=256,
        n_expert_used=8,
        n_ff_exp=1024,
        vocabulary=vocabulary_of(163840),
        n_ctx_train=1048576,
    )


SPECS = {
    "nemotron-3-nano": nemotron_3_nano,
    "qwen3-next": qwen3_next,
    "kimi-linear": kimi_linear,
}


def spec_of(name: str, type: str = "Q4_0") -> RandomSpec:
    """The shape of a model, one of SPECS."""
    return SPECS[name](type)


def main() -> None:
    """Write the files and print their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SPECS))
    parser.add_argument("--out", type=Path, default=Path(), help="folder (default: this one)")
    parser.add_argument("--type", default="Q4_0", choices=("F16", "Q8_0", "Q4_0"))
    args = parser.parse_args()
    for name in args.names or SPECS:
        spec = spec_of(name, args.type)
        path = write_header(args.out / f"{name}-{args.type.lower()}.gguf", spec)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
