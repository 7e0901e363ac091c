"""Phrases and questions as text: easier to read and to add to than tuples."""

from __future__ import annotations

from importlib.resources import files

Question = tuple[tuple[str, ...], tuple[str, ...]]
"""Ways to ask, and answers that fit each of them."""


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of a text, which stand between bars; line breaks count as spaces."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


def read_questions(topic: str) -> tuple[Question, ...]:
    """The questions of questions.txt under a heading: `# topic`."""
    text = files(__package__).joinpath("questions.txt").read_text("utf-8")
    _, _, rest = text.partition(f"# {topic}\n")
    blocks = rest.partition("\n# ")[0].strip().split("\n\n")
    return tuple(_question(block) for block in blocks)


def _question(block: str) -> Question:
    """Lines with ways to ask, then lines with an answer after `> `."""
    asked, *answers = block.split("\n> ")
    return phrases(asked), tuple(answers)
