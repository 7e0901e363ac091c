"""Where the next prompt of a chat goes on."""

from __future__ import annotations

from pannier.server.boundaries import prefixes, token_boundaries
from pannier.server.conversation import Conversation
from pannier.text import Pieces

from .conftest import BOS, FakeVocabulary

SYSTEM = {"role": "system", "content": "be kind"}
QUESTION = {"role": "user", "content": "who?"}


def ends(messages):
    vocabulary = FakeVocabulary()
    conversation = Conversation(messages, True, {})
    prompt = vocabulary.apply_chat_template(messages).prompt
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
        def apply_chat_template(self, messages, **more):
            if len(messages) == 1:
                messages = [{"role": "nobody"}]
            return super().apply_chat_template(messages, **more)

    prompt = FakeVocabulary().apply_chat_template([SYSTEM, QUESTION]).prompt
    found = prefixes(Picky(), Conversation([SYSTEM, QUESTION], True, {}), prompt)
    assert found == ["s:be kind\nu:who?"]
