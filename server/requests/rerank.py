"""Body of `/rerank`."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from ..errors import ApiError
from .base import RequestBody
from .types import ModelName, Natural


class RerankBody(RequestBody):
    """A query, and documents to be ranked by how well they answer it."""

    query: str
    """The query."""
    documents: list[str] = Field(default_factory=list)
    """The documents, in Jina's form; not empty."""
    texts: list[str] | None = None
    """The documents, in the form of Text Embeddings Inference; the answer has that form then."""
    top_n: Natural | None = None
    """Only so many of the best; all without it."""
    return_text: bool = False
    """With the documents themselves; for `texts` only."""
    model: ModelName = None
    """A name for the answer."""

    @model_validator(mode="after")
    def _has_documents(self) -> Self:
        if not self.ranked:
            raise ApiError('"documents" must be a non-empty string array')
        return self

    @property
    def ranked(self) -> list[str]:
        """What is to be ranked."""
        return self.documents or self.texts or []
