"""Steps that give way to those who wait for their next token."""

from __future__ import annotations

from pannier.server.pace import LEAST, Pace


def test_without_a_target_steps_are_as_long_as_they_may():
    pace = Pace(512, 0)
    pace.note(4, 500, 9.0)
    assert pace.n_tokens == 512


def test_steps_come_to_take_as_long_as_they_should():
    pace = Pace(512, 0.1)
    for _ in range(20):
        n_prompt = pace.n_tokens - 4
        pace.note(4, n_prompt, n_prompt * 0.001)  # a millisecond for each token
    assert 90 <= pace.n_tokens - 4 <= 110


def test_a_slow_machine_still_gets_on():
    pace = Pace(512, 0.001)
    pace.note(4, 100, 10.0)
    assert pace.n_tokens == 4 + LEAST


def test_steps_without_prompts_say_nothing_of_prompts():
    pace = Pace(512, 0.1)
    pace.note(8, 0, 5.0)
    assert pace.n_tokens == 512
