"""Answers that nobody limited end soon: a context that is shifted has room for ever."""

from __future__ import annotations

from typing import Any

import schemathesis

LENGTHS = ("n_predict", "max_completion_tokens", "max_tokens")
N_PREDICT = 32


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Bodies of every endpoint; those that generate nothing ignore the field."""
    body = case.body
    if isinstance(body, dict):
        named = [name for name in LENGTHS if body.get(name) is not None]
        if not named or body[named[0]] == -1:
            case.body = {**body, (named or LENGTHS)[0]: N_PREDICT}
