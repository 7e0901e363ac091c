"""What the demo model is made of: its tokenizer, its shape, how it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .corpus import CHAT_TEMPLATE, END_OF_TEXT, END_OF_TURN, SPECIAL_TOKENS, TURN, documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

N_VOCAB = 1536
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's pre-tokenizer, which llama.cpp knows by name."""

TOKENIZER_SEED, TRAIN_SEED, HELD_OUT_SEED = 0, 1, 2
"""Seeds of the corpus: its sample for the tokenizer, what is trained on, what never is."""

SAMPLING = {"do_sample": True, "temperature": 0.6, "top_k": 40, "top_p": 0.95}
"""What `generate` and the server start from: a small model needs a steady hand."""


@dataclass(frozen=True)
class Recipe:
    """How the model is trained. Rows of each length in turn, the same tokens in each step."""

    step_tokens: int = 2048
    lengths: tuple[int, ...] = (256, 512, 1024)
    rates: tuple[tuple[int, float], ...] = ((0, 0.0), (100, 2e-3), (1960, 2e-3), (2800, 0.0))
    """Learning rates at some steps, straight lines between them."""
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.97)
    clip: float = 1.0
    seed: int = 1
    n_even_steps: int = 300
    """Steps in which all tokens count alike. Later what users and systems say, which nobody can
    foresee, counts less: it would drown what there is to learn about the answers."""
    user_weight: float = 0.1

    @property
    def n_steps(self) -> int:
        return self.rates[-1][0]

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        steps, rates = zip(*self.rates, strict=True)
        return float(np.interp(step + 1, steps, rates))


def special(tokenizer: Tokenizer, text: str) -> int:
    """Id of a special token."""
    found = tokenizer.token_to_id(text)
    assert found is not None, text
    return found


def rows(tokenizer: Tokenizer, seed: int, n_rows: int, length: int) -> list[list[int]]:
    """Rows of token ids. Each begins with a document; the last document of a row is cut."""
    end = special(tokenizer, END_OF_TEXT)
    texts = documents(seed)
    found = []
    for _ in range(n_rows):
        row: list[int] = []
        while len(row) < length:
            row += [*tokenizer.encode(next(texts)).ids, end]
        found.append(row[:length])
    return found


def reply_mask(tokenizer: Tokenizer, row: list[int]) -> list[bool]:
    """For each token of a row whether the model is to say it: stories, answers, turns."""
    turn, end = special(tokenizer, TURN), special(tokenizer, END_OF_TURN)
    others = {tokenizer.encode(role).ids[0] for role in ("user", "system")}
    found, ours = [], True
    for before, token in zip([-1, *row], row, strict=False):
        found.append(ours)
        if before == turn:
            ours = token not in others
        elif token == end:
            ours = True
    return found


def make_tokenizer() -> Tokenizer:
    """One of `N_VOCAB` tokens, trained on the corpus."""
    texts = islice(documents(TOKENIZER_SEED), 30_000)
    return train_tokenizer(texts, N_VOCAB, SPECIAL_TOKENS)


def train_tokenizer(texts: Iterable[str], n_vocab: int, special_tokens: Sequence[str]) -> Tokenizer:
    """A byte-level BPE tokenizer of at most so many tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[
            AddedToken(each, special=True, normalized=False) for each in special_tokens
        ],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer as transformers reads it, chat template included."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


def make_config(tokenizer: Tokenizer) -> Any:
    """Qwen3Next in small: three recurrent layers and one with attention, 16 experts in each.

    Rows of the matrices are multiples of 32, those that come from the residual stream of 256.
    """
    from transformers import Qwen3NextConfig

    return Qwen3NextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        linear_num_key_heads=4,
        linear_num_value_heads=4,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        num_experts=16,
        num_experts_per_tok=4,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=128,
        router_aux_loss_coef=0.01,
        output_router_logits=True,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        rope_parameters={
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25,
        },
        use_cache=False,
        bos_token_id=None,
        pad_token_id=special(tokenizer, END_OF_TEXT),
        eos_token_id=special(tokenizer, END_OF_TURN),
    )  # fmt: skip
