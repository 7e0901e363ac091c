"""The prompt that asks a model to fill a gap in a text.

    [repository]myproject [file]name text ... [file]filename
    [prefix]before the gap, and what is there of it [suffix]after the gap [middle]

Source: `format_prompt_infill` in llama.cpp's `tools/server/server-common.cpp`. The repository's
pattern: https://arxiv.org/abs/2409.12186.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..fim import FimTokens
from .errors import ApiError
from .state import Vocabulary

PROJECT, FILE = "myproject\n", "filename\n"
SNIPPET = "\n\n--- snippet ---\n\n"
"""Between texts for a model that knows no files."""


@dataclass(frozen=True)
class Extra:
    """A text beside the one with the gap."""

    filename: str
    text: str


@dataclass(frozen=True)
class Sizes:
    """Tokens: how much of the texts there is room for."""

    n_batch: int
    """Prefix and suffix share this, 3 to 1."""
    n_ctx: int
    """What is left of it is for extra texts."""


def check_fim(fim: FimTokens) -> None:
    """Raises `ApiError` for a model that was not trained to fill gaps."""
    tokens = {"prefix": fim.prefix, "suffix": fim.suffix, "middle": fim.middle}
    missing = "".join(f"{name} token is missing. " for name, token in tokens.items() if token < 0)
    if missing:
        raise ApiError(f"Infill is not supported by this model: {missing}", status=501)


def infill_prompt(
    vocabulary: Vocabulary,
    prefix: list[int],
    suffix: list[int],
    prompt: list[int],
    extra: Iterable[Extra],
    sizes: Sizes,
    *,
    suffix_first: bool = False,
) -> list[int]:
    """The tokens. The end of the prefix is kept, the beginning of the suffix, and the end of the
    extra texts."""
    fim, n_quarter = vocabulary.fim, sizes.n_batch // 4
    n_prefix = min(len(prefix), 3 * n_quarter)
    n_suffix = max(0, n_quarter - 2 - len(prompt))
    before = [fim.prefix, *prefix[len(prefix) - n_prefix :], *prompt]
    after = [fim.suffix, *suffix[:n_suffix]]
    bos = [vocabulary.bos] if vocabulary.add_bos else []
    context = _extra_tokens(vocabulary, extra)
    n_context = min(len(context), max(0, sizes.n_ctx - sizes.n_batch + 2))
    parts = (after, before) if suffix_first else (before, after)
    return [*context[len(context) - n_context :], *bos, *parts[0], *parts[1], fim.middle]


def _extra_tokens(vocabulary: Vocabulary, extra: Iterable[Extra]) -> list[int]:
    fim = vocabulary.fim

    def tokens_of(text: str) -> list[int]:
        return vocabulary.tokenize(text, add_special=False, parse_special=False)

    tokens = [fim.repository, *tokens_of(PROJECT)] if fim.repository >= 0 else []
    for one in extra:
        if fim.file >= 0:
            tokens += [fim.file, *tokens_of(f"{one.filename}\n")]
        else:
            tokens += tokens_of(SNIPPET)
        tokens += tokens_of(one.text)
    if fim.file >= 0:
        tokens += [fim.file, *tokens_of(FILE)]
    return tokens
