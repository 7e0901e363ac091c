"""Flags of a server that embeds or ranks."""

from __future__ import annotations

from typing import Any


def add_embeddings(group: Any) -> None:
    """What is served, and how."""
    add = group.add_argument
    add(
        "--embeddings",
        "--embedding",
        action="store_true",
        help="serve embeddings, and nothing else; -ub is the most tokens of an input",
    )
    add(
        "--reranking",
        "--rerank",
        action="store_true",
        help="serve /rerank: --embeddings --pooling rank",
    )
    add(
        "--pooling",
        choices=("none", "mean", "cls", "last", "rank"),
        default="auto",
        help="how the tokens of an input become one embedding (default: as the model file says)",
    )
