"""What a request that lost its engine asks of the next one."""

from __future__ import annotations

from typing import Any

import pytest

from pannier.sampling import SamplingParams
from pannier.server.messages import FinishReason, Output, Submit, Timings, TokenLogprob
from pannier.server.replay import Replay, is_greedy

N_CTX = 64
GREEDY = SamplingParams(temperature=0.0)
UNSEEDED = SamplingParams()
SEEDED = SamplingParams(seed=7)


def begun(sampling: SamplingParams, *tokens: int, **more: Any) -> Replay:
    """A request whose client has got these tokens."""
    replay = Replay(Submit(1, [10, 11, 12], sampling, **more))
    replay.started = True
    if tokens:
        assert replay.accept(Output(1, list(tokens))) is not None
    return replay


@pytest.mark.parametrize("sampling", [GREEDY, UNSEEDED, SEEDED, SamplingParams(mirostat=2)])
def test_with_nothing_delivered_it_is_asked_again(sampling: SamplingParams) -> None:
    replay = begun(sampling, whole=True)
    first = replay.submit
    assert replay.engine_gone(N_CTX) == ""
    assert replay.submit == first


@pytest.mark.parametrize("sampling", [GREEDY, UNSEEDED])
def test_greedy_and_unseeded_go_on_after_their_tokens(sampling: SamplingParams) -> None:
    replay = begun(sampling, 20, 21, max_tokens=8)
    assert replay.accept(Output(1, [22])) is not None
    assert replay.engine_gone(N_CTX) == ""
    assert replay.submit == Submit(1, [10, 11, 12], sampling, 8, generated=(20, 21, 22))
    assert replay.accept(Output(1, [23])) == Output(1, [23])


def test_seeded_runs_again_and_shows_only_what_is_new() -> None:
    replay = begun(SEEDED, 20, 21, 22)
    first = replay.submit
    assert replay.engine_gone(N_CTX) == ""
    assert replay.submit == first
    probs = [TokenLogprob(token, -1.0) for token in range(20, 25)]
    assert replay.accept(Output(1, [20, 21], probs[:2], timings=Timings(3, 1, 2, 1))) is None
    news = replay.accept(Output(1, [22, 23, 24], probs[2:]))
    assert news == Output(1, [23, 24], probs[3:])
    assert replay.accept(Output(1, [25])) == Output(1, [25])


@pytest.mark.parametrize(
    ("tokens", "finish"), [([20, 99], None), ([20], "eos"), ([20], "length"), ([], "eos")]
)
def test_seeded_output_that_differs_is_an_error(
    tokens: list[int], finish: FinishReason | None
) -> None:
    replay = begun(SEEDED, 20, 21)
    replay.engine_gone(N_CTX)
    news = replay.accept(Output(1, tokens, finish=finish))
    assert news is not None
    assert (news.tokens, news.finish, news.status) == ([], "error", 503)
    assert "restarted" in news.error
    assert "seeded" in news.error


def test_an_engine_that_gives_up_while_it_repeats_says_why() -> None:
    replay = begun(SEEDED, 20, 21)
    replay.engine_gone(N_CTX)
    error = Output(1, finish="error", error="no memory")
    assert replay.accept(error) == error


def test_the_end_comes_with_the_last_repeated_token() -> None:
    replay = begun(SEEDED, 20, 21)
    replay.engine_gone(N_CTX)
    assert replay.accept(Output(1, [20, 21], finish="eos")) == Output(1, finish="eos")


def test_mirostat_keeps_more_than_its_tokens() -> None:
    assert "mirostat" in begun(SamplingParams(mirostat=1), 20).engine_gone(N_CTX)
    replay = begun(SamplingParams(mirostat=1, seed=7), 20)
    assert replay.engine_gone(N_CTX) == ""
    assert replay.submit.generated == ()


def test_a_second_end_while_it_runs_is_the_last() -> None:
    replay = begun(GREEDY, 20)
    assert replay.engine_gone(N_CTX) == ""
    replay.accept(Output(1, [21]))
    assert "second" in replay.engine_gone(N_CTX)


def test_ends_before_it_runs_do_not_count() -> None:
    replay = Replay(Submit(1, [10], GREEDY))
    for _ in range(5):
        assert replay.engine_gone(N_CTX) == ""
    replay.started = True
    assert replay.engine_gone(N_CTX) == ""
    for _ in range(5):
        assert replay.engine_gone(N_CTX) == ""


def test_what_a_lost_wait_was_to_go_on_with_is_kept() -> None:
    for sampling in (GREEDY, SEEDED):
        replay = begun(sampling, 20, 21)
        replay.engine_gone(N_CTX)
        submit = replay.submit
        replay.engine_gone(N_CTX)  # it waited for a slot there
        assert replay.submit == submit
        again = [22] if submit.generated else [20, 21, 22]
        assert replay.accept(Output(1, again)) == Output(1, [22])


def test_an_output_that_no_context_holds_cannot_go_on() -> None:
    tokens = range(20, 20 + N_CTX)
    assert "64 tokens" in begun(GREEDY, *tokens).engine_gone(N_CTX)
    assert begun(SEEDED, *tokens).engine_gone(N_CTX) == ""


@pytest.mark.parametrize(
    ("changes", "greedy"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": -1.0}, True),
        ({"temperature": 0.1}, False),
        ({"top_k": 1}, True),
        ({"top_k": 1, "samplers": ("temperature",)}, False),
        ({"temperature": 0.0, "samplers": ("top_k",)}, False),
        ({"temperature": 0.0, "dynatemp_range": 0.5}, False),
        ({"temperature": 0.0, "xtc_probability": 0.5}, False),
        ({"top_k": 1, "mirostat": 2}, False),
    ],
)
def test_greedy(changes: dict[str, Any], greedy: bool) -> None:
    assert is_greedy(SamplingParams(**changes)) is greedy
