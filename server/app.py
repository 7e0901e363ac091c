"""The HTTP application, made of its parts."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from ..text import Pieces
from .adapters import AdapterList
from .api import (
    adapters,
    anthropic,
    chat,
    completion,
    embeddings,
    infill,
    input_tokens,
    metrics,
    models,
    openai_completion,
    openai_responses,
    reports,
    rerank,
    slots,
    tokens,
)
from .client import EngineClient
from .defaults import sampling_of
from .edge import Edge
from .errors import install
from .http_settings import HttpSettings
from .openapi import document, openapi_router
from .page.routes import page_routes
from .settings import ServerSettings
from .state import Serving, Vocabulary

ROUTERS = (
    models.router,
    completion.router,
    infill.router,
    openai_completion.router,
    chat.router,
    openai_responses.router,
    anthropic.router,
    input_tokens.router,
    tokens.router,
    embeddings.router,
    rerank.router,
    adapters.router,
    reports.router,
    slots.router,
    metrics.router,
)


def openapi_document() -> dict[str, Any]:
    """What every app answers at `/openapi.json`."""
    return document((*ROUTERS, openapi_router(ROUTERS)))


def create_app(
    client: EngineClient,
    vocabulary: Vocabulary,
    settings: ServerSettings,
    http: HttpSettings | None = None,
) -> FastAPI:
    """An application that serves one engine. The caller starts and closes the client."""
    http = http or HttpSettings()
    app = FastAPI(title="pannier", openapi_url=None)  # FastAPI's would not know what handlers read
    app.state.serving = Serving(
        client=client,
        vocabulary=vocabulary,
        settings=settings,
        sampling=sampling_of(vocabulary.metadata).with_changes(**settings.sampling),
        adapters=AdapterList(settings.adapters, settings.adapter_scales),
        pieces=Pieces(vocabulary, special=settings.special),
        all_pieces=Pieces(vocabulary, special=True),
        shows_page=http.shows_page,
    )
    for router in (*ROUTERS, openapi_router(ROUTERS)):
        app.include_router(router, prefix=http.api_prefix)
    if http.shows_page:
        app.router.routes.extend(page_routes(http.api_prefix))
    if http.static_path:
        app.mount(http.api_prefix or "/", StaticFiles(directory=http.static_path, html=True))
    app.add_middleware(Edge, settings=http, keys=settings.api_keys)
    install(app)
    return app
