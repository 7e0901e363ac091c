"""From what was given to what each part of the server is started with."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

from ...errors import ArgumentError
from ..chat_settings import ChatSettings
from ..config import EngineConfig
from ..http_settings import HttpSettings, is_socket
from ..logs import LogSettings
from ..settings import ServerSettings
from .given import Given, part

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\"}


def engine_config(given: Given, model: str, engine: str) -> EngineConfig:
    """The engine's part."""
    config = EngineConfig(model=model, engine=engine, **part(given, "engine"))
    if config.n_ctx_slot and not config.n_ctx:
        config = replace(config, n_ctx=config.n_parallel * config.n_ctx_slot)
    reranks = given.get("server.reranking", False)
    return replace(
        config,
        verbosity=log_settings(given).verbosity,
        adapters=tuple(path for path, _ in read_lora(given)),
        slots_are_saved=bool(given.get("server.slot_save_path")),
        embeddings=given.get("server.embeddings", False) or reranks,
        pooling="rank" if reranks else config.pooling,
    )


def read_lora(given: Given) -> tuple[tuple[str, float], ...]:
    """Files of adapters and the scales that they begin with."""
    unused = given.get("start.lora_unused", False)
    return tuple((path, 0.0 if unused else scale) for path, scale in given.get("start.lora", ()))


def server_settings(given: Given, model_path: str) -> ServerSettings:
    """The endpoints' part."""
    from importlib.metadata import version

    from ..adapters import read_adapters

    values = part(given, "server")
    if given.get("start.escape", True):
        _unescape(values, "stops")
    embeds = values.pop("embeddings", False)
    reranks = values.pop("reranking", False)
    lora = read_lora(given)
    return ServerSettings(
        model_path=model_path,
        adapters=read_adapters(model_path, (path for path, _ in lora)),
        adapter_scales=tuple(scale for _, scale in lora),
        n_batch=given.get("engine.n_batch", ServerSettings.n_batch),
        embeddings=embeds or reranks,
        reranking=reranks or (embeds and given.get("engine.pooling") == "rank"),
        build_info=f"pannier-{version('pannier')}",
        sampling=sampling_changes(given),
        chat=ChatSettings(**part(given, "chat")),
        show_prompts=os.environ.get("LLAMA_SERVER_SLOTS_DEBUG", "0") not in ("", "0"),
        **values,
    )


def sampling_changes(given: Given) -> dict[str, Any]:
    """Fields of `SamplingParams`."""
    sampling = part(given, "sampling")
    if given.get("start.escape", True):
        _unescape(sampling, "dry_sequence_breakers")
    biases = dict(given.get("start.logit_bias", ()))
    return {**sampling, "logit_bias": biases} if biases else sampling


def _unescape(values: dict[str, Any], name: str) -> None:
    if name in values:
        values[name] = tuple(map(unescaped, values[name]))


def unescaped(text: str) -> str:
    r"""Text whose `\n`, `\t`, `\x41` and the like stand for one character; others stay."""

    def character(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] == "x" else ESCAPES[code]

    return re.sub(r"""\\(x[0-9a-fA-F]{1,2}|[nrt'"\\])""", character, text)


def http_settings(given: Given) -> HttpSettings:
    """What lies under the endpoints. Raises `ArgumentError`."""
    settings = HttpSettings(**part(given, "http"))
    if bool(settings.ssl_key_file) != bool(settings.ssl_cert_file):
        raise ArgumentError("--ssl-key-file and --ssl-cert-file go together: give both or neither")
    if settings.ssl_key_file and any(map(is_socket, settings.hosts)):
        raise ArgumentError("a Unix socket has no TLS: leave --ssl-key-file out, or name addresses")
    return settings


def log_settings(given: Given) -> LogSettings:
    """The log."""
    return LogSettings(**part(given, "log"))
