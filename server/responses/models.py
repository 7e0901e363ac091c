"""Answers of `/health`, `/v1/models` and `/props`."""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer
from .generation import BriefSettings


class Health(Answer):
    """The engine answers."""

    status: Literal["ok"]


class Modalities(Answer):
    """What goes in and what comes out."""

    input_modalities: list[str]
    output_modalities: list[str]


class ModelMeta(Answer):
    """Sizes of a model."""

    vocab_type: int
    """llama.cpp's number of the kind of tokenizer."""
    n_vocab: int
    n_ctx: int
    """Tokens of context of one request."""
    n_ctx_train: int
    n_embd: int
    n_params: int
    size: int
    """Bytes of all tensors."""
    ftype: str


class OpenAIModel(Answer):
    """The model in OpenAI's form."""

    id: str
    """The first `--alias`, else the file's name."""
    aliases: list[str]
    tags: list[str]
    object: Literal["model"]
    architecture: Modalities
    created: int
    """Seconds since 1970: when the server started."""
    owned_by: str
    meta: ModelMeta


class OllamaDetails(Answer):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(Answer):
    """The model in Ollama's form."""

    name: str
    model: str
    modified_at: str
    size: str
    digest: str
    type: str
    description: str
    tags: list[str]
    capabilities: list[str]
    parameters: str
    details: OllamaDetails


class Models(Answer):
    """The one model, in two forms."""

    object: Literal["list"]
    data: list[OpenAIModel]
    """OpenAI's."""
    models: list[OllamaModel]
    """Ollama's."""


class Defaults(Answer):
    """What a request that says nothing gets."""

    params: BriefSettings
    n_ctx: int
    """Tokens of context of one request."""


class Media(Answer):
    vision: bool
    video: bool
    audio: bool


class Props(Answer):
    """Facts and defaults, with llama-server's names."""

    default_generation_settings: Defaults
    total_slots: int
    model_alias: str
    model_ftype: str
    model_path: str
    modalities: Media
    media_marker: str
    """Where a prompt would have a picture."""
    endpoint_slots: bool
    endpoint_props: bool
    endpoint_metrics: bool
    ui: bool
    ui_settings: dict[str, Any]
    chat_template: str
    chat_template_caps: dict[str, Any]
    bos_token: str
    eos_token: str
    build_info: str
    is_sleeping: bool
    cors_proxy_enabled: bool
    engine: dict[str, Any]
    """The engine's own facts: its library, process id, bytes of a KV cell and of a recurrent
    state."""


class Success(Answer):
    success: Literal[True]


MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "qwen3-next-80b",
            "model": "qwen3-next-80b",
            "modified_at": "",
            "size": "",
            "digest": "",
            "type": "model",
            "description": "",
            "tags": [""],
            "capabilities": ["completion"],
            "parameters": "",
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "",
                "families": [""],
                "parameter_size": "",
                "quantization_level": "",
            },
        }
    ],
    "object": "list",
    "data": [
        {
            "id": "qwen3-next-80b",
            "aliases": ["qwen3-next-80b"],
            "tags": [],
            "object": "model",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "created": 1767225600,
            "owned_by": "pannier",
            "meta": {
                "vocab_type": 2,
                "n_vocab": 151936,
                "n_ctx": 32768,
                "n_ctx_train": 262144,
                "n_embd": 2048,
                "n_params": 79674391296,
                "size": 48410000000,
                "ftype": "Q4_K - Medium",
            },
        }
    ],
}

PROPS: dict[str, Any] = {
    "default_generation_settings": {
        "params": {
            "seed": 4294967295,
            "temperature": 0.8,
            "dynatemp_range": 0.0,
            "dynatemp_exponent": 1.0,
            "top_k": 40,
            "top_p": 0.95,
            "min_p": 0.05,
            "top_n_sigma": -1.0,
            "xtc_probability": 0.0,
            "xtc_threshold": 0.1,
            "typical_p": 1.0,
            "repeat_last_n": 64,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "dry_multiplier": 0.0,
            "dry_base": 1.75,
            "dry_allowed_length": 2,
            "dry_penalty_last_n": 64,
            "mirostat": 0,
            "mirostat_tau": 5.0,
            "mirostat_eta": 0.1,
            "ignore_eos": False,
            "min_keep": 0,
            "samplers": [
                "penalties",
                "dry",
                "top_n_sigma",
                "top_k",
                "typ_p",
                "top_p",
                "min_p",
                "xtc",
                "temperature",
            ],
            "max_tokens": -1,
            "n_predict": -1,
            "stream": False,
            "n_probs": 0,
            "timings_per_token": False,
            "cache_prompt": True,
            "context_overflow": "stop",
            "priority": 0,
            "adaptive_target": -1.0,
            "adaptive_decay": 0.9,
            "n_keep": 0,
            "n_discard": 0,
            "chat_format": "Content-only",
            "reasoning_format": "none",
            "reasoning_in_content": False,
            "generation_prompt": "",
            "speculative.types": "none",
            "post_sampling_probs": False,
            "backend_sampling": False,
            "lora": [],
        },
        "n_ctx": 32768,
    },
    "total_slots": 4,
    "model_alias": "qwen3-next-80b",
    "model_ftype": "Q4_K - Medium",
    "model_path": "qwen3-next-80b-Q4_K_M.gguf",
    "modalities": {"vision": False, "video": False, "audio": False},
    "media_marker": "<__media_8c1f5a6d0b2e4f7a9c3d1e5b7f8a2c4d__>",
    "endpoint_slots": True,
    "endpoint_props": False,
    "endpoint_metrics": False,
    "ui": False,
    "ui_settings": {},
    "chat_template_caps": {},
    "is_sleeping": False,
    "cors_proxy_enabled": False,
    "chat_template": "{%- if tools %}...",
    "bos_token": "",
    "eos_token": "<|im_end|>",
    "build_info": "b11549-pannier",
    "engine": {
        "pid": 4242,
        "engine": "/home/me/.cache/pannier/engines/cuda-6f1c",
        "build_info": "b11549-pannier",
        "description": "qwen3next 80B.A3B Q4_K - Medium",
        "ftype": "Q4_K - Medium",
        "n_params": 79674391296,
        "size_bytes": 48410000000,
        "n_vocab": 151936,
        "n_ctx_train": 262144,
        "n_embd": 2048,
        "kv_cell_bytes": 24576,
        "recurrent_seq_bytes": 75497472,
        "kv_unified": True,
        "can_cut": False,
    },
}
