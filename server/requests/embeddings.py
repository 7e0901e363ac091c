"""Body of `/embedding` and `/v1/embeddings`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from typing_extensions import Self

from ..errors import ApiError
from .base import RequestBody
from .prompt import Inputs
from .types import Limit, ModelName


class EmbeddingsBody(RequestBody):
    """What to embed."""

    input: Inputs = None
    """A text, a list of tokens, a list that mixes both, an object with the `content` of a message;
    or a list of these: several inputs. Required, unless `content` is there."""
    content: Inputs = None
    """The same under llama-server's name; the answer has llama-server's form then."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or the bytes of 32-bit floats in base64, in OpenAI's form only."""
    embd_normalize: Limit = 2
    """What an embedding is divided by: -1 nothing, 0 its largest value (and that becomes 32760),
    1 the sum of its absolute values, 2 its length, p its p-norm. Nothing where nothing is
    pooled."""
    model: ModelName = None
    """A name for the answer."""

    @model_validator(mode="after")
    def _has_input(self) -> Self:
        if self.input is None and self.content is None:
            raise ApiError('"input" or "content" must be provided')
        return self
