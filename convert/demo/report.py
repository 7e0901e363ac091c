"""What the demo model's card states: `python -m pannier.convert.demo.report CHECKPOINT`.

Held-out perplexity and how the routers share the tokens, by transformers' own code in float32.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from .recipe import HELD_OUT_SEED, rows


def perplexity(model: Any, batch: torch.Tensor) -> float:
    """Perplexity per token of rows of token ids, [row, token]; a row's first token is free."""
    with torch.inference_mode():
        losses = [
            model(input_ids=each, labels=each, output_router_logits=False).loss
            for each in batch.split(4)
        ]
        return float(torch.stack(losses).mean().exp())


def router_shares(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """Share of the tokens of `batch`, [row, token], that each expert gets: [layer, expert].

    An even router gives each the same: experts per token divided by experts.
    """
    with torch.inference_mode():
        parts = [model(input_ids=each, output_router_logits=True) for each in batch.split(4)]
        return torch.stack([_shares(part, model.num_experts_per_tok) for part in parts]).mean(0)


def _shares(out: Any, n_used: int) -> torch.Tensor:
    """From the routers' logits of one pass, for each layer [token, expert]."""
    logits = torch.stack(out.router_logits)
    return torch.zeros_like(logits).scatter(-1, logits.topk(n_used).indices, 1.0).mean(1)


def main() -> None:
    from transformers import Qwen3NextForCausalLM

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args()
    model = Qwen3NextForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(args.checkpoint / "tokenizer.json"))
    batch = torch.tensor(rows(tokenizer, HELD_OUT_SEED, 64, 512))
    sys.stdout.write(f"{model.num_parameters():,} weights\n")
    sys.stdout.write(f"held-out perplexity {perplexity(model, batch):.3f}\n")
    for layer, shares in enumerate(router_shares(model, batch)):
        percents = " ".join(f"{100 * float(share):4.1f}" for share in shares)
        sys.stdout.write(f"layer {layer}, % of tokens per expert: {percents}\n")


if __name__ == "__main__":
    main()
