"""Which of llama.cpp's pre-tokenizers splits text as a tokenizer.json does.

llama.cpp has no general reader for tokenizer.json: it implements a list of pre-tokenizers, each
known by a name (`tokenizer.ggml.pre`), and its conversion recognises them by a hash over the
token ids of one test string. A tokenizer trained at home has another vocabulary, so another
hash, although it splits text exactly as a known one does. Here the two are compared by what
they do: the splitting patterns, in order. The patterns that llama.cpp implements are in its
src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..errors import ConvertError

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_CASED_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"

_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKED_WORD = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+")
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"


def _any_of(*parts: str) -> str:
    return "|".join(parts)


def _cased_words(suffix: str) -> tuple[str, str]:
    """A word ends where its case turns: two alternatives, as GPT-4o and Tekken have them."""
    return f"{_LEAD}{_UPPER}*{_LOWER}+{suffix}", f"{_LEAD}{_UPPER}+{_LOWER}*{suffix}"


GPT2 = _any_of(
    "'s|'t|'re|'ve|'m|'ll|'d", r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", *_BLANKS[1:]
)
"""What the ByteLevel step of tokenizers splits by when its `use_regex` is on."""

_SLASHED_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_QWEN2 = _any_of(CONTRACTIONS, _WORD, r"\p{N}", _SYMBOLS, *_BLANKS)
_QWEN35 = _any_of(CONTRACTIONS, _MARKED_WORD, r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", *_BLANKS)
_LLAMA3 = _any_of(CONTRACTIONS, _WORD, r"\p{N}{1,3}", _SYMBOLS, *_BLANKS)
_GPT4O = _any_of(*_cased_words(f"{CONTRACTIONS}?"), r"\p{N}{1,3}", _SLASHED_SYMBOLS, *_BLANKS)
_TEKKEN = _any_of(*_cased_words(""), r"\p{N}", _SLASHED_SYMBOLS, *_BLANKS)
_DEEPSEEK3 = _any_of(
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r" ?[\p{P}\p{S}]+[\r\n]*",
    *_BLANKS,
)
_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"

KNOWN: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    ((r"\p{N}", GPT2), False): "smollm",
    ((_QWEN2,), False): "qwen2",
    ((_QWEN35,), False): "qwen35",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_GPT4O,), False): "gpt-4o",
    ((_TEKKEN,), True): "tekken",
    ((r"\p{N}{1,3}", _CJK, _DEEPSEEK3), False): "deepseek-v3",
}
"""(splits in order, whether whole words skip the merges) -> llama.cpp's name for it.

llama.cpp's gpt-4o and tekken split before combining marks, where the originals do not. That is
upstream's choice for the models of those names too; composed text (NFC) is the same in both."""


def match_pretokenizer(folder: Path) -> str:
    """Name of llama.cpp's pre-tokenizer that splits as `folder`/tokenizer.json does.

    Raises ConvertError, which shows the pre-tokenizer and names `--pre`, where none does.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConvertError(
            f"{folder} has no tokenizer.json, and llama.cpp does not know its tokenizer; "
            "save it with transformers (AutoTokenizer ... save_pretrained), or name the "
            "pre-tokenizer with --pre NAME"
        )
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    splits = _splits(tokenizer)
    if splits is not None:
        ignore_merges = bool(tokenizer["model"].get("ignore_merges"))
        if name := KNOWN.get((splits, ignore_merges)):
            return name
    raise ConvertError(_no_match_message(tokenizer))


def _splits(tokenizer: dict[str, Any]) -> tuple[str, ...] | None:
    """The tokenizer's splitting patterns in order, or None where it does more than split."""
    if tokenizer.get("model", {}).get("type") != "BPE" or not _keeps_text(tokenizer):
        return None
    step = tokenizer.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", []) if step.get("type") == "Sequence" else [step]
    patterns = [_pattern(step) for step in steps]
    if not any(step.get("type") == "ByteLevel" for step in steps) or None in patterns:
        return None
    return tuple(canonical(pattern) for pattern in patterns if pattern)


def _keeps_text(tokenizer: dict[str, Any]) -> bool:
    """Whether the normaliser leaves ordinary text alone. llama.cpp has none for byte-level BPE;
    NFC is let pass, as it is for Qwen's own tokenizers."""
    normalizer = tokenizer.get("normalizer") or {"type": "NFC"}
    steps = normalizer.get("normalizers", [normalizer])
    return all(step.get("type") == "NFC" for step in steps)


def _pattern(step: dict[str, Any]) -> str | None:
    """The pattern that one step splits by, "" for a step that does not split, None if unknown."""
    kind = step.get("type")
    if kind == "ByteLevel" and not step.get("add_prefix_space"):
        return GPT2 if step.get("use_regex", True) else ""
    if kind == "Digits":
        return r"\p{N}" if step.get("individual_digits") else r"\p{N}+"
    if kind == "Split":
        behaviour = (step.get("behavior"), bool(step.get("invert")))
        if behaviour in (("Isolated", False), ("Removed", True)):
            regex: str | None = step.get("pattern", {}).get("Regex")
            return regex
    return None


def canonical(pattern: str) -> str:
    """One spelling for patterns that mean the same: escapes for control characters, and the
    English contractions as one case-insensitive group."""
    for character, escape in (("\r", r"\r"), ("\n", r"\n"), ("\t", r"\t")):
        pattern = pattern.replace(character, escape)
    return pattern.replace(_CASED_CONTRACTIONS, CONTRACTIONS)


def _no_match_message(tokenizer: dict[str, Any]) -> str:
    shown = {key: tokenizer.get(key) for key in ("normalizer", "pre_tokenizer")}
    model = tokenizer.get("model", {})
    return (
        f"llama.cpp has no pre-tokenizer that splits as this tokenizer does "
        f"(model {model.get('type')}, ignore_merges {bool(model.get('ignore_merges'))}): "
        f"{json.dumps(shown, ensure_ascii=False)}. If you know one that splits your text alike, "
        "name it with --pre NAME (for example --pre qwen2)"
    )


def pretokenizer_names(tree: Path) -> list[str]:
    """The names that the llama.cpp at `tree` accepts, read from its source."""
    source = (tree / "src" / "llama-vocab.cpp").read_text(encoding="utf-8")
    return sorted(set(re.findall(r'tokenizer_pre == "([^"]+)"', source)))
