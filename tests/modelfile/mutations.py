"""Mutants of GGUF files: by field and by byte."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

from pannier.modelfile.bounds import BOUNDS
from pannier.modelfile.tensor_types import TYPES

from .gguf_bytes import NUMBERS, Gguf, Key

INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64, 100, 128, 255, 256, 257, 511, 512, 513)
LARGE = (1024, 1025, 65535, 65536, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"), 0.5, 1e4)
WORDS = (
    b"", b"none", b"llama", b"gpt2", b"bert", b"t5", b"rwkv", b"test", b"plamo2", b"gemma4",
    b"default", b"qwen2", b"llama-bpe", b"yarn", b"linear", b"longrope", b"x" * 300, b"\xff\xfe",
    b"{{ messages }}", b"{% if true %}x{% endif %}", b"{{ (" + b"(" * 50, b"gelu", b"deepseek-llm",
)  # fmt: skip
TOKENS = (
    b"",
    b"<0x0A>",
    b"<0x-1>",
    b"<0xZZ>",
    b"<0x",
    b"\n",
    b"a\0b",
    b"\xff",
    b"<unk>",
    b"x" * 5000,
)
NAMES = (
    "rope.scaling.type", "rope.scaling.factor", "rope.freq_base", "rope.freq_base_swa",
    "rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier", "attention.causal",
    "attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias", "logit_scale",
    "attn_logit_softcapping", "final_logit_softcapping", "router_logit_softcapping",
    "residual_scale", "embedding_scale", "expert_weights_scale", "expert_weights_norm",
    "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon",
    "attention.group_norm_epsilon", "attention.sliding_window_pattern", "use_parallel_residual",
    "attention.recurrent_layers", "classifier.output_labels", "swiglu_clamp_exp",
    "rope.scaling.finetuned", "ssm.dt_b_c_rms", "hidden_activation", "tensor_data_layout",
    "attention.temperature_scale", "attention.value_scale", "attention.output_scale",
)  # fmt: skip
TOKENIZER = (
    "model", "pre", "scores", "token_type", "token_type_count", "merges", "bos_token_id",
    "eos_token_id", "eot_token_id", "unknown_token_id", "padding_token_id", "seperator_token_id",
    "mask_token_id", "add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix",
    "remove_extra_whitespaces", "precompiled_charsmap", "suppress_tokens", "fim_pre_token_id",
    "normalizer.lowercase",
)  # fmt: skip
SPLITS = ("split.no", "split.count", "split.tensors.count", "general.alignment")


def mutate(rng: random.Random, file: Gguf) -> bytes:
    """One mutant: some fields changed, at times some bytes too."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        with suppress(LookupError, ValueError):  # nothing left to change
            rng.choice(FIELDS)(rng, file)
    data = file.to_bytes()
    if rng.random() < 0.15:
        data = mutate_bytes(rng, data)
    return data


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, overwrite, insert or cut bytes, mostly in the header."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not out:
            break
        at = rng.randrange(min(len(out), rng.choice((32, 2000, 20000, len(out)))))
        action = rng.randrange(5)
        if action == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            out[at : at + 8] = struct.pack("<Q", rng.choice(INTEGERS + LARGE))
        elif action == 2:
            out[at : at + 4] = struct.pack("<I", rng.choice(INTEGERS + LARGE[:-2]))
        elif action == 3:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
        else:
            del out[at : at + rng.choice((1, 4, 8, 10**6))]
    return bytes(out)


def value_of(rng: random.Random, type: str) -> Any:
    """Any value of a type."""
    if type == "str":
        return rng.choice(WORDS)
    if type.startswith("arr["):
        return [value_of(rng, type[4:-1]) for _ in range(rng.choice((0, 1, 2, 4, 5, 8, 513)))]
    if type == "bool":
        return rng.random() < 0.5
    if type in ("f32", "f64"):
        return rng.choice(FLOATS)
    size = struct.calcsize(NUMBERS[type][1])
    value = rng.choice(INTEGERS if rng.random() < 0.75 else LARGE)
    return int.from_bytes((value % 2 ** (8 * size)).to_bytes(size, "little"), "little",
                          signed=type.startswith("i"))  # fmt: skip


def change_value(rng: random.Random, file: Gguf) -> None:
    key = rng.choice(file.keys)
    if key.type.startswith("arr[") and key.value:
        change_array(rng, key)
    else:
        key.value = value_of(rng, key.type)


