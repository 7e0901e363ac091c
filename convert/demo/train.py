"""Train the demo model: `python -m pannier.convert.demo.train OUT`.

OUT becomes a Hugging Face checkpoint for `pannier convert`. A run that was interrupted goes on
from OUT/state.pt. Needs torch, transformers and tokenizers: `pip install 'pannier[convert]'`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Qwen3NextForCausalLM

from .cpu_kernels import use_cpu_kernels
from .recipe import (
    HELD_OUT_SEED,
    SAMPLING,
    TRAIN_SEED,
    Recipe,
    make_config,
    make_tokenizer,
    reply_mask,
    rows,
    save_tokenizer,
)
from .report import perplexity

CARD = Path(__file__).with_name("README.md")
SAVE_EVERY = 200
SHOW_EVERY = 20


@dataclass
class Run:
    """A training run: what it makes, and how far it is."""

    folder: Path
    recipe: Recipe
    tokenizer: Tokenizer
    model: Any
    optimizer: torch.optim.Optimizer
    step: int = 0

    @property
    def state_path(self) -> Path:
        return self.folder / "state.pt"

    def train_step(self) -> float:
        """One step; returns the cross entropy, in nats per token."""
        recipe = self.recipe
        length = recipe.lengths[self.step % len(recipe.lengths)]
        # A seed of its own for each step: a run goes on anywhere without reading from the start.
        seed = TRAIN_SEED + 1000 * (self.step + 1)
        found = rows(self.tokenizer, seed, recipe.step_tokens // length, length)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(self.step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.model(input_ids=torch.tensor(found))
        losses = next_token_losses(out.logits, torch.tensor(found))
        weights = torch.where(self.reply_mask(found), 1.0, self.user_weight)
        loss = (losses * weights).sum() / weights.sum()
        (loss + self.model.router_aux_loss_coef * out.aux_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return float(losses.detach().mean())

    @property
    def user_weight(self) -> float:
        return 1.0 if self.step < self.recipe.n_even_steps else self.recipe.user_weight

    def reply_mask(self, found: list[list[int]]) -> torch.Tensor:
        """Of the tokens of `found` that are foretold, all but a row's first: [row, token]."""
        return torch.tensor([reply_mask(self.tokenizer, row)[1:] for row in found])

    def held_out_perplexity(self) -> float:
        """Perplexity of a text that is never trained on, in float32."""
        return perplexity(self.model, torch.tensor(rows(self.tokenizer, HELD_OUT_SEED, 16, 512)))

    def save(self) -> None:
        """Write the checkpoint and what a later run needs to go on."""
        self.model.save_pretrained(self.folder)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        beside = self.state_path.with_suffix(".part")
        torch.save(state, beside)
        beside.replace(self.state_path)

    def load(self) -> None:
        state = torch.load(self.state_path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def start(folder: Path, recipe: Recipe) -> Run:
    """A run at its first step, or where an earlier one in `folder` has stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    use_cpu_kernels()
    torch.manual_seed(recipe.seed)
    tokenizer = make_tokenizer()
    save_tokenizer(tokenizer, folder)
    shutil.copy(CARD, folder)  # its header becomes metadata of the GGUF file
    config = make_config(tokenizer)
    config._experts_implementation = "dense"
    model = Qwen3NextForCausalLM(config).float()
    model.generation_config.update(**SAMPLING)
    run = Run(folder, recipe, tokenizer, model, make_optimizer(model, recipe))
    if run.state_path.exists():
        run.load()
    return run


def next_token_losses(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each token after a row's first, in nats: [row, token]."""
    return F.cross_entropy(logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")


def make_optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; weight decay for matrices only."""
    weights = list(model.parameters())
    groups = [
        {
            "params": [each for each in weights if each.ndim > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=recipe.betas, fused=True)


def train(run: Run) -> None:
    """Train to the recipe's end, with a line of news now and then."""
    began, first, total = time.monotonic(), run.step, 0.0
    while run.step < run.recipe.n_steps:
        total += run.train_step()
        if run.step % SHOW_EVERY == 0:
            rate = (run.step - first) * run.recipe.step_tokens / (time.monotonic() - began)
            show(f"step {run.step}: loss {total / SHOW_EVERY:.3f}, {rate:.0f} tokens/s")
            total = 0.0
        if run.step % SAVE_EVERY == 0 or run.step == run.recipe.n_steps:
            run.save()
            show(f"step {run.step}: held-out perplexity {run.held_out_perplexity():.3f}")


def show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(start(args.out, Recipe()))


if __name__ == "__main__":
    main()
