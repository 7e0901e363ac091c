"""The documentation's prose that belongs to no field and no endpoint: markdown, by heading."""

from __future__ import annotations

INTRO = """\
The endpoints, names, defaults and shapes are those of the pinned llama.cpp's `llama-server`.

Requests with a body are `POST` with a JSON object (UTF-8, at most 64 MiB; the content type does \
not matter). A field that is absent or `null` takes its default. Names that nobody knows are \
ignored, as there (`model` among them).

With `--api-key`, every endpoint but `/health` wants `Authorization: Bearer KEY` or \
`X-Api-Key: KEY`."""

STREAMS = """\
`text/event-stream`; each event is `data: ` and a JSON object. All that a step brought a client \
goes out in one write.

| endpoint | events |
|---|---|
| `/completion` | chunks with `content`, `tokens`, `stop: false`; then one with `stop: true` and \
all fields of the answer but its text |
| `/v1/completions` | chunks with new `text`; a last one with `finish_reason`, `usage` and \
`timings`; `data: [DONE]` |
| `/v1/chat/completions` | a chunk with the `role`; chunks with new `content`; a last one with \
`finish_reason` and `timings`; with `include_usage` one without choices that has `usage` and \
`timings`; `data: [DONE]` |
| `/v1/responses` | OpenAI's: `event: ` and the event's type before each; items begin with \
their first piece and end, all of them, before `response.completed`, which has `timings` |
| `/v1/messages` | Anthropic's, likewise: blocks end before `message_delta`; an error is \
`event: error` with what other endpoints have under `error` |

Several answers share a stream and are told apart by `index`. Text is held back while it could be \
the beginning of a `stop` or of a character that is not complete. Before its first event a stream \
that fails is an ordinary error response; after it, a last event `{"error": ...}`. A client that \
leaves frees its slot within a step."""

ERRORS = """\
```json
{"error": {"code": 400, "message": "Field 'top_k': expected a whole number, got 'y'", \
"type": "invalid_request_error"}}
```

| status | type | when |
|---|---|---|
| 400 | `invalid_request_error` | the body is no JSON object; a field has a wrong type or \
value, or is not supported yet; the grammar or the chat template refuses |
| 400 | `exceed_context_size_error` | the prompt leaves no room for an answer; with \
`n_prompt_tokens` and `n_ctx` |
| 401 | `authentication_error` | no key, or a wrong one |
| 404 | `not_found_error` | no such path |
| 405 | `invalid_request_error` | no such method there |
| 413 | `invalid_request_error` | the body is too large |
| 500 | `server_error` | a step failed, or a mistake of ours |
| 503 | `unavailable_error` | the model is being loaded, the engine has ended, the server shuts \
down, no slot is idle (`/slots` with `fail_on_no_slot`) |"""

NOT_YET = """\
- Fields: see [Refused](#refused).
- Endpoints: embeddings, reranking, `/infill`, `/metrics`, `/lora-adapters`, `/slots/{id}` (save, \
restore, erase), `POST /props`, audio, resuming a stream, `/v1/chat/completions/control`.
- `id_slot` does nothing: any slot can start from any prefix.
- No router of several models, no web page, no CORS headers, no TLS."""

DIFFERENT = """\
| | llama-server | pannier |
|---|---|---|
| the cache is full | running requests end with an error | cells are reserved before a request \
starts: what does not fit now waits |
| a field of theirs that is not there | | an error that names it and its value |
| `/v1/responses` | events without numbers; a `text.format` is not looked at | \
`sequence_number`, `output_index`, `content_index`; the answer has that form |
| `/v1/messages` | `output_config` and `tool_choice` of type `none` are not looked at | they count |
| images in a conversation, without a model for them | 500 | 400 |
| a method that a path has not | 404 | 405 with `Allow` |
| the engine's process dies | the server with it | another takes over and goes on with the \
requests; `/health` is 503 until then |
| `/slots` | the settings of each request; its text with `LLAMA_SERVER_SLOTS_DEBUG` | never what \
clients wrote |"""

NOTES = {
    "Streams": STREAMS,
    "Errors": ERRORS,
    "Not there yet": NOT_YET,
    "Different on purpose": DIFFERENT,
}
