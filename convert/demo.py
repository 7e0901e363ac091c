"""A model to try pannier with before any checkpoint is at hand: tiny, with random weights."""

from __future__ import annotations

import os
from pathlib import Path

_WORDS = """
a about after again all along always an and any apart apple are around as ask at away back bag
bags balance be bear bell below bend beside best better between both bread bring bridge but by
call camp can carry cart cheese climb cold come corner count cup day down driver each early east
even evening every fair far few field fire first flour follow for fox friend from full garden
gate gentle give go good grass green half hand have he heavy here high hill home hour house how
if in inn into is it keep know lamp last late lead lean left level light like little load long
look make many map market may milk mill moon more morning mountain mule much my near never next
night no noon north not now of off old on once one only open or other our out over own pack
pannier pass path people place quiet rain ready rest ridge right river road rope salt same say
sea see set shade she short side slow small snow so some soon south star stay step still stone
stop story straw sun take tell than that the their then there these they thing this three till
time to together top town tree turn two under until up valley very village walk wall warm was
water way we weather weigh weight well west wheel when where which while who will wind winter
with wood word work yes yet you
"""


def demo_model(path: str | os.PathLike[str]) -> Path:
    """Write the demo model to `path` and return it: Qwen3Next's architecture, 1.2 million random
    weights, a vocabulary of English words. It answers any prompt with a salad of words,
    and ends after some dozens of them.

    The same bytes every time; under 5 MB; made with numpy alone, in less than a second.
    """
    from .byte_vocabulary import ByteVocabulary
    from .random_gguf import Qwen3NextSpec, write_random

    words = [f" {word}" for word in _WORDS.split()]
    words += [f"{word}," for word in words[3::7]] + [f"{word}." for word in words[5::9]]
    spec = Qwen3NextSpec(
        name="pannier demo (random weights)",
        n_embd=128,
        n_layer=4,
        n_head=4,
        n_head_kv=2,
        head_dim=64,
        ssm_head_dim=32,
        ssm_k_heads=2,
        ssm_v_heads=4,
        n_expert=16,
        n_expert_used=4,
        n_ff_exp=32,
        vocabulary=ByteVocabulary(tuple(words)),
        ends=True,
    )
    return write_random(Path(path), spec)
