"""Held outputs come with the last one, complete and in order; others pass."""

from pannier.server.messages import Output, TokenLogprob
from pannier.server.outbox import Outbox


def test_outputs_of_others_pass():
    outputs = [Output(1, [5]), Output(2, finish="eos")]
    assert list(Outbox().pass_on(outputs)) == outputs


def test_a_whole_request_comes_once():
    outbox = Outbox()
    outbox.hold(1)
    probs = [TokenLogprob(token, -1.0) for token in (5, 6, 7)]
    assert list(outbox.pass_on([Output(1, [5], [probs[0]]), Output(2, [9])])) == [Output(2, [9])]
    assert list(outbox.pass_on([Output(1, [6], [probs[1]])])) == []
    [last] = outbox.pass_on([Output(1, [7], [probs[2]], finish="length", slot=3)])
    assert (last.tokens, last.logprobs) == ([5, 6, 7], probs)
    assert (last.finish, last.slot) == ("length", 3)
    assert list(outbox.pass_on([Output(1, [8])])) == [Output(1, [8])]


def test_an_error_brings_what_there_was():
    outbox = Outbox()
    outbox.hold(1)
    list(outbox.pass_on([Output(1, [5])]))
    [last] = outbox.pass_on([Output(1, finish="error", error="broken", status=400)])
    assert (last.tokens, last.error, last.status) == ([5], "broken", 400)