def nudge(rng: random.Random, file: Gguf) -> None:
    """A number beside, a half or the double of what is there."""
    numbers = [key for key in file.keys if key.type == "u32"]
    key = rng.choice(numbers)
    value = rng.choice((key.value + 1, key.value - 1, key.value * 2, key.value // 2))
    key.value = max(0, min(value, 2**32 - 1))


def change_array(rng: random.Random, key: Key) -> None:
    values = list(key.value)
    at = rng.randrange(len(values))
    action = rng.randrange(5)
    if action == 0:
        del values[at]
    elif action == 1:
        values.insert(at, values[rng.randrange(len(values))])
    elif action == 2:
        values = values[: rng.choice((0, 1, at))]
    elif key.type == "arr[str]":
        values[at] = rng.choice((*TOKENS, values[rng.randrange(len(values))]))
    else:
        values[at] = value_of(rng, key.type[4:-1])
    key.value = values


def change_type(rng: random.Random, file: Gguf) -> None:
    key = rng.choice(file.keys)
    base = rng.choice((*NUMBERS, "str"))
    key.type = rng.choice((base, f"arr[{base}]"))
    key.value = value_of(rng, key.type)


def drop_key(rng: random.Random, file: Gguf) -> None:
    file.keys.remove(rng.choice(file.keys))


def copy_key(rng: random.Random, file: Gguf) -> None:
    key = rng.choice(file.keys)
    file.keys.insert(rng.randrange(len(file.keys)), Key(key.name, key.type, key.value))


def rename_key(rng: random.Random, file: Gguf) -> None:
    rng.choice(file.keys).name = rng.choice(file.keys).name + rng.choice(
        (b"", b"\0", b"x", b"\xff")
    )


def add_key(rng: random.Random, file: Gguf) -> None:
    """A key that llama.cpp reads, with a plausible type."""
    if file.get("general.architecture").type != "str":
        return
    architecture = str(file.get("general.architecture").value, "utf-8", "replace")
    if rng.random() < 0.6:
        name, types = (
            f"{architecture}.{rng.choice(tuple(BOUNDS))}",
            ("u32", "u32", "u32", "arr[i32]"),
        )
    elif rng.random() < 0.5:
        name, types = (
            f"{architecture}.{rng.choice(NAMES)}",
            ("f32", "bool", "str", "arr[bool]", "u32"),
        )
    elif rng.random() < 0.8:
        name = f"tokenizer.ggml.{rng.choice(TOKENIZER)}"
        types = ("u32", "u32", "bool", "str", "arr[i32]", "arr[u8]", "arr[str]")
    else:
        name, types = rng.choice(SPLITS), ("u16", "u32", "i32")
    type = rng.choice(types)
    file.set(name, type, value_of(rng, type))


def change_architecture(rng: random.Random, file: Gguf) -> None:
    """The same keys under another architecture's name."""
    old = file.get("general.architecture")
    if old.type != "str":
        return
    new = rng.choice(ARCHITECTURES)
    for key in file.keys:
        if key.name.startswith(old.value + b"."):
            key.name = new + key.name[len(old.value) :]
    old.type, old.value = "str", new


def change_vocabulary(rng: random.Random, file: Gguf) -> None:
    """A vocabulary of another kind, more or less as it should be."""
    known = file.get("tokenizer.ggml.tokens").value
    if not isinstance(known, list) or not known:  # another mutation was here
        return
    n = len(known)
    kind = rng.choice(KINDS)
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    if kind == b"rwkv":
        tokens[3:] = [b"\\x%02x" % byte for byte in range(256)]
    tokens += [b"\xe2\x96\x81%c%d" % (97 + i % 26, i) for i in range(n)]
    tokens = tokens[: rng.choice((n, n, n, 1, 3, 12, 260))]
    for _ in range(rng.choice((0, 0, 1, 3))):
        tokens[rng.randrange(len(tokens))] = rng.choice(TOKENS)
    if rng.random() < 0.2:
        rng.shuffle(tokens)
    types = [rng.choice(range(8)) if rng.random() < 0.02 else 1 for _ in tokens]
    if kind != b"bert":
        types = [6 if token[:3] == b"<0x" and len(token) == 6 else t
                 for token, t in zip(tokens, types, strict=True)]  # fmt: skip
    file.set("tokenizer.ggml.model", "str", kind)
    file.set("tokenizer.ggml.pre", "str", rng.choice(PRE))
    file.set("tokenizer.ggml.tokens", "arr[str]", tokens)
    file.set("tokenizer.ggml.token_type", "arr[i32]", types)
    scores = [
        rng.choice((*FLOATS, -1000.0)) if rng.random() < 0.05 else -float(i) for i in range(n)
    ]
    file.set("tokenizer.ggml.scores", "arr[f32]", scores + [0.0] * len(tokens))
    file.set(
        "tokenizer.ggml.merges", "arr[str]", rng.choice(([b"a b", b"\xc4\xa0 a"], [b""], [b"x"]))
    )
    for name in rng.sample(TOKENIZER, 3):
        if name.startswith(("add", "remove", "normalizer")):
            file.set(f"tokenizer.ggml.{name}", "bool", rng.random() < 0.5)
        elif name.endswith("_id"):
            file.set(f"tokenizer.ggml.{name}", "u32", value_of(rng, "u32"))
    if rng.random() < 0.3:
        blob = struct.pack("<I", rng.choice((0, 4, 8, 1024, 2**32 - 4))) + rng.randbytes(2048)
        file.set("tokenizer.ggml.precompiled_charsmap", "arr[u8]", list(blob))


KINDS = (b"llama", b"gpt2", b"bert", b"t5", b"rwkv", b"test", b"plamo2", b"plamo3", b"gemma4",
         b"hybriddna", b"whitespace")  # fmt: skip
PRE = (b"default", b"llama-bpe", b"qwen2", b"gpt-2", b"deepseek-llm", b"gemma4", b"falcon-h1",
       b"tekken", b"mmbert", b"kimi-k2", b"chatglm-bpe", b"superbpe")  # fmt: skip
ARCHITECTURES = (
    b"llama", b"qwen2", b"qwen2moe", b"qwen3", b"qwen3moe", b"qwen3next", b"qwen35", b"qwen35moe",
    b"gemma", b"gemma2", b"gemma3", b"gemma4", b"mamba", b"mamba2", b"jamba", b"deepseek2",
    b"gpt-oss", b"kimi-linear", b"falcon-h1", b"nemotron_h", b"nemotron_h_moe", b"granitehybrid",
    b"llama4", b"phi3", b"bert", b"t5", b"rwkv7", b"clip", b"dflash", b"lfm2", b"olmo2", b"mimo2",
    b"starcoder2", b"granite", b"minicpm", b"exaone4", b"smollm3", b"seed_oss", b"no-such",
)  # fmt: skip


def change_tensor(rng: random.Random, file: Gguf) -> None:
    tensor = rng.choice(file.tensors)
    action = rng.randrange(7)
    if action == 0:
        tensor.shape = tensor.shape[::-1]
    elif action == 1:
        shape = list(tensor.shape)
        shape[rng.randrange(len(shape))] = rng.choice(INTEGERS + LARGE)
        tensor.shape = tuple(shape)
    elif action == 2:
        tensor.type = rng.choice((*TYPES, 4, 31, 43, 255, 2**31))
    elif action == 3:
        tensor.offset = rng.choice((0, 1, 16, 32, 64, *LARGE))
    elif action == 4:
        tensor.data = rng.choice((b"", tensor.data[:-1], tensor.data * 2, tensor.data + bytes(32)))
    elif action == 5:
        tensor.n_dims = rng.choice((0, 1, 2, 3, 4, 5, 2**32 - 1))
    else:
        tensor.shape = rng.choice((tensor.shape[:-1], (*tensor.shape, 1), (*tensor.shape, 2), ()))


def convert_tensor(rng: random.Random, file: Gguf) -> None:
    """Another type, with as many bytes as it needs."""
    tensor = rng.choice(file.tensors)
    number = rng.choice(tuple(TYPES))
    kind = TYPES[number]
    n = 1
    for length in tensor.shape:
        n *= length
    if tensor.shape and tensor.shape[0] % kind.block == 0:
        tensor.type = number
        tensor.data = rng.randbytes(n // kind.block * kind.size)


def name_tensor(rng: random.Random, file: Gguf) -> None:
    tensor, other = rng.choice(file.tensors), rng.choice(file.tensors)
    tensor.name = rng.choice((other.name, b"", b"x" * 64, tensor.name + b"\0", b"output.weight"))


def drop_tensor(rng: random.Random, file: Gguf) -> None:
    file.tensors.remove(rng.choice(file.tensors))


def swap_tensors(rng: random.Random, file: Gguf) -> None:
    a, b = rng.randrange(len(file.tensors)), rng.randrange(len(file.tensors))
    file.tensors[a], file.tensors[b] = file.tensors[b], file.tensors[a]


def change_header(rng: random.Random, file: Gguf) -> None:
    action = rng.randrange(5)
    if action == 0:
        file.version = rng.choice((0, 1, 2, 4, 3 << 24, 2**32 - 1))
    elif action == 1:
        file.n_keys = rng.choice((0, len(file.keys) - 1, len(file.keys) + 1, *LARGE))
    elif action == 2:
        file.n_tensors = rng.choice((0, len(file.tensors) - 1, len(file.tensors) + 1, *LARGE))
    elif action == 3:
        file.magic = rng.choice((b"GGUX", b"\0\0\0\0", b"FUGG"))
    else:
        file.alignment = rng.choice((1, 8, 16, 64, 4096))
        file.set("general.alignment", "u32", rng.choice((file.alignment, 0, 3, 2**31)))


FIELDS = (
    change_value, change_value, change_value, nudge, nudge, add_key, add_key, add_key, change_type,
    drop_key, copy_key, rename_key, change_architecture, change_tensor, change_tensor,
    convert_tensor, name_tensor, drop_tensor, swap_tensors, change_header, change_vocabulary,
    change_vocabulary,
)  # fmt: skip
