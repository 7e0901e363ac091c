"""What schemathesis cannot know: which answers end by themselves, and which 5xx is no failure."""

from __future__ import annotations

from typing import Any

import schemathesis

LENGTHS = ("n_predict", "max_completion_tokens", "max_tokens")
N_PREDICT = 32


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Answers that nobody limited end soon (a context that is shifted has room for ever), and so
    does the stream of reports. Endpoints that generate nothing ignore the field."""
    if case.path == "/memory/stream" and not str((case.query or {}).get("n", "")).isdigit():
        case.query = {**(case.query or {}), "n": 1}
    body = case.body
    if isinstance(body, dict):
        named = [name for name in LENGTHS if body.get(name) is not None]
        if not named or body[named[0]] == -1:
            case.body = {**body, (named or LENGTHS)[0]: N_PREDICT}


@schemathesis.check
def no_failure(context: Any, response: Any, case: Any) -> None:
    """No 5xx, but for 501: what this server was not started with, said in so many words."""
    assert response.status_code < 500 or response.status_code == 501, response.text
