"""The HTTP application, made of its parts."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ..text import Pieces
from .api import chat, completion, models, openai_completion, reports, tokens
from .auth import ApiKeys
from .client import EngineClient
from .defaults import sampling_of
from .errors import install
from .openapi import document, openapi_router
from .state import ServerSettings, Serving, Vocabulary

ROUTERS = (
    models.router,
    completion.router,
    openai_completion.router,
    chat.router,
    tokens.router,
    reports.router,
)


def openapi_document() -> dict[str, Any]:
    """What every app answers at `/openapi.json`."""
    return document((*ROUTERS, openapi_router(ROUTERS)))


def create_app(client: EngineClient, vocabulary: Vocabulary, settings: ServerSettings) -> FastAPI:
    """An application that serves one engine. The caller starts and closes the client."""
    app = FastAPI(title="pannier", openapi_url=None)  # FastAPI's would not know what handlers read
    app.state.serving = Serving(
        client=client,
        vocabulary=vocabulary,
        settings=settings,
        sampling=sampling_of(vocabulary.metadata),
        pieces=Pieces(vocabulary),
        all_pieces=Pieces(vocabulary, special=True),
    )
    for router in (*ROUTERS, openapi_router(ROUTERS)):
        app.include_router(router)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    install(app)
    return app
