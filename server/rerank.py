"""How a reranker is shown a query and a document.

Source: `format_prompt_rerank` in llama.cpp's `tools/server/server-common.cpp`.
"""

from __future__ import annotations

from .errors import ApiError
from .prompts import tokenize
from .state import Vocabulary

TEMPLATE = "tokenizer.chat_template.rerank"


async def rerank_prompt(query: str, document: str, vocabulary: Vocabulary) -> list[int]:
    """The tokens: by the model's own template, else query and document between the tokens that
    the vocabulary wants around texts. Raises `ApiError`."""
    template = vocabulary.metadata.get(TEMPLATE)
    if template is not None:
        text = template.replace("{query}", query).replace("{document}", document)
        return await tokenize(text, vocabulary, add_special=False)
    return [
        *([vocabulary.bos] if vocabulary.add_bos else []),
        *await tokenize(query, vocabulary, add_special=False, parse_special=False),
        *_end(vocabulary),
        *([vocabulary.sep] if vocabulary.add_sep else []),
        *await tokenize(document, vocabulary, add_special=False, parse_special=False),
        *_end(vocabulary),
    ]


def _end(vocabulary: Vocabulary) -> list[int]:
    if not vocabulary.add_eos:
        return []
    end = vocabulary.eos if vocabulary.eos >= 0 else vocabulary.sep
    if end < 0:
        raise ApiError("this model's vocabulary has no token to end a text with", status=501)
    return [end]
