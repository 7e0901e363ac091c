"""Replies of tiny models: against straight generation, and what ends them."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest

from pannier import Batch, SamplingParams
from pannier.chat_cli.local import LocalSpeaker
from pannier.chat_cli.session import Session
from pannier.errors import CacheFull, ChatError, DecodeError

from .test_session import say

pytestmark = pytest.mark.engine

GREEDY = SamplingParams.greedy()
FAMILIES = ("llama", "qwen3next")
QUESTIONS = ("hello", "tell me a story", "and then?")


def rendered(context, messages):
    """The tokens of a conversation, up to where the reply begins."""
    prompt = context.model.apply_chat_template(messages).prompt
    return context.model.tokenize(prompt, parse_special=True)


def straight(context, prompt, n):
    """Greedy text after a prompt in an empty context, in one go."""
    context.set_sampler(0, GREEDY)
    tokens, pending = [], prompt
    while len(tokens) < n:
        for begin in range(0, len(pending), context.n_batch):
            batch = Batch()
            last = begin + context.n_batch >= len(pending)
            batch.add(0, pending[begin : begin + context.n_batch], sample=last)
            result = context.step(batch)
        pending = [result.sampled[0].token]
        if context.model.is_eog(pending[0]):
            break
        tokens += pending
    return context.model.detokenize(tokens, unparse_special=False).decode("utf-8", "replace")


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_are_those_of_straight_generation(open_context, family):
    context = open_context(family)
    session = Session(LocalSpeaker(context, GREEDY, 40), "be brief")
    for question in QUESTIONS:
        asked = [*session.messages, {"role": "user", "content": question}]
        pieces, end = say(session, question)
        fresh = open_context(family)
        prompt = rendered(fresh, asked)
        assert "".join(pieces) == end.text == straight(fresh, prompt, 40)
        assert end.n_prompt == len(prompt)


def test_a_turn_computes_what_is_new_only(open_context, fed):
    context = open_context("llama")
    speaker = LocalSpeaker(context, GREEDY, 20)
    session = Session(speaker)
    _, first = say(session, "hello " * 30)
    held = list(speaker.cache.tokens)
    del fed[:]
    _, end = say(session, "more")
    prompt = rendered(context, session.messages[:-1])
    new = prompt[end.n_reused :]
    assert held[: end.n_reused] == prompt[: end.n_reused]
    assert fed[0] == new and end.n_reused >= first.n_prompt
    assert [len(step) for step in fed[1:]] == [1] * (len(fed) - 1)


def test_prompts_longer_than_a_batch(open_context, fed):
    session = Session(LocalSpeaker(open_context("llama"), GREEDY, 1))
    _, end = say(session, "a" * 150)
    assert [len(step) for step in fed] == [64, 64, end.n_prompt - 128]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_without_room_for_a_reply(open_context, fed, family):
    session = Session(LocalSpeaker(open_context(family, n_ctx=256), GREEDY, 5))
    say(session, "hello")
    before = list(session.messages)
    del fed[:]
    with pytest.raises(CacheFull, match=r"has \d{3} tokens, .* room for 256; /clear .* -c "):
        say(session, "a" * 300)
    assert session.messages == before and not fed
    assert say(session, "hello")[1].n_tokens > 0


def test_a_reply_that_fills_the_context(open_context):
    context = open_context("qwen3next", n_ctx=256)
    session = Session(LocalSpeaker(context, GREEDY))
    _, end = say(session, "hello")
    assert (end.finish, end.n_ctx) == ("context", 256)
    assert end.n_used == 257  # the last token is shown, and never computed
    assert session.messages[-1]["content"] == end.text
    fresh = open_context("qwen3next", n_ctx=512)
    assert end.text == straight(fresh, rendered(fresh, session.messages[:1]), end.n_tokens)


def test_limits_of_a_reply(open_context):
    session = Session(LocalSpeaker(open_context("qwen3next"), GREEDY, 7))
    _, end = say(session, "hello")
    assert (end.finish, end.n_tokens) == ("length", 7)


def test_end_of_generation_ends_a_reply(open_context):
    context = open_context("llama")
    session = Session(LocalSpeaker(context, GREEDY))
    _, end = say(session, "bag")
    assert end.finish == "stop" and 0 < end.n_tokens < 400
    assert not any(context.model.is_eog(token) for token in session.speaker.cache.tokens[-9:])


def test_stop_strings_of_the_template(open_context, monkeypatch):
    context = open_context("qwen3next")
    _, whole = say(Session(LocalSpeaker(context, GREEDY, 40)), "hello")
    stop = re.findall("[!-~]{2}", whole.text)[-1]
    apply = context.model.apply_chat_template
    monkeypatch.setattr(
        context.model,
        "apply_chat_template",
        lambda messages: replace(apply(messages), stops=(stop,)),
    )
    pieces, end = say(Session(LocalSpeaker(context, GREEDY, 40)), "hello")
    assert "".join(pieces) == end.text == whole.text[: whole.text.index(stop)]
    assert end.finish == "stop" and end.n_tokens < 40


def test_what_the_template_refuses(open_context, monkeypatch):
    context = open_context("llama")
    apply = context.model.apply_chat_template
    template = "{{ raise_exception('no such role') }}"
    monkeypatch.setattr(
        context.model, "apply_chat_template", lambda messages: apply(messages, template=template)
    )
    session = Session(LocalSpeaker(context, GREEDY))
    with pytest.raises(ChatError, match="no such role"):
        say(session, "hello")
    assert session.messages == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stopped_reply_keeps_what_it_showed(open_context, family):
    context = open_context(family)
    session = Session(LocalSpeaker(context, GREEDY, 20))
    reply = session.say("tell me a story")
    shown = next(reply)
    session.speaker.stop()
    with pytest.raises(StopIteration) as ended:
        while True:
            shown += next(reply)
    end = ended.value.value
    assert end.finish == "interrupted" and 0 < end.n_tokens < 10
    assert session.messages[-1] == {"role": "assistant", "content": shown}
    assert len(session.speaker.cache) >= end.n_prompt
    asked = [*session.messages, {"role": "user", "content": "more"}]
    fresh = open_context(family)
    assert say(session, "more")[1].text == straight(fresh, rendered(fresh, asked), 20)


def test_abort_ends_a_step_that_runs(open_context, monkeypatch):
    context = open_context("qwen3next", n_ctx=4096, n_batch=4096)
    speaker = LocalSpeaker(context, GREEDY)
    session = Session(speaker)
    real, ended = context.step, threading.Event()

    def abort():
        while not ended.wait(0.001):
            speaker.abort()

    def step(batch):
        threading.Thread(target=abort).start()
        try:
            return real(batch)
        finally:
            ended.set()

    monkeypatch.setattr(context, "step", step)
    pieces, end = say(session, "a" * 3500)
    assert (pieces, end.finish, end.n_tokens) == ([], "interrupted", 0)
    assert session.messages == [] and len(speaker.cache) == 0
    monkeypatch.setattr(context, "step", real)
    assert say(session, "hello")[1].text


def test_a_step_that_fails(open_context, monkeypatch):
    context = open_context("llama")
    session = Session(LocalSpeaker(context, GREEDY))

    def step(batch):
        raise DecodeError("the step failed with code -3")

    monkeypatch.setattr(context, "step", step)
    with pytest.raises(DecodeError, match="code -3"):
        say(session, "hello")
    assert session.messages == []
