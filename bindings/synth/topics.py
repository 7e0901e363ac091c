"""Embedding and output matrices whose words have topics.

Channels are in three parts. The steady ones, a block of the tables, are 1 for all tokens and no
layer writes to them: they make control tokens and single bytes unlikely, and from one of them
routers take their biases. The topic's, up to half of all, are random signs that the words of a
topic share, in the output matrix too, so that a word of the same topic is likely to follow. The
rest is each word's own.

Kernels quantise what goes into a matrix in blocks as large as the matrix's. So the steady channels
have a block of their own: what they weigh would leave nothing of others beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lcm, log

import gguf
import numpy as np
from numpy.typing import NDArray

from ..convert.byte_vocabulary import N_FIXED
from ..quantize import quantize
from .blocks import Bytes
from .routing import STAY

Floats = NDArray[np.float32]

N_TOPICS = 1024
_WORDS_LIFT = 10.0
"""Half of what a word's logit has ahead of a control token's or a byte's."""


@dataclass(frozen=True)
class Topics:
    """The channels of a model's tables that belong to topics."""

    n_embd: int
    embedding_type: str
    output_type: str
    seed: int

    @property
    def n_steady(self) -> int:
        """Channels that are 1, the first: a block of both tables."""
        types = (self.embedding_type, self.output_type)
        return lcm(*(gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]][0] for type in types))

    @property
    def n_channels(self) -> int:
        """Channels that are steady or the topic's, the first: half of all in whole blocks."""
        return max(self.n_embd // 2 // self.n_steady, 2) * self.n_steady

    @cached_property
    def signs(self) -> Floats:
        """Each topic's 1 and -1, [N_TOPICS + N_FIXED, n_channels]; what is not a word is a topic of
        its own."""
        random = np.random.default_rng([self.seed, N_TOPICS])
        signs = 2 * random.integers(0, 2, (N_TOPICS + N_FIXED, self.n_channels)) - 1
        signs[:, : self.n_steady] = 1
        return signs.astype(np.float32)

    @cached_property
    def embedding(self) -> Bytes:
        """The first part of each topic's rows, [N_TOPICS + N_FIXED, bytes]."""
        return quantize(self.signs, self.embedding_type)[0]

    @cached_property
    def output(self) -> Bytes:
        """The same in the output matrix, where the steady channels tell words from the others."""
        rows = self.signs.copy()
        rows[N_TOPICS:, : self.n_steady] = -1
        return quantize(rows, self.output_type)[0]

    def output_norm(self) -> Floats:
        """What each channel of the last hidden state counts in the logits, [n_embd].

        Words of the text's topic get as much more as makes their share STAY, if each channel of the
        state is 1 or -1; each word's own channels add noise of deviation 1.
        """
        lift = log(STAY / (1 - STAY) * (N_TOPICS - 1))
        weights = np.full(self.n_embd, (self.n_embd - self.n_channels) ** -0.5, dtype=np.float32)
        weights[: self.n_channels] = lift / (self.n_channels - self.n_steady)
        weights[: self.n_steady] = _WORDS_LIFT / self.n_steady
        return weights


def topic_of(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each token in `Topics.signs`."""
    return np.where(tokens < N_FIXED, N_TOPICS + tokens, (tokens - N_FIXED) % N_TOPICS)
