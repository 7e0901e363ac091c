"""Make the tiny checkpoints of this folder and freeze their reference logits.

    python tests/data/make_checkpoints.py [NAME ...] [--out DIR] [--gguf]

Every checkpoint is a real one as far as files go (config.json, model.safetensors, tokenizer,
chat template); only its weights are random. They are scaled so that logits spread and greedy
decoding wanders instead of repeating one token. transformers' own model code, run in float32,
gives the logits that the engine is held against; float64 tells how much of them is noise.

Needs torch, transformers, tokenizers and sentencepiece: `pip install 'pannier[convert]'`.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from families import CHECKPOINTS, LLAMA3_SPLIT, SENTENCEPIECE_VOCAB, VOCAB, Checkpoint

HERE = Path(__file__).resolve().parent
PROMPT_TOKENS = 48
GREEDY_TOKENS = 32
MIN_MARGIN = 0.05
"""Least gap between best and second logit on the greedy path: above what any backend's
rounding moves, so that every engine must give the same tokens."""

TEXT = """The mule carried two panniers over the pass, one on each side, and the driver weighed
both before every climb. When the left bag held more flour than the right bag held salt, the
mule leaned, and when it leaned it stopped. So the driver moved flour, a cup at a time, until
the load sat level. "It's not the weight," he said, "it's where the weight is." By noon they had
crossed the ridge; at 3 they counted 12 loaves, 40 apples and 1 cheese. The others had taken a
cart, and the cart had taken the longer road, and they would arrive tomorrow or the day after.
"""

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BOS = "<|begin_of_text|>"
"""Only where the tokenizer puts it before every text, as Llama's does."""
FINAL_NORMS = {
    "model.norm.weight", "model.norm_f.weight", "backbone.norm_f.weight",
    "model.final_layernorm.weight",
}

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level_bpe(split: str, specials: list[str]) -> Tokenizer:
    """A byte-level BPE tokenizer of `VOCAB` tokens, trained on `TEXT`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=split == LLAMA3_SPLIT))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in specials],
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def save_byte_level(folder: Path, split: str) -> list[int]:
    """Write the tokenizer files; return the ids of `TEXT`."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 4096,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    if split == LLAMA3_SPLIT:
        config["bos_token"] = BOS
        tokenizer = byte_level_bpe(split, [*SPECIALS, BOS])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        )
    else:
        tokenizer = byte_level_bpe(split, SPECIALS)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", config)
    return list(tokenizer.encode(TEXT).ids)


def save_sentencepiece(folder: Path) -> list[int]:
    """Write a SentencePiece model with byte fallback, laid out as Gemma's; ids of `TEXT`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines()),
        model_writer=model,
        vocab_size=SENTENCEPIECE_VOCAB,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        control_symbols=["<|im_start|>", "<|im_end|>"],
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    controls = [i for i in range(SENTENCEPIECE_VOCAB) if processor.IsControl(i) or processor.IsUnknown(i)]
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
            "added_tokens_decoder": {
                str(i): {
                    "content": processor.IdToPiece(i), "special": True, "normalized": False,
                    "lstrip": False, "rstrip": False, "single_word": False,
                }
                for i in controls
            },
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return [processor.bos_id(), *processor.EncodeAsIds(TEXT)]


def build_model(checkpoint: Checkpoint) -> Any:
    """The checkpoint's model in float32, its weights random and rounded to the stored type."""
    model_class = getattr(transformers, checkpoint.architecture)
    model = model_class(model_class.config_class(**checkpoint.config)).float().eval()
    generator = torch.Generator().manual_seed(checkpoint.seed)
    with torch.no_grad():
        for name, weight in sorted(weights_of(model)):
            value = draw(name, weight.shape, generator, checkpoint)
            weight.copy_(value.to(checkpoint.store))
    return model


def weights_of(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters, and buffers that are stored, such as a router's correction bias."""
    yield from model.named_parameters()
    stored = model.state_dict().keys()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name in stored)


def draw(
    name: str, shape: torch.Size, generator: torch.Generator, checkpoint: Checkpoint
) -> torch.Tensor:
    """One random weight, scaled for its place in the model."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith(("norm.weight", "norm_f.weight")):
        centred = checkpoint.centred_norms and "linear_attn" not in name
        return draw_norm(name, noise, checkpoint) - (1.0 if centred else 0.0)
    if name.endswith("A_log"):
        return torch.log(1.0 + 7.0 * torch.rand(shape, generator=generator))
    if name.endswith("dt_bias"):
        return noise - 2.0
    gain = 1.5
    if "embed_tokens" in name:
        gain = checkpoint.embedding_gain
    elif name.endswith("lm_head.weight"):
        noise[: len(SPECIALS)] *= 0.1  # greedy text never ends by itself
        gain = 3.0
    elif name.endswith("mlp.gate.weight"):
        gain = 2.0
    return noise * gain / shape[-1] ** 0.5


def draw_norm(name: str, noise: torch.Tensor, checkpoint: Checkpoint) -> torch.Tensor:
    """What the norm multiplies by: about 1, or the checkpoint's own mean for this norm."""
    if name in FINAL_NORMS:
        # Mixed signs keep tied embeddings from echoing their input; the gain keeps the spread.
        return (1.0 + noise) * 3.0 / checkpoint.embedding_gain
    kind = name.split(".")[-2]
    return checkpoint.norm_means.get(kind, 1.0) + 0.2 * noise


