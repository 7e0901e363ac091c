"""Vocabularies that would end llama.cpp: one crafted file each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Refused, tiny
from .gguf_bytes import Gguf

KEY = "tokenizer.ggml."


def with_tokens(change: Callable[[list[bytes]], None], name: str = "qwen3next") -> Gguf:
    file = tiny(name)
    change(file.get(f"{KEY}tokens").value)
    return file


def put(index: int, text: bytes) -> Callable[[list[bytes]], None]:
    def change(tokens: list[bytes]) -> None:
        tokens[index] = text

    return change


def other_model(model: bytes, tokens: list[bytes], type: int = 1) -> Gguf:
    """A vocabulary of another kind."""
    file = tiny().set(f"{KEY}model", "str", model).set(f"{KEY}tokens", "arr[str]", tokens)
    file.set(f"{KEY}token_type", "arr[i32]", [type] * len(tokens))
    return file.drop(f"{KEY}scores").drop(f"{KEY}add_bos_token").drop(f"{KEY}bos_token_id")


def byte_type(text: bytes) -> Gguf:
    file = with_tokens(put(9, text))
    file.get(f"{KEY}token_type").value[9] = 6
    return file


WORDS = [b"<unk>", *(b"word%d" % i for i in range(300))]
SPOILED: dict[str, tuple[Callable[[], Gguf], str]] = {
    "no vocabulary": (lambda: tiny().set(f"{KEY}model", "str", b"none"), "no vocabulary"),
    "unknown kind": (lambda: tiny().set(f"{KEY}model", "str", b"x"), "llama.cpp knows llama"),
    "kind missing": (lambda: tiny().drop(f"{KEY}model"), "model is None"),
    "tokens missing": (lambda: tiny().drop(f"{KEY}tokens"), "tokens is missing"),
    "tokens of numbers": (
        lambda: tiny().set(f"{KEY}tokens", "arr[u32]", [1, 2]),
        "tokens is an array of u32",
    ),
    "no tokens": (lambda: with_tokens(list.clear), "has 0 tokens"),
    "token twice": (
        lambda: with_tokens(put(100, tiny().get(f"{KEY}tokens").value[7])),
        "7 and 100",
    ),
    "token twice for C": (
        lambda: with_tokens(put(100, tiny().get(f"{KEY}tokens").value[7] + b"\0x")),
        "7 and 100",
    ),
    "token too long": (lambda: with_tokens(put(5, b"x" * 5000)), "token 5 is 5000 bytes"),
    "token too long for PLaMo": (
        lambda: other_model(b"plamo2", [*WORDS, b"x" * 300]),
        "token 301 is 300 bytes",
    ),
    "scores too few": (
        lambda: tiny("gemma3").set(f"{KEY}scores", "arr[f32]", [0.0] * 3),
        "scores has 3 elements",
    ),
    "scores of another type": (
        lambda: tiny("gemma3").set(f"{KEY}scores", "arr[f64]", [0.0] * 384),
        "scores is an array of f64",
    ),
    "scores as one number": (lambda: tiny().set(f"{KEY}scores", "u32", 1), "scores is 1"),
    "types too few": (
        lambda: tiny().set(f"{KEY}token_type", "arr[i32]", [1] * 3),
        "token_type has 3 elements",
    ),
    "types of another type": (
        lambda: tiny().set(f"{KEY}token_type", "arr[u8]", [1] * 320),
        "token_type is an array of u8",
    ),
    "byte token, negative": (lambda: byte_type(b"<0x-1>"), "<0x-1>"),
    "byte token, no number": (lambda: byte_type(b"<0xZZ>"), "<0xZZ>"),
    "byte token, short": (lambda: byte_type(b"<0"), "of the type byte"),
    "byte token in WordPiece": (
        lambda: other_model(b"bert", [b"<0x0A>", *WORDS], type=6),
        "a bert vocabulary has none",
    ),
    "BOS that is not there": (
        lambda: (
            with_tokens(lambda tokens: tokens.__delitem__(slice(5, None)))
            .set(f"{KEY}add_bos_token", "bool", True)
            .set(f"{KEY}bos_token_id", "u32", 7)
        ),
        "bos_token_id, which is 7",
    ),
    "BOS that the pre-tokenizer takes away": (
        lambda: (
            tiny()
            .drop(f"{KEY}bos_token_id")
            .set(f"{KEY}pre", "str", b"chatglm-bpe")
            .set(f"{KEY}add_bos_token", "bool", True)
        ),
        "bos_token_id, which is None",
    ),
    "BOS that the pre-tokenizer wants": (
        lambda: other_model(b"gpt2", WORDS[:5]).set(f"{KEY}pre", "str", b"tekken"),
        "bos_token_id, which is None",
    ),
    "BOS that the pre-tokenizer forces": (
        lambda: (
            other_model(b"gpt2", WORDS[:5])
            .set(f"{KEY}pre", "str", b"gemma4")
            .set(f"{KEY}add_bos_token", "bool", False)
        ),
        "bos_token_id, which is None",
    ),
    "EOS that is not there": (
        lambda: (
            with_tokens(lambda tokens: tokens.__delitem__(slice(5, None)))
            .set(f"{KEY}add_eos_token", "bool", True)
            .set(f"{KEY}eos_token_id", "u32", 2**32 - 1)
        ),
        "eos_token_id",
    ),
    "separator that is not there": (
        lambda: other_model(b"bert", WORDS[:50]).set(f"{KEY}bos_token_id", "u32", 1),
        "seperator_token_id, which is None",
    ),
    "search that never ends": (
        lambda: other_model(b"rwkv", [b"<s>", b"\\n", b"\\n\\x0ab", b"ab", b"<"]),
        "token 3 begins with b'a', which is no token",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, refused: Refused) -> None:
    make, match = SPOILED[name]
    refused(make(), match)


@pytest.mark.parametrize(
    "make",
    [
        lambda: with_tokens(put(9, b"")),
        lambda: with_tokens(put(9, b"\xff\xfe")),
        lambda: byte_type(b"<0xfF>"),
        lambda: tiny().set(f"{KEY}padding_token_id", "u32", 2**32 - 1),
        lambda: tiny().set(f"{KEY}eos_token_id", "u32", 100000),
        lambda: other_model(
            b"rwkv", [b"<s>", b"<", b"\\n", b"\\\\", b"a", b"ab", b"\\\\a", b"\\xff"]
        ),
        lambda: other_model(b"bert", WORDS).drop(f"{KEY}token_type"),
    ],
    ids=["empty", "no UTF-8", "byte", "no padding", "no EOS", "rwkv", "bert"],
)
def test_accepts(make: Callable[[], Gguf], accepted: Callable[[Gguf], None]) -> None:
    accepted(make())
