"""The models that `pannier synth` makes: shapes and metadata of published ones.

Where the numbers are from, and what of them is from memory:

- qwen3-coder-next: Qwen3-Next-80B-A3B's shape, the defaults of `Qwen3NextConfig` in Hugging Face
  transformers; that Qwen3-Coder-Next has the same, its 262,144 tokens of context, its
  `intermediate_size` of 5,120 and its rope base of 5,000,000 are from memory of its config.json
  and from logs of llama.cpp that people posted.
- nemotron-3-nano: NVIDIA/Megatron-LM, `examples/post_training/modelopt/conf/nvidia/
  NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.sh`, for the pattern, the width, heads and experts; the
  mixer's state of 128 in 8 groups and kernel of 4 are Megatron's defaults and not repeated there.
  Vocabulary and context are from memory of the model card, rope from logs of llama.cpp.
- kimi-linear: the defaults of `KimiLinearConfig` in transformers, made for
  moonshotai/Kimi-Linear-48B-A3B, for all but the layers of latent attention (4, 8, .. 24 and 27,
  counted from 1), which are from memory of its config.json.
- qwen3.6-35b-a3b: the defaults of `Qwen3_5MoeTextConfig` in transformers, made for
  Qwen/Qwen3.5-35B-A3B; that Qwen3.6 has the same, with 262,144 tokens of context and a rope base
  of 10,000,000, is from logs of llama.cpp. Its block for multi-token prediction, which some
  published files have as a 41st layer, is left out.
- gpt-oss-120b: the defaults of `GptOssConfig` in transformers, which are the 120B's; types and
  number of tensors are those of the published MXFP4 file in logs of llama.cpp.

The tokens themselves, the pre-tokenizer and the chat template are made up: only the number of
tokens is the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..convert.byte_vocabulary import vocabulary_of
from ..convert.random_gguf import Qwen3NextSpec, RandomSpec
from ..convert.random_gpt_oss import GptOssSpec
from ..convert.random_hybrid import KimiLinearSpec, NemotronHSpec, Qwen35MoeSpec
from ..errors import ArgumentError

NEMOTRON_PATTERN = "MEMEM*" + 4 * "EMEMEM*" + "EMEMEMEM*" + "EMEMEMEME"
KIMI_LATENT = (3, 7, 11, 15, 19, 23, 26)

Kind = TypeVar("Kind", bound=Hashable)


@dataclass(frozen=True)
class SynthModel:
    """A model that can be made."""

    title: str
    n_layer: int
    make: Callable[[int, dict[str, Any]], RandomSpec]
    """The spec of so many layers, given what all specs have."""
    n_kinds: int
    """Kinds of layers, of which a cut keeps one each."""
    published_weights: float
    recipe: str = "Q4_K_M"


def spec_of(name: str, n_layer: int | None = None, type: str = "Q4_0") -> RandomSpec:
    """Sizes of a model of MODELS, whole or cut to its first layers.

    Where a kind of layer is not among the first `n_layer`, the last ones become such. `type` is
    that of all matrices if nobody says otherwise (`types.py`).

    Raises ArgumentError for an unknown name, and for more layers than there are or fewer than
    there are kinds.
    """
    if name not in MODELS:
        raise ArgumentError(f"no model {name!r} to make; there are {', '.join(MODELS)}")
    model = MODELS[name]
    n = model.n_layer if n_layer is None else n_layer
    if not model.n_kinds <= n <= model.n_layer:
        raise ArgumentError(
            f"{n} layers of {name}: it has {model.n_layer}, of {model.n_kinds} kinds; "
            f"--layers takes {model.n_kinds} to {model.n_layer}"
        )
    cut = "" if n == model.n_layer else f", {n} of {model.n_layer} layers"
    common = {
        "name": f"{model.title}, random weights{cut}",
        "n_layer": n,
        "type": type,
        "shared_in_f32": False,
    }
    return model.make(n, common)


def first_layers(kinds: Sequence[Kind], n: int) -> list[Kind]:
    """The first `n` kinds of layers, the last of them replaced by the kinds that are missing."""
    missing = [kind for kind in dict.fromkeys(kinds) if kind not in kinds[:n]]
    return [*kinds[: n - len(missing)], *missing]


def _qwen3_coder_next(n: int, common: dict[str, Any]) -> Qwen3NextSpec:
    """36 layers of gated delta net, 12 of attention, 512 experts in each."""
    return Qwen3NextSpec(
        **common,
        n_embd=2048,
        n_head=16,
        n_head_kv=2,
        head_dim=256,
        ssm_head_dim=128,
        ssm_k_heads=16,
        ssm_v_heads=32,
        n_expert=512,
        n_expert_used=10,
        n_ff_exp=512,
        full_attention_interval=min(4, n),
        vocabulary=vocabulary_of(151936),
        n_ctx_train=262144,
        metadata={"feed_forward_length": 5120, "rope.freq_base": 5e6},
    )


def _qwen36_35b_a3b(n: int, common: dict[str, Any]) -> Qwen35MoeSpec:
    """30 layers of gated delta net, 10 of attention, 256 experts in each."""
    return Qwen35MoeSpec(
        **common,
        n_embd=2048,
        n_head=16,
        n_head_kv=2,
        head_dim=256,
        ssm_head_dim=128,
        ssm_k_heads=16,
        ssm_v_heads=32,
        n_expert=256,
        n_expert_used=8,
        n_ff_exp=512,
        full_attention_interval=min(4, n),
        vocabulary=vocabulary_of(248320),
        n_ctx_train=262144,
    )


def _nemotron_3_nano(n: int, common: dict[str, Any]) -> NemotronHSpec:
    """23 mixers, 23 layers of experts, 6 of attention."""
    return NemotronHSpec(
        **common,
        n_embd=2688,
        pattern="".join(first_layers(NEMOTRON_PATTERN, n)),
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
        metadata={
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.dimension_count": 84,
            "rope.freq_base": 10000.0,
            "rope.scaling.finetuned": False,
            "expert_group_count": 1,
            "expert_group_used_count": 1,
            "vocab_size": 131072,
        },
    )


def _kimi_linear(n: int, common: dict[str, Any]) -> KimiLinearSpec:
    """20 layers of delta attention, 7 of latent attention; the first without experts."""
    kinds = first_layers([(i in KIMI_LATENT, i == 0) for i in range(27)], n)
    return KimiLinearSpec(
        **common,
        n_embd=2304,
        full_attention=tuple(i for i, (latent, _) in enumerate(kinds) if latent),
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
        metadata={"expert_group_used_count": 1, "vocab_size": 163840},
    )


def _gpt_oss_120b(n: int, common: dict[str, Any]) -> GptOssSpec:
    """18 layers with a window of 128 tokens, 18 without, 128 experts in each."""
    return GptOssSpec(
        **common,
        n_embd=2880,
        n_head=64,
        n_head_kv=8,
        head_dim=64,
        n_swa=128,
        n_expert=128,
        n_expert_used=4,
        n_ff_exp=2880,
        vocabulary=vocabulary_of(201088),
        n_ctx_train=131072,
    )


MODELS = {
    "qwen3-coder-next": SynthModel("Qwen3-Coder-Next-80B-A3B", 48, _qwen3_coder_next, 2, 79.67e9),
    "nemotron-3-nano": SynthModel("Nemotron-3-Nano-30B-A3B", 52, _nemotron_3_nano, 3, 31.58e9),
    "kimi-linear": SynthModel("Kimi-Linear-48B-A3B", 27, _kimi_linear, 3, 49.12e9),
    "qwen3.6-35b-a3b": SynthModel("Qwen3.6-35B-A3B", 40, _qwen36_35b_a3b, 2, 34.66e9),
    "gpt-oss-120b": SynthModel("gpt-oss-120b", 36, _gpt_oss_120b, 2, 116.83e9, recipe="MXFP4_MOE"),
}
"""By the names that `pannier synth` takes. Weights as llama.cpp counts them in published files."""
