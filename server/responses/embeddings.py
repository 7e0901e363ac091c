"""Answers of `/embedding`, `/v1/embeddings` and `/rerank`."""

from __future__ import annotations

from typing import Literal

from .base import Answer, sometimes


class PromptUsage(Answer):
    """OpenAI's token counts of what has no output."""

    prompt_tokens: int
    total_tokens: int


class NativeEmbedding(Answer):
    """One input."""

    index: int
    """Which input."""
    embedding: list[list[float]]
    """One row; with `--pooling none` one for each token."""


class Embedding(Answer):
    """One input."""

    embedding: list[float] | str
    """Numbers, or 32-bit floats in base64."""
    index: int
    """Which input."""
    object: Literal["embedding"]
    encoding_format: Literal["base64"] = sometimes()


class Embeddings(Answer):
    """All inputs."""

    model: str
    """The request's `model`, else the model's name."""
    object: Literal["list"]
    usage: PromptUsage
    data: list[Embedding]


class Ranked(Answer):
    """One document."""

    index: int
    """Which document."""
    relevance_score: float


class Ranking(Answer):
    """The documents, best first."""

    model: str
    """The request's `model`, else the model's name."""
    object: Literal["list"]
    usage: PromptUsage
    results: list[Ranked]


class Rank(Answer):
    """One document in the form of Text Embeddings Inference, where these are a list."""

    index: int
    """Which document."""
    score: float
    text: str = sometimes()
    """The document, with `return_text`."""
