"""`GET /health`, `/v1/models` and `/props`: what is served, and whether it runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..body import read_body
from ..endpoint import describes
from ..requests.base import RequestBody
from ..requests.generation import GenerationBody
from ..responses.models import MODELS, PROPS, Health, Models, Props, Success
from ..settings import ServerSettings
from ..shapes import settings_json
from ..state import Serving, serving
from ..wire import json_response
from .slots import not_started_with

router = APIRouter()

VOCABULARY_TYPES = {  # llama.h: llama_vocab_type, by the GGUF's tokenizer.ggml.model
    "no_vocab": 0,
    "none": 0,
    "llama": 1,
    "gpt2": 2,
    "gemma4": 2,
    "bert": 3,
    "t5": 4,
    "rwkv": 5,
    "plamo2": 6,
}


@router.get("/health")
@router.get("/v1/health")
@describes(answer=Health, example_answer={"status": "ok"})
async def health(request: Request) -> Response:
    """Whether the engine answers.

    503 with the reason while the model is loaded ("Loading model"), while the engine restarts and
    after it has ended.
    """
    serving(request).client.check_alive()
    return json_response({"status": "ok"})


@router.get("/v1/models")
@router.get("/models")
@describes(answer=Models, example_answer=MODELS)
async def models(request: Request) -> Response:
    """The model that is served, in OpenAI's form and in Ollama's."""
    server = serving(request)
    return json_response({"models": [_ollama(server)], "object": "list", "data": [_openai(server)]})


def _openai(server: Serving) -> dict[str, Any]:
    return {
        "id": server.settings.model_name,
        "aliases": sorted(server.settings.aliases) or [server.settings.model_name],
        "tags": sorted(server.settings.tags),
        "object": "model",
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "created": server.created,
        "owned_by": "pannier",
        "meta": _meta(server),
    }


def _meta(server: Serving) -> dict[str, Any]:
    vocabulary = server.vocabulary
    metadata = vocabulary.metadata
    n_embd = metadata.get(f"{metadata.get('general.architecture')}.embedding_length", "0")
    return {
        "vocab_type": VOCABULARY_TYPES.get(metadata.get("tokenizer.ggml.model", ""), 0),
        "n_vocab": vocabulary.n_vocab,
        "n_ctx": server.info.n_ctx_slot,
        "n_ctx_train": server.info.facts.get("n_ctx_train", vocabulary.n_ctx_train),
        "n_embd": int(n_embd),
        "n_params": server.info.facts.get("n_params", vocabulary.n_params),
        "size": server.info.facts.get("size_bytes", vocabulary.size_bytes),
        "ftype": server.info.facts.get("ftype", ""),
    }


def _ollama(server: Serving) -> dict[str, Any]:
    name = server.settings.model_name
    return {
        "name": name,
        "model": name,
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


@router.get("/props")
@describes(answer=Props, example_answer=PROPS)
async def props(request: Request) -> Response:
    """Facts and defaults of the server."""
    server = serving(request)
    return json_response(
        {
            "default_generation_settings": {
                "params": settings_json(GenerationBody().generation(server), brief=True),
                "n_ctx": server.info.n_ctx_slot,
            },
            "total_slots": server.info.n_slots,
            "model_alias": server.settings.model_name,
            "model_ftype": server.info.facts.get("ftype", ""),
            "model_path": server.settings.model_path,
            "modalities": {"vision": False, "video": False, "audio": False},
            "media_marker": server.media_marker,
            **_switches(server.settings),
            "ui": server.shows_page,
            "chat_template_caps": server.vocabulary.chat_facts.caps,
            "chat_template": server.vocabulary.chat_facts.source,
            "bos_token": _token_text(server, server.vocabulary.bos),
            "eos_token": _token_text(server, server.vocabulary.eos),
            "build_info": server.settings.build_info,
            "engine": server.info.facts,
        }
    )


class PropsBody(RequestBody):
    """Nothing can be changed yet: every name is ignored."""


@router.post("/props")
@describes(answer=Success, body=PropsBody, example={}, errors=(501,))
async def change_props(request: Request) -> Response:
    """Change facts of the server (with `--props`).

    As in llama-server there is nothing yet that could be changed.
    """
    server = serving(request)
    if not server.settings.props_endpoint:
        raise not_started_with("changing global properties", "--props")
    await read_body(request, PropsBody)
    return json_response({"success": True})


def _switches(settings: ServerSettings) -> dict[str, Any]:
    return {
        "endpoint_slots": settings.slots_endpoint,
        "endpoint_props": settings.props_endpoint,
        "endpoint_metrics": settings.metrics_endpoint,
        "ui_settings": {},
        "is_sleeping": False,
        "cors_proxy_enabled": False,
    }


def _token_text(server: Serving, token: int | None) -> str:
    if token is None or token < 0:
        return ""
    return server.all_pieces[token].decode("utf-8", "replace")
