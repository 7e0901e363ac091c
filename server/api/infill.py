"""`POST /infill`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ..answer import respond
from ..body import read_body
from ..endpoint import describes
from ..infill import Sizes, check_fim, infill_prompt
from ..prompts import check_length, tokenize
from ..requests.infill import InfillBody
from ..responses.completion import Completion, CompletionChunk
from ..state import serving
from .completion import Native

router = APIRouter()


@router.post("/infill")
@describes(
    answer=Completion | list[Completion],
    body=InfillBody,
    event=CompletionChunk | Completion,
    example={
        "input_prefix": "def add(a, b):\n    return ",
        "input_suffix": "\n\nprint(add(1, 2))\n",
        "n_predict": 16,
    },
    needs="a model that fills gaps",
    errors=(501,),
)
async def infill(request: Request) -> Response:
    """What belongs into the gap of a text.

    For models that were trained for it, which have tokens for what is before and after a gap; any
    other says 501. The prompt is made as llama-server makes it, with room for `-b` tokens around
    the gap and for `input_extra` in the rest of the context. The answer is `/completion`'s.
    """
    server = serving(request)
    check_fim(server.vocabulary.fim)
    body = await read_body(request, InfillBody)
    wanted = body.generation(server)
    prefix, suffix = [
        await tokenize(
            value, server.vocabulary, add_special=False, parse_special=False, field=field
        )
        for field, value in (
            ("input_prefix", body.input_prefix),
            ("input_suffix", body.input_suffix),
        )
    ]
    prompt = infill_prompt(
        server.vocabulary,
        prefix,
        suffix,
        await tokenize(body.prompt, server.vocabulary, add_special=False),
        body.extra,
        Sizes(server.settings.n_batch, server.info.n_ctx_slot),
        suffix_first=server.settings.spm_infill,
    )
    check_length(prompt, server.info.n_ctx_slot)
    return await respond(request, wanted, [prompt], Native(server, wanted))