def logits_of(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits of every position, [len(ids), VOCAB], in the model's own type."""
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy(model: Any, prompt: list[int]) -> tuple[list[int], float]:
    """The greedy continuation, and the least gap between best and second logit on its path."""
    ids, margin = list(prompt), float("inf")
    for _ in range(GREEDY_TOKENS):
        best = torch.topk(logits_of(model, ids)[-1], 2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[len(prompt) :], margin


def freeze_reference(folder: Path, model: Any, text_ids: list[int]) -> None:
    """Write reference.npz, after checks that it is a useful reference."""
    prompt = text_ids[:PROMPT_TOKENS]
    tokens, margin = greedy(model, prompt)
    logits = logits_of(model, prompt + tokens)
    exact = logits_of(model.double(), prompt + tokens)
    noise = float((logits - exact).norm() / exact.norm())
    distinct = len(set(tokens))
    print(
        f"{folder.name}: logits std {float(logits.std()):.2f}, float32 noise {noise:.1e}, "
        f"least greedy margin {margin:.3f}, {distinct} distinct of {len(tokens)} tokens"
    )
    assert noise < 1e-5, f"float32 noise {noise}"
    assert margin > MIN_MARGIN, f"margin {margin}: choose another seed"
    assert distinct >= GREEDY_TOKENS // 2, f"{distinct} distinct tokens: choose another seed"
    assert min(tokens) > len(SPECIALS), "a special token on the greedy path"
    np.savez_compressed(
        folder / "reference.npz",
        prompt=np.array(prompt, dtype=np.int32),
        logits=logits[:PROMPT_TOKENS].numpy().astype(np.float32),
        greedy=np.array(tokens, dtype=np.int32),
        text=np.array(TEXT),
        text_ids=np.array(text_ids, dtype=np.int32),
    )


def save_weights(folder: Path, checkpoint: Checkpoint, model: Any) -> None:
    """config.json and model.safetensors, in the stored type and without generation settings."""
    model.to(checkpoint.store).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = load_file(folder / "model.safetensors")
    for pattern, replacement in checkpoint.hub_names.items():
        weights = {re.sub(pattern, replacement, name): weights[name] for name in weights}
    if checkpoint.mxfp4_experts:
        weights = dict(mxfp4_experts(weights))
    save_hub_config(folder / "config.json", checkpoint)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save_hub_config(path: Path, checkpoint: Checkpoint) -> None:
    """Put into config.json what transformers leaves out or writes in its own way."""
    changes = dict(checkpoint.hub)
    if checkpoint.mxfp4_experts:
        changes["quantization_config"] = {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn", "model.layers.*.mlp.router",
                "model.embed_tokens", "lm_head",
            ],
        }
    if changes:
        config = json.loads(path.read_text()) | changes
        write_json(path, {key: value for key, value in config.items() if value is not None})


def mxfp4_experts(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Expert matrices as gpt-oss stores them: transposed, [experts, rows, blocks, 16] bytes
    of two codes each, low nibble first, and [experts, rows, blocks] exponents."""
    for name, weight in weights.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            blocks, scales = quantize_mxfp4(weight.float().transpose(1, 2))
            yield f"{name}_blocks", blocks
            yield f"{name}_scales", scales
        else:
            yield name, weight


def quantize_mxfp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """OCP Microscaling 1.0: E2M1 codes that share a power of two per 32 of a row."""
    grouped = weight.reshape(*weight.shape[:-1], -1, 32)
    exponent = torch.floor(torch.log2(grouped.abs().amax(-1))) - 2
    values = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    scaled = grouped / torch.exp2(exponent)[..., None]
    codes = (scaled.abs()[..., None] - values).abs().argmin(-1) + 8 * (scaled < 0)
    low, high = codes[..., 0::2], codes[..., 1::2]
    return (low | high << 4).to(torch.uint8), (exponent + 127).to(torch.uint8)


def load_reference_model(folder: Path) -> Any:
    """The checkpoint as transformers reads it back from disk, in float32."""
    config = json.loads((folder / "config.json").read_text())
    model_class = getattr(transformers, config["architectures"][0])
    options: dict[str, Any] = {}
    if "quantization_config" in config:
        options["quantization_config"] = transformers.Mxfp4Config(dequantize=True)
    return model_class.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        **options,
    ).float().eval()


def make(checkpoint: Checkpoint, out: Path) -> None:
    """Write one checkpoint folder; the reference is computed from what was read back."""
    folder = out / checkpoint.name
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.split is None:
        text_ids = save_sentencepiece(folder)
    else:
        text_ids = save_byte_level(folder, checkpoint.split)
    save_weights(folder, checkpoint, build_model(checkpoint))
    freeze_reference(folder, load_reference_model(folder), text_ids)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def chosen(names: list[str]) -> Iterator[Checkpoint]:
    known = {checkpoint.name: checkpoint for checkpoint in CHECKPOINTS}
    for name in names or known:
        yield known[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; default all")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--gguf", action="store_true", help="convert them to model-f32.gguf too")
    args = parser.parse_args()
    for checkpoint in chosen(args.names):
        make(checkpoint, args.out)
        if args.gguf:
            from pannier.convert import convert

            folder = args.out / checkpoint.name
            convert(folder, folder / "model-f32.gguf", quant="F32", name=f"Tiny {checkpoint.name}")


if __name__ == "__main__":
    main()
