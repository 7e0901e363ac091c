"""Where the next prompt of a chat goes on."""

from __future__ import annotations

from pannier.server.boundaries import prefixes, token_boundaries
from pannier.server.conversation import Conversation
from pannier.text import Pieces

from .conftest import BOS, FakeVocabulary

SYSTEM = {"role": "system", "content": "be kind"}
QUESTION = {"role": "user", "content": "who?"}


def talk(messages):
    rest = {"add_generation_prompt": True, "chat_template_kwargs": {}, "enable_thinking": True}
    return Conversation({"messages": messages, **rest})


def ends(messages):
    vocabulary = FakeVocabulary()
    conversation = talk(messages)
    prompt = vocabulary.render_chat(conversation.request)[0].prompt
    tokens = vocabulary.tokenize(prompt, add_special=True, parse_special=True)
    texts = prefixes(vocabulary, conversation, prompt)
    found = token_boundaries(texts, prompt, tokens, Pieces(vocabulary, special=True))
    assert tokens[0] == BOS
    return [bytes(tokens[1:n]).decode() for n in found]


def test_the_ends_of_the_system_prompt_and_of_the_last_message():
    assert ends([SYSTEM, QUESTION]) == ["s:be kind", "s:be kind\nu:who?"]


def test_a_chat_without_a_system_prompt_has_the_end_of_its_last_message():
    assert ends([QUESTION]) == ["u:who?"]


def test_a_boundary_inside_a_token_comes_before_it():
    class Pairs:
        def piece(self, token, *, special=False):
            return b"ab"

    assert token_boundaries(["aba"], "ababab", [1, 1, 1], Pieces(Pairs())) == (1,)


def test_a_template_that_refuses_a_part_costs_only_its_boundary():
    class Picky(FakeVocabulary):
        def render_chat(self, request):
            if len(request["messages"]) == 1:
                request = {**request, "messages": [{"role": "nobody"}]}
            return super().render_chat(request)

    conversation = talk([SYSTEM, QUESTION])
    prompt = FakeVocabulary().render_chat(conversation.request)[0].prompt
    found = prefixes(Picky(), conversation, prompt)
    assert found == ["s:be kind\nu:who?"]
