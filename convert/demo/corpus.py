"""The demo model's corpus: chats and stories from a seed, all of it written by this package.

python -m pannier.convert.demo.corpus --seed 1 --documents 20 prints a sample.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from random import Random

from .dialogue import Message, make_chat
from .stories import make_story

END_OF_TEXT = "<|endoftext|>"
TURN, END_OF_TURN = "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN, END_OF_TURN)
STORY_SHARE = 0.15
"""Share of documents that are a story without a chat around it."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def documents(seed: int) -> Iterator[str]:
    """Documents without end; the same ones for the same seed."""
    rng = Random(seed)
    while True:
        story = rng.random() < STORY_SHARE
        yield make_story(rng).text if story else as_text(make_chat(rng))


def as_text(messages: list[Message]) -> str:
    """The chat as the template renders it."""
    return "".join(
        f"{TURN}{message['role']}\n{message['content']}{END_OF_TURN}\n" for message in messages
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=20)
    args = parser.parse_args()
    for document in islice(documents(args.seed), args.documents):
        sys.stdout.write(f"{document}\n{END_OF_TEXT}\n")


if __name__ == "__main__":
    main()
