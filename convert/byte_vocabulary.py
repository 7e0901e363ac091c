"""A byte-level vocabulary made of a list of words: no training, every text can be encoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EOS = CONTROL_TOKENS.index("<|im_end|>")
N_FIXED = len(CONTROL_TOKENS) + 256
"""Ids below this one are control tokens and bytes; words follow."""

_NORMAL, _CONTROL = 1, 3  # llama_token_type

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class ByteVocabulary:
    """Control tokens, then the 256 bytes, then words.

    llama.cpp's pre-tokenizer llama-bpe takes a word that is in the vocabulary whole, without
    merges, so the words need none; what is not a word is spelled in bytes.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        # llama.cpp ends the process over a token that is there twice
        assert len(set(self.words)) == len(self.words)
        assert all(len(word.encode()) > 1 for word in self.words)
        assert any(len(word.encode()) == 2 for word in self.words)  # see add_to

    def __len__(self) -> int:
        return N_FIXED + len(self.words)

    def add_to(self, writer: Any) -> None:
        """Write the tokenizer's metadata with a gguf.GGUFWriter."""
        names = byte_names()
        words = ["".join(names[byte] for byte in word.encode()) for word in self.words]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list([*CONTROL_TOKENS, *names, *words])
        n_control = len(CONTROL_TOKENS)
        writer.add_token_types([_CONTROL] * n_control + [_NORMAL] * (len(self) - n_control))
        # llama.cpp wants a merge at least: words of two bytes, which stay whole in any case
        writer.add_token_merges([" ".join(word) for word in words if len(word) == 2])
        writer.add_add_bos_token(False)
        writer.add_eos_token_id(EOS)
        writer.add_pad_token_id(CONTROL_TOKENS.index("<|endoftext|>"))
        writer.add_chat_template(CHAT_TEMPLATE)


def vocabulary_of(size: int) -> ByteVocabulary:
    """A vocabulary of `size` tokens: control tokens, bytes, made-up words."""
    return ByteVocabulary(tuple(made_up_words(size - N_FIXED)))


def byte_names() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's
    scheme): itself where it is printable, else the next unused one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def made_up_words(count: int) -> Iterable[str]:
    """`count` pronounceable words, a space before each, the shortest first; " a" leads."""
    yield " a"
    count -= 1
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = [""]
    while True:
        words = [word + syllable for word in words for syllable in syllables]
        for word in words[:count]:
            yield f" {word}"
        count -= len(words)
        if count <= 0:
            return
