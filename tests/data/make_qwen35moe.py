"""Make qwen35moe-rollback.gguf: a tiny Qwen3.5-MoE with random weights, in f32.

    python tests/data/make_qwen35moe.py LLAMA_CPP_SOURCE [OUT.gguf]

Qwen3.5 is the family whose recurrent state llama.cpp can roll back, which is what
the tests of `shared-sequence-state` need: three gated delta net layers and one of
attention. The weights are scaled so that the state outlives the few tokens of a test:
with transformers' own initialisation it decays within a token or two, and a wrong
state would hardly show. `LLAMA_CPP_SOURCE` is the pinned tree (`pannier patch unpack DIR`).
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig

OUT = Path(__file__).resolve().parent / "qwen35moe-rollback.gguf"
SEED = 35
END = "<|endoftext|>"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte and a single merge, which llama.cpp's loader insists on."""
    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    tokenizer = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(vocabulary)}, [("t", "h")])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def config(n_vocab: int) -> Qwen3_5MoeTextConfig:
    return Qwen3_5MoeTextConfig(
        vocab_size=n_vocab,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.25,
            "mrope_section": [2, 1, 1],
        },
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        num_experts=4,
        num_experts_per_tok=2,
    )


def randomise(model: torch.nn.Module) -> None:
    """Weights that keep activations near one and states alive for some dozens of tokens."""
    torch.manual_seed(SEED)
    for name, weight in model.named_parameters():
        if name.endswith("A_log"):
            weight.data.uniform_(-4.0, -2.0)
        elif name.endswith("dt_bias"):
            weight.data.uniform_(-2.0, 0.0)
        elif "norm" in name:
            continue
        elif name.endswith("embed_tokens.weight"):
            weight.data.normal_(0.0, 1.0)
        else:
            weight.data.normal_(0.0, weight.shape[-1] ** -0.5)


def write_checkpoint(folder: Path) -> None:
    tokenizer = byte_tokenizer()
    model = Qwen3_5MoeForCausalLM(config(len(tokenizer)))
    randomise(model)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    stored = json.loads((folder / "config.json").read_text())
    stored["architectures"] = ["Qwen3_5MoeForCausalLM"]
    (folder / "config.json").write_text(json.dumps(stored))


def convert(source: Path, folder: Path, out: Path) -> None:
    """Run the tree's own converter in this process; it does not know a byte tokenizer's hash."""
    sys.path[:0] = [str(source / "gguf-py"), str(source)]
    gguf: Any = importlib.import_module("gguf")
    base: Any = importlib.import_module("conversion.base")
    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen35"
    converter = importlib.import_module("conversion.qwen").Qwen3_5MoeTextModel
    converter.no_mtp = True
    converter(folder, gguf.LlamaFileType.ALL_F32, out).write()


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    out = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else OUT
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder))
        convert(source, Path(folder), out)


if __name__ == "__main__":
    main()
