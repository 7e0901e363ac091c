"""Tokenizers are told by what they split by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pannier import Model
from pannier.convert.pretokenizer import GPT2, KNOWN, match_pretokenizer, pretokenizer_names
from pannier.engine import source_tree
from pannier.errors import ConvertError

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
QWEN2 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
TRICKY = (
    "I'LL say it's 12345 o'clock\r\n\n  at 3.14,  don't You'd? HTTPServer camelCase naïve "
    "e\u0301tude \t\ttabs\n   \n mixed/slash//\n… «тест» Ünïcode 日本語テキスト 123abc !!??"
    " 'sun 'RE   trailing  "
)

COMPOSED_ONLY = ("gpt-4o", "tekken")
"""llama.cpp's patterns for these do not take combining marks for parts of a word."""


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert
    }  # fmt: skip


def write(folder: Path, *steps: dict[str, Any], **other: Any) -> Path:
    """A tokenizer.json with these steps; `ignore_merges` and `normalizer` as given."""
    tokenizer = {
        "normalizer": other.get("normalizer"),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)},
        "model": {"type": other.get("model", "BPE"), "ignore_merges": other.get("ignore_merges")},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize(
    ("name", "expected"), [("qwen3next", "qwen2"), ("qwen3moe", "qwen2"), ("llama", "llama-bpe")]
)
def test_the_tiny_checkpoints(data: Path, name: str, expected: str) -> None:
    assert match_pretokenizer(data / name) == expected


def test_other_spellings_of_the_same(tmp_path: Path) -> None:
    cased = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    spelled = QWEN2.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", cased)
    controls = QWEN2.replace("\\r", "\r").replace("\\n", "\n")
    for pattern in (QWEN2, spelled, controls):
        assert match_pretokenizer(write(tmp_path, split(pattern), BYTE_LEVEL)) == "qwen2"
    removed = split(QWEN2, "Removed", invert=True)
    assert match_pretokenizer(write(tmp_path, removed, BYTE_LEVEL)) == "qwen2"
    nfc = {"type": "NFC"}
    folder = write(tmp_path, split(QWEN2), BYTE_LEVEL, normalizer=nfc)
    assert match_pretokenizer(folder) == "qwen2"


def test_byte_level_with_its_own_pattern(tmp_path: Path) -> None:
    gpt2 = BYTE_LEVEL | {"use_regex": True}
    assert match_pretokenizer(write(tmp_path, gpt2)) == "gpt-2"
    digits = {"type": "Digits", "individual_digits": True}
    assert match_pretokenizer(write(tmp_path, digits, gpt2)) == "smollm"


@pytest.mark.parametrize(
    ("steps", "other"),
    [
        ([split(QWEN2.replace("\\p{N}|", "\\p{N}{1,2}|")), BYTE_LEVEL], {}),
        ([split(QWEN2, "MergedWithPrevious"), BYTE_LEVEL], {}),
        ([split(QWEN2, "Isolated", invert=True), BYTE_LEVEL], {}),
        ([split(QWEN2)], {}),
        ([split(QWEN2), BYTE_LEVEL | {"add_prefix_space": True}], {}),
        ([BYTE_LEVEL], {}),
        ([{"type": "Whitespace"}, BYTE_LEVEL], {}),
        ([split(QWEN2), BYTE_LEVEL], {"ignore_merges": True}),
        ([split(QWEN2), BYTE_LEVEL], {"normalizer": {"type": "Lowercase"}}),
        ([split(QWEN2), BYTE_LEVEL], {"model": "WordPiece"}),
    ],
)
def test_what_llama_cpp_does_not_do_is_refused(
    tmp_path: Path, steps: list[dict[str, Any]], other: dict[str, Any]
) -> None:
    with pytest.raises(ConvertError, match=r"has no pre-tokenizer that splits.*--pre NAME") as info:
        match_pretokenizer(write(tmp_path, *steps, **other))
    assert steps[0]["type"] in str(info.value)


def test_no_tokenizer_json(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"has no tokenizer\.json.*--pre NAME"):
        match_pretokenizer(tmp_path)


def test_llama_cpp_has_every_name() -> None:
    assert set(KNOWN.values()) <= set(pretokenizer_names(source_tree()))


@pytest.fixture(scope="module")
def greedy_merges() -> Tokenizer:
    """A BPE whose merges run over every border, so that a wrong split shows in the ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TRICKY, TRICKY[::2], TRICKY[1::3]] * 2, trainer)
    return tokenizer


@pytest.mark.engine
@pytest.mark.parametrize(("key", "name"), KNOWN.items(), ids=KNOWN.values())
def test_llama_cpp_splits_as_the_pattern_does(
    greedy_merges: Tokenizer,
    data: Path,
    tmp_path: Path,
    key: tuple[tuple[str, ...], bool],
    name: str,
) -> None:
    patterns, ignore_merges = key
    description = json.loads(greedy_merges.to_str())
    description["model"]["ignore_merges"] = ignore_merges
    tokenizer = Tokenizer.from_str(json.dumps(description))
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    path = tmp_path / "model.gguf"
    write_model(path, description, name, data / "llama" / "model-f32.gguf")
    text = TRICKY.replace("e\u0301", "é") if name in COMPOSED_ONLY else TRICKY
    with Model(path) as model:
        assert list(model.tokenize(text, add_special=False)) == tokenizer.encode(text).ids


def write_model(path: Path, tokenizer: dict[str, Any], pre: str, like: Path) -> None:
    """A Llama with this tokenizer, and the sizes and blocks of another file."""
    reader = gguf.GGUFReader(like)
    writer = gguf.GGUFWriter(path, "llama")
    for key, field in reader.fields.items():
        if key.startswith("llama.") and key != "llama.vocab_size":
            writer.add_key_value(key, field.contents(), field.types[0])
    vocab = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocab)
    writer.add_token_types([1] * len(vocab))
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_add_bos_token(False)
    for tensor in reader.tensors:
        if tensor.name != "token_embd.weight":
            writer.add_tensor(tensor.name, tensor.data)
    writer.add_tensor("token_embd.weight", np.zeros((len(vocab), 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gpt2_is_what_byte_level_splits_by() -> None:
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    ours = pre_tokenizers.Split(Regex(GPT2), "isolated")
    expected = [span for _, span in own.pre_tokenize_str(TRICKY)]
    assert [span for _, span in ours.pre_tokenize_str(TRICKY)] == expected
