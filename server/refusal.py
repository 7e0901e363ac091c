"""Requests that do not get in line, and what they are told."""

from __future__ import annotations

from .limits import Limits
from .messages import AnyRequest, Output, Submit


def why_never(request: Submit, limits: Limits) -> str:
    """Why a request can never run; empty if it can."""
    n_prompt = len(request.prompt)
    n_most = limits.n_ctx_seq
    if not n_prompt:
        return "the prompt is empty: give at least one token"
    if n_prompt + 1 > n_most:
        return (
            f"the prompt has {n_prompt} tokens and the context of a request holds "
            f"{n_most}: shorten it, or give a larger context (n_ctx; -c of a server)"
        )
    if request.overflow == "error" and n_prompt + request.max_tokens > n_most:
        return (
            f"the prompt has {n_prompt} tokens and {request.max_tokens} are to follow, "
            f"{n_prompt + request.max_tokens} in all; the context of a request holds {n_most}: "
            f"at most {n_most - n_prompt} can follow"
        )
    return ""


def refusal(request: AnyRequest, error: str, status: int = 400, retry_after_s: int = 0) -> Output:
    """The answer to a request that does not get in line."""
    return Output(
        request.id, finish="error", error=error, status=status, retry_after_s=retry_after_s
    )
