"""The documentation's prose that belongs to no field and no endpoint: markdown, by heading."""

from __future__ import annotations

INTRO = """\
The endpoints, names, defaults and shapes are those of the pinned llama.cpp's `llama-server`.

Requests with a body are `POST` with a JSON object (UTF-8, at most `--max-body-mib`; the \
content type does not matter). A field that is absent or `null` takes its default. Names that \
nobody knows are ignored, as there (`model` among them).

With `--api-key`, every endpoint but `/health` and the page's files wants \
`Authorization: Bearer KEY` or `X-Api-Key: KEY`."""

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
| 405 | `invalid_request_error` | no such method there; `Allow` names those that are |
| 408 | `invalid_request_error` | the client took too long to send its request |
| 413 | `invalid_request_error` | the body is larger than `--max-body-mib` |
| 414, 431 | `invalid_request_error` | the URL is longer than 8 KiB; there are more than 128 \
headers or 64 KiB of them |
| 500 | `server_error` | a step failed, or a mistake of ours |
| 501 | `not_supported_error` | the operator has turned the endpoint off, or the server was \
started for something else: embeddings, reranking, completions |
| 503 | `unavailable_error` | the model is being loaded, the engine has ended, the server shuts \
down, no slot is idle (`/slots` with `fail_on_no_slot`), or there are `--max-connections` already |

JSON may be 200 levels deep. After 408, 413, 414, 431 and what is no HTTP the connection closes."""

REQUESTS = """\
Every answer has an `X-Request-Id`: the client's own if it sent one of at most 128 letters, \
digits and `._:/+=-`, a new one otherwise. With `-lv 4` the log has a line for each request (but \
for `/health`, `/models`, `/props` and `/metrics`): client, method, path, status, seconds, id; \
with `--log-jsonl` the same as fields of an object.

`HEAD` is `GET` without the body. `OPTIONS` answers any path without a key, as browsers ask it: \
`--cors-origins` and its kin say which web pages may call the server. By default all may, as with \
llama-server; a server with a secret beside it wants `--cors-origins localhost` or a key."""

NOT_YET = """\
- Fields: see [Refused](#refused).
- Endpoints: audio, resuming a stream, `/v1/chat/completions/control`.
- No router of several models. The page at `/` is ours ([page.md](page.md)) and has no settings."""

DIFFERENT = """\
| | llama-server | pannier |
|---|---|---|
| the cache is full | running requests end with an error | cells are reserved before a request \
starts: what does not fit now waits |
| a field of theirs that is not there | | an error that names it and its value |
| an input to embed is too long; a completion where a model only embeds | 500 | 400; 501 |
| `--embeddings` with a model that generates | completions too | embeddings only |
| `/embedding` with `--reranking` | numbers of another buffer | 501 |
| `--lora-init-without-apply` | applies all the same | scales begin with 0 |
| a `lora` with an adapter that is not there | ignored | 400 |
| a prompt that was computed with other adapters | a request without `lora` goes on from it | \
computed anew |
| `tool_choice` with the name of a function | `auto`, on `/v1/messages` any of them | that \
function is called |
| `logprobs` with `tools` in a stream | 400 | each chunk has those of its tokens |
| `/v1/responses` | events without numbers; a `text.format` is not looked at | \
`sequence_number`, `output_index`, `content_index`; the answer has that form |
| `/v1/messages` | `output_config` and `tool_choice` of type `none` are not looked at | they count |
| images in a conversation, without a model for them | 500 | 400 |
| a method that a path has not | 404 | 405 with `Allow` |
| the engine's process dies | the server with it | another takes over and goes on with the \
requests; `/health` is 503 until then |
| a slot | holds what it computed last | is a number: any slot starts from any prefix |
| slot files | any model of the same shape takes them | they fit one model file, engine and cache \
layout, and have a digest |
| `n_cache_reuse` | moves chunks inside the cache, which changes the answer | taken, and \
nothing is moved |
| `backend_sampling` | samples on the device | taken, and sampled on the CPU: the \
tokens are the same |
| `n_predict` 0 | samples one token | samples none |
| the last cell of a context | stays empty | is used: one more token |
| several prompts in `/v1/completions` | `usage` of the first answer | of all |
| a token that ends within a character | left out of `tokens` and probabilities, its bytes joined \
with the next token's | listed |
| probabilities and a stop string | as many tokens are left out as the stop string has by itself | \
those whose bytes are not in the text |
| an empty stop string in a list | ends the answer at once | is ignored |
| the page | talks to the model | shows what the server does, and talks to the model |
| `--path` with `--no-ui` | serves nothing | serves the folder |
| the name of the model without `--alias` | the path of the file | its name |"""

NOTES = {
    "Requests": REQUESTS,
    "Streams": STREAMS,
    "Errors": ERRORS,
    "Not there yet": NOT_YET,
    "Different on purpose": DIFFERENT,
}
