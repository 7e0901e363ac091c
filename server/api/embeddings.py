"""`POST /embedding`, llama-server's own form, and `/v1/embeddings`, OpenAI's."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request, Response

from ...embedding import Rows
from ..body import read_body
from ..embeddings import embed, normalized, read_inputs
from ..endpoint import describes
from ..errors import ApiError
from ..requests.embeddings import EmbeddingsBody
from ..responses.embeddings import Embeddings, NativeEmbedding
from ..shapes import list_json, prompt_usage_json
from ..state import Serving, serving
from ..wire import json_response

router = APIRouter()


@router.post("/embeddings")
@router.post("/embedding")
@describes(
    answer=list[NativeEmbedding],
    body=EmbeddingsBody,
    example={"content": ["Hello", "Good morning"]},
    example_answer=[
        {"index": 0, "embedding": [[-0.0628, 0.055]]},
        {"index": 1, "embedding": [[-0.0185, 0.0911]]},
    ],
    needs="--embeddings",
    errors=(501,),
)
async def embedding(request: Request) -> Response:
    """Texts to embeddings, in llama-server's form.

    For a server that was started with `--embeddings`, which answers no completions; any other says
    501. `--pooling` chooses how the tokens of an input become one embedding (`none`: a row for each
    token). An input may have as many tokens as `-ub`, or as the context where the last token's
    embedding is the input's (`--pooling last`). Inputs of all clients are computed together.
    """
    return await _respond(request, openai=False)


@router.post("/v1/embeddings")
@describes(
    answer=Embeddings | list[NativeEmbedding],
    body=EmbeddingsBody,
    example={"input": "Hello"},
    example_answer={
        "model": "all-minilm-l6-v2",
        "object": "list",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "data": [{"embedding": [-0.0628, 0.055], "index": 0, "object": "embedding"}],
    },
    needs="--embeddings",
    errors=(501,),
)
async def openai_embedding(request: Request) -> Response:
    """Texts to embeddings, in OpenAI's form.

    With `content` in the place of `input` the answer is `/embedding`'s.
    """
    return await _respond(request, openai=True)


async def _respond(request: Request, *, openai: bool) -> Response:
    server = serving(request)
    check_embeds(server, openai)
    body = await read_body(request, EmbeddingsBody)
    field = "input" if body.input is not None else "content"
    prompts = await read_inputs(getattr(body, field), server, field)
    rows = await embed(request, prompts)
    if rows is None:
        return Response(status_code=499)  # nobody reads it
    if is_pooled(server):
        rows = [normalized(row, body.embd_normalize) for row in rows]
    if not openai or field == "content":
        return json_response([_native(i, row) for i, row in enumerate(rows)])
    data = [_openai(i, row, body.encoding_format) for i, row in enumerate(rows)]
    usage = prompt_usage_json(sum(map(len, prompts)))
    return json_response({**list_json(body.model, server), "usage": usage, "data": data})


def check_embeds(server: Serving, openai: bool) -> None:
    """Raises `ApiError` for a server that does not embed, or not in this form."""
    if not server.settings.embeddings:
        raise ApiError(
            "This server does not support embeddings. Start it with `--embeddings`", status=501
        )
    if server.info.facts["pooling"] == "rank":
        raise ApiError(
            "This server scores documents: use /rerank, or start it with `--embeddings` and "
            "another `--pooling`",
            status=501,
        )
    if openai and not is_pooled(server):
        raise ApiError(
            "Pooling type 'none' is not OAI compatible. Please use a different pooling type"
        )


def is_pooled(server: Serving) -> bool:
    """One row for each input."""
    return bool(server.info.facts["pooling"] != "none")


def _native(index: int, row: Rows) -> dict[str, Any]:
    return {"index": index, "embedding": row.reshape(-1, row.shape[-1]).tolist()}


def _openai(index: int, row: Rows, encoding: str) -> dict[str, Any]:
    if encoding == "base64":
        data = base64.b64encode(row.astype("<f4").tobytes()).decode()
        return {
            "embedding": data,
            "index": index,
            "object": "embedding",
            "encoding_format": "base64",
        }
    return {"embedding": row.tolist(), "index": index, "object": "embedding"}
