"""Flags of LoRA adapters."""

from __future__ import annotations

import argparse
from typing import Any

from .flag_values import adapters, scaled_adapters


def add_adapters(group: Any) -> None:
    """Which to load, and their scales."""
    add = group.add_argument
    add(
        "--lora",
        action="append",
        type=adapters,
        default=[],
        metavar="FILES",
        help="LoRA adapters in GGUF, between commas; may be given several times",
    )
    add(
        "--lora-scaled",
        dest="lora",
        action="append",
        type=scaled_adapters,
        metavar="FILE:SCALE,...",
        help="the same with a scale for each",
    )
    add(
        "--lora-init-without-apply",
        action="store_true",
        help="begin with a scale of 0 for each; POST /lora-adapters sets others",
    )


def read_lora(args: argparse.Namespace) -> tuple[tuple[str, float], ...]:
    """Files of adapters and the scales that they begin with."""
    unused = args.lora_init_without_apply
    return tuple((path, 0.0 if unused else scale) for rows in args.lora for path, scale in rows)
