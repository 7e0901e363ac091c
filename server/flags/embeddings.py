"""Flags of servers that embed or rank, of adapters, and of filling in the middle."""

from __future__ import annotations

from .flag import Flag, switch, value
from .values import adapters, one_of, scaled_adapters

EMBEDDINGS: tuple[Flag, ...] = (
    switch("--embedding --embeddings", "server.embeddings", "serve embeddings, and nothing else; "
           "-ub is the most tokens of an input", env="LLAMA_ARG_EMBEDDINGS", usual=True),
    switch("--rerank --reranking", "server.reranking", "serve /rerank: --embeddings --pooling rank",
           env="LLAMA_ARG_RERANKING", usual=True),
    value("--pooling", "engine.pooling", "KIND", one_of("none", "mean", "cls", "last", "rank"),
          "how the tokens of an input become one embedding: none, mean, cls, last or rank "
          "(default: as the model file says)", env="LLAMA_ARG_POOLING", usual=True),
)  # fmt: skip

ADAPTERS: tuple[Flag, ...] = (
    value("--lora", "start.lora", "FILES", adapters,
          "LoRA adapters in GGUF, between commas; may be given several times", many=True,
          usual=True),
    value("--lora-scaled", "start.lora", "FILE:SCALE,...", scaled_adapters,
          "the same with a scale for each", many=True, usual=True),
    switch("--lora-init-without-apply", "start.lora_unused", "begin with a scale of 0 for each; "
           "POST /lora-adapters sets others", usual=True),
    switch("--spm-infill", "server.spm_infill", "/infill shows the model what comes after the gap "
           "first; some models were trained so"),
)  # fmt: skip
