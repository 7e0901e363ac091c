"""`POST /rerank`: documents in the order in which they answer a query, in Jina's form or TEI's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ..body import read_body
from ..embeddings import embed
from ..endpoint import describes
from ..errors import ApiError
from ..requests.rerank import RerankBody
from ..rerank import rerank_prompt
from ..responses.embeddings import Rank, Ranking
from ..shapes import list_json, prompt_usage_json
from ..state import serving
from ..wire import json_response

router = APIRouter()


@router.post("/v1/reranking")
@router.post("/v1/rerank")
@router.post("/reranking")
@router.post("/rerank")
@describes(
    answer=Ranking | list[Rank],
    body=RerankBody,
    example={"query": "What barks?", "documents": ["a cat", "a dog"], "top_n": 1},
    example_answer={
        "model": "bge-reranker-v2-m3",
        "object": "list",
        "usage": {"prompt_tokens": 20, "total_tokens": 20},
        "results": [{"index": 1, "relevance_score": 2.31}],
    },
    needs="--reranking",
    errors=(501,),
)
async def rerank(request: Request) -> Response:
    """Documents in the order in which they answer a query.

    For a server that was started with `--reranking`, which embeds nothing; any other says 501. A
    query and a document become one prompt, by the model's own template or the tokens that its
    vocabulary wants around texts. `texts` in the place of `documents` asks for the form of Text
    Embeddings Inference: a list.
    """
    server = serving(request)
    if not server.settings.reranking:
        raise ApiError(
            "This server does not support reranking. Start it with `--reranking`", status=501
        )
    body = await read_body(request, RerankBody)
    texts, is_tei = body.ranked, body.texts is not None
    prompts = [await rerank_prompt(body.query, text, server.vocabulary) for text in texts]
    rows = await embed(request, prompts)
    if rows is None:
        return Response(status_code=499)  # nobody reads it
    scores = [float(row[0]) for row in rows]
    label = "score" if is_tei else "relevance_score"
    with_text = is_tei and body.return_text
    results = ranked(scores, label, texts if with_text else None)[: body.top_n]
    if is_tei:
        return json_response(results)
    usage = prompt_usage_json(sum(map(len, prompts)))
    return json_response({**list_json(body.model, server), "usage": usage, "results": results})


def ranked(scores: list[float], label: str, texts: list[str] | None) -> list[dict[str, Any]]:
    """One object for each document, best first."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [{"index": i, label: scores[i], **({"text": texts[i]} if texts else {})} for i in order]
