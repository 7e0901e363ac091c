"""Flags of the HTTP side: addresses, keys, browsers, limits, endpoints, and the log."""

from __future__ import annotations

from ..http_settings import DEFAULT_HOST, DEFAULT_PORT
from .flag import Flag, switch, value
from .values import (
    api_prefix,
    at_least,
    comma_list,
    cors_list,
    existing,
    key_file,
    mib,
    names_of,
    not_negative,
    on_off_auto,
    port,
    whole,
)

HTTP: tuple[Flag, ...] = (
    value("-a --alias", "server.aliases", "NAME,...", comma_list,
          "names of the model for clients, between commas (default: the file's name)",
          env="LLAMA_ARG_ALIAS", usual=True),
    value("--tags", "server.tags", "TAG,...", comma_list,
          "tags of the model that /v1/models shows", env="LLAMA_ARG_TAGS"),
    value("--host", "http.hosts", "HOST,...", names_of,
          "addresses to listen on, between commas; 0.0.0.0: all; a path that ends in .sock: a Unix "
          f"socket (default: {DEFAULT_HOST})", env="LLAMA_ARG_HOST", usual=True),
    value("--port", "http.port", "PORT", port,
          f"port to listen on; 0: a free one (default: {DEFAULT_PORT}, as llama-server)",
          env="LLAMA_ARG_PORT", usual=True),
    switch("--reuse-port", "http.reuse_port", "share the port with other processes that say so "
           "too", env="LLAMA_ARG_REUSE_PORT"),
    value("--api-prefix", "http.api_prefix", "PATH", api_prefix,
          "what stands before the path of every endpoint, as /llm", env="LLAMA_ARG_API_PREFIX"),
    value("--path", "http.static_path", "DIR", existing("folder"),
          "serve the files of a folder beside the endpoints, in the place of the page",
          env="LLAMA_ARG_STATIC_PATH"),
    switch("--ui --webui", "http.ui", "serve the page that shows the server at work, at /",
           off="--no-ui --no-webui", env="LLAMA_ARG_UI", usual=True),
    value("--api-key", "server.api_keys", "KEY,...", comma_list,
          "keys that clients must show, between commas (default: none is asked for)", many=True,
          env="LLAMA_API_KEY", usual=True),
    value("--api-key-file", "server.api_keys", "FILE", key_file,
          "file of such keys, one per line", many=True, env="LLAMA_ARG_API_KEY_FILE", usual=True),
    value("--ssl-key-file", "http.ssl_key_file", "FILE", existing("file"),
          "private key for HTTPS, in PEM form", env="LLAMA_ARG_SSL_KEY_FILE", usual=True),
    value("--ssl-cert-file", "http.ssl_cert_file", "FILE", existing("file"),
          "certificate for HTTPS, in PEM form", env="LLAMA_ARG_SSL_CERT_FILE", usual=True),
    value("--cors-origins", "http.cors_origins", "ORIGIN,...", cors_list,
          "web pages that may call this server, by their origins; *: all; localhost: those of this "
          "machine", env="LLAMA_ARG_CORS_ORIGINS"),
    value("--cors-methods", "http.cors_methods", "NAME,...", cors_list,
          "methods that they may use", env="LLAMA_ARG_CORS_METHODS"),
    value("--cors-headers", "http.cors_headers", "NAME,...", cors_list,
          "headers that they may send", env="LLAMA_ARG_CORS_HEADERS"),
    switch("--cors-credentials", "http.cors_credentials", "let them send credentials; with "
           "--cors-origins * each origin is then named back", off="--no-cors-credentials",
           env="LLAMA_ARG_CORS_CREDENTIALS"),
)  # fmt: skip

LIMITS: tuple[Flag, ...] = (
    value("-to --timeout", "http.timeout_s", "N", at_least(1),
          "longest pause in seconds of a client that sends its request or reads its answer",
          env="LLAMA_ARG_TIMEOUT"),
    value("--header-timeout", "http.header_timeout_s", "N", not_negative,
          "seconds in which a client must have sent the head of its request; 0: as --timeout"),
    value("--max-connections", "http.max_connections", "N", at_least(0),
          "connections at once; one more gets status 503; 0: any number"),
    value("--max-body-mib", "server.max_body_bytes", "N", mib,
          "MiB of the longest body of a request (default: 64)"),
    value("--threads-http", "http.n_threads", "N", whole(-1, 1024),
          "threads that tokenise prompts and render templates; -1: as many as suit the machine",
          env="LLAMA_ARG_THREADS_HTTP"),
    value("--sse-ping-interval", "server.ping_interval_s", "N", at_least(-1),
          "seconds without news after which a stream gets an empty line; -1: never",
          env="LLAMA_ARG_SSE_PING_INTERVAL"),
)  # fmt: skip

ENDPOINTS: tuple[Flag, ...] = (
    switch("--slots", "server.slots_endpoint", "answer /slots; what clients wrote is shown only "
           "with LLAMA_SERVER_SLOTS_DEBUG=1 in the environment", off="--no-slots",
           env="LLAMA_ARG_ENDPOINT_SLOTS"),
    switch("--metrics", "server.metrics_endpoint", "answer /metrics, for Prometheus",
           env="LLAMA_ARG_ENDPOINT_METRICS", usual=True),
    switch("--props", "server.props_endpoint", "answer POST /props",
           env="LLAMA_ARG_ENDPOINT_PROPS"),
    value("--slot-save-path", "server.slot_save_path", "DIR", existing("folder"),
          "folder in which clients may save what a slot holds, to restore it later (default: they "
          "may not)", env="LLAMA_ARG_SLOT_SAVE_PATH", usual=True),
)  # fmt: skip

LOG: tuple[Flag, ...] = (
    value("-lv --verbosity --log-verbosity", "log.verbosity", "N", whole(0, 2**31 - 1),
          "0: results only, 1: errors, 2: warnings, 3: what the server does, 4: requests too, "
          "5: everything", env="LLAMA_ARG_LOG_VERBOSITY", usual=True),
    switch("-v --verbose --log-verbose", "log.verbosity", "the same as -lv 5", on_value=5,
           usual=True),
    switch("--log-disable", "log.verbosity", "the same as -lv 0", on_value=0),
    value("--log-file", "log.file", "FILE", str, "write the log to a file too",
          env="LLAMA_ARG_LOG_FILE", usual=True),
    switch("--log-jsonl", "log.jsonl", "write the log to stdout, one JSON object per line",
           off="--no-log-jsonl", env="LLAMA_ARG_LOG_JSONL"),
    value("--log-colors", "log.colors", "MODE", on_off_auto,
          "colours in the log: on, off or auto: on a terminal", env="LLAMA_ARG_LOG_COLORS"),
    switch("--log-prefix", "log.prefix", "begin each line of the log with its level",
           off="--no-log-prefix", env="LLAMA_ARG_LOG_PREFIX"),
    switch("--log-timestamps", "log.timestamps", "begin each line of the log with the time",
           off="--no-log-timestamps", env="LLAMA_ARG_LOG_TIMESTAMPS"),
)  # fmt: skip
