"""What waits, what goes, and that nothing is lost or out of order."""

from pannier.server.messages import Output, TokenLogprob
from pannier.server.outbox import Outbox


def sent(outbox: Outbox, now_s: float, *outputs: Output) -> list[Output]:
    return outbox.take(now_s, at_once=outbox.add(outputs))


def test_outputs_of_slow_steps_pass():
    outbox = Outbox(0.008)
    for step in range(3):
        outputs = [Output(1, [step]), Output(2, [step + 10])]
        assert sent(outbox, step * 0.01, *outputs) == outputs


def test_quick_steps_share_a_message():
    outbox = Outbox(0.008)
    assert sent(outbox, 0.0, Output(1, [5])) == [Output(1, [5])]
    assert sent(outbox, 0.003, Output(1, [6], [TokenLogprob(6, -1.0)])) == []
    assert sent(outbox, 0.007, Output(1, [7], [TokenLogprob(7, -2.0)])) == []
    [third] = sent(outbox, 0.009, Output(1, [8], [TokenLogprob(8, -3.0)]))
    assert third.tokens == [6, 7, 8]
    assert [p.token for p in third.logprobs] == [6, 7, 8]
    assert sent(outbox, 0.010, Output(1, [9])) == []
    assert outbox.take(0.011) == [Output(1, [9])]
    assert outbox.take(0.012) == []


def test_a_beginning_and_an_end_go_at_once_and_take_the_others_along():
    outbox = Outbox(0.008)
    sent(outbox, 0.0, Output(1, [5]))
    assert sent(outbox, 0.001, Output(1, [6])) == []
    assert sent(outbox, 0.002, Output(2, [7])) == [Output(1, [6]), Output(2, [7])]
    assert sent(outbox, 0.003, Output(1, [8])) == []
    end = Output(2, [9], finish="eos")
    assert sent(outbox, 0.004, end) == [Output(1, [8]), end]
    assert sent(outbox, 0.005, Output(2, [3])) == [Output(2, [3])], "a new request of that number"


def test_a_whole_request_comes_once():
    outbox = Outbox()
    outbox.hold(1)
    probs = [TokenLogprob(token, -1.0) for token in (5, 6, 7)]
    assert sent(outbox, 0.0, Output(1, [5], [probs[0]]), Output(2, [9])) == [Output(2, [9])]
    assert sent(outbox, 1.0, Output(1, [6], [probs[1]])) == []
    [last] = sent(outbox, 2.0, Output(1, [7], [probs[2]], finish="length", slot=3))
    assert (last.tokens, last.logprobs) == ([5, 6, 7], probs)
    assert (last.finish, last.slot) == ("length", 3)
    assert sent(outbox, 3.0, Output(1, [8])) == [Output(1, [8])]


def test_progress_goes_at_once_and_its_request_has_still_to_begin():
    outbox = Outbox(0.008)
    assert sent(outbox, 0.0, Output(1, processed=[0])) == [Output(1, processed=[0])]
    assert sent(outbox, 0.001, Output(1, processed=[5])) == [Output(1, processed=[5])]
    both = sent(outbox, 0.002, Output(1, processed=[9]), Output(1, [7]))
    assert both == [Output(1, [7], processed=[9])]
    assert sent(outbox, 0.003, Output(1, [8])) == []


def test_an_error_brings_what_there_was():
    outbox = Outbox()
    outbox.hold(1)
    sent(outbox, 0.0, Output(1, [5]))
    [last] = sent(outbox, 0.0, Output(1, finish="error", error="broken", status=400))
    assert (last.tokens, last.error, last.status) == ([5], "broken", 400)
