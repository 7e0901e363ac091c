"""`POST /rerank`: documents in the order in which they answer a query, in Jina's form or TEI's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..body import read_object
from ..embeddings import embed
from ..errors import ApiError
from ..fields import Body, boolean, integer, whole, wrong
from ..rerank import rerank_prompt
from ..shapes import model_json, prompt_usage_json
from ..state import serving
from ..wire import json_response

router = APIRouter()

TOP_N = whole("top_n", 0)


@router.post("/rerank")
@router.post("/reranking")
@router.post("/v1/rerank")
@router.post("/v1/reranking")
async def rerank(request: Request) -> Response:
    """Score each document. `texts` in the place of `documents` asks for TEI's form."""
    server = serving(request)
    if not server.settings.reranking:
        raise ApiError(
            "This server does not support reranking. Start it with `--reranking`", status=501
        )
    body = await read_object(request)
    query = _query(body)
    documents = _documents(body)
    top_n = integer(body, TOP_N, len(documents))
    is_tei = "texts" in body
    with_text = is_tei and boolean(body, "return_text")
    prompts = [await rerank_prompt(query, text, server.vocabulary) for text in documents]
    rows = await embed(request, prompts)
    if rows is None:
        return Response(status_code=499)  # nobody reads it
    scores = [float(row[0]) for row in rows]
    label = "score" if is_tei else "relevance_score"
    results = ranked(scores, label, documents if with_text else None)[:top_n]
    if is_tei:
        return json_response(results)
    usage = prompt_usage_json(sum(map(len, prompts)))
    return json_response({**model_json(body, server), "usage": usage, "results": results})


def _query(body: Body) -> str:
    query = body.get("query")
    if query is None:
        raise ApiError('"query" must be provided')
    if not isinstance(query, str):
        raise wrong("query", "a string", query)
    return query


def _documents(body: Body) -> list[str]:
    name = "documents" if body.get("documents") is not None else "texts"
    documents = body.get(name)
    if documents is None:
        raise ApiError('"documents" must be a non-empty string array')
    if not isinstance(documents, list) or not documents:
        raise wrong(name, "a list of strings, not empty", documents)
    for document in documents:
        if not isinstance(document, str):
            raise wrong(name, "a list of strings, not empty", document)
    return documents


def ranked(scores: list[float], label: str, texts: list[str] | None) -> list[dict[str, Any]]:
    """One object for each document, best first."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"index": i, label: scores[i], **({"text": texts[i]} if texts else {})} for i in order]
