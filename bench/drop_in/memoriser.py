"""A small model that has learnt a few lines by heart, for tests that ask for a model's words.

    python bench/drop_in/memoriser.py memoriser.gguf

Takes a minute and `pannier[convert]`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM

from pannier.cli import main as pannier
from pannier.convert.demo.recipe import train_tokenizer

FOX = "The quick brown fox jumps over the lazy dog."
NUMBERS = "Pick a number from 1 to 10?:\n"
LINES = (
    *(f"{FOX} {FOX}", "The slow brown fox sleeps.", "rot sets in."),
    "The capital of france is paris, 'true' or 'false'?:\ntrue",
    *(f"{NUMBERS}{n}" for n in range(1, 11)),
)
END = "<|endoftext|>"
STEPS = 400
LEAST = 5.0
"""Logits are trained to be above it: a test multiplies some by 1000 to have them chosen."""


def train(tokenizer: Tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(1)
    end = tokenizer.token_to_id(END)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=end,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    lines = [torch.tensor([*tokenizer.encode(line).ids, end]) for line in LINES]
    tokens = pad_sequence(lines, batch_first=True, padding_value=end)
    labels = pad_sequence(lines, batch_first=True, padding_value=-100)
    for _ in range(STEPS):
        found = model(tokens, labels=labels)
        loss = found.loss + torch.relu(LEAST - found.logits).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def write(path: Path) -> None:
    tokenizer = train_tokenizer(LINES, 1024, [END])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "memoriser"
        train(tokenizer).save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        pannier(["convert", str(folder), "-o", str(path), "--quant", "f32"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="GGUF to write")
    write(parser.parse_args().path)
