"""Bodies that would keep the server at work for as long as the client listens end soon."""

from __future__ import annotations

from typing import Any

import schemathesis

LENGTHS = ("n_predict", "max_tokens", "max_completion_tokens")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A context that is shifted has room for ever."""
    if isinstance(body, dict) and body.get("context_overflow") == "shift":
        named = [name for name in LENGTHS if body.get(name) is not None]
        if not named or body[named[0]] == -1:
            return {**body, (named or LENGTHS)[0]: 16}
    return body
