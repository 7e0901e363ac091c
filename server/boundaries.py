"""Where in a chat's prompt the next one is likely to go on, in tokens.

A later prompt shares the system prompt, or every message up to the last one; what a template
puts after that (the opening of the answer, a thought) may change. So the ends of these two are
worth a state of their own where a model cannot go back.
"""

from __future__ import annotations

from typing import Any

from ..errors import ChatError
from ..text import Pieces
from .conversation import Conversation
from .state import Vocabulary


def prefixes(vocabulary: Vocabulary, conversation: Conversation, prompt: str) -> list[str]:
    """Beginnings of a rendered prompt: up to the end of the system prompt, of the last message."""
    messages = conversation.messages
    parts: list[list[dict[str, Any]]] = [messages]
    if len(messages) > 1 and messages[0]["role"] in ("system", "developer"):
        parts.insert(0, messages[:1])
    found = [_common(_render(vocabulary, conversation, part), prompt) for part in parts]
    return [text for text in found if text and text != prompt]


def _render(
    vocabulary: Vocabulary, conversation: Conversation, messages: list[dict[str, Any]]
) -> str:
    try:
        prompt, _ = vocabulary.render_chat(conversation.beginning(messages))
        return prompt.prompt
    except ChatError:  # a template may insist on a user's message
        return ""


def _common(text: str, prompt: str) -> str:
    """What two texts begin with."""
    low, high = 0, min(len(text), len(prompt))
    while low < high:
        middle = (low + high + 1) // 2
        if text[:middle] == prompt[:middle]:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def token_boundaries(
    texts: list[str], prompt: str, tokens: list[int], pieces: Pieces
) -> tuple[int, ...]:
    """Tokens that lie wholly within each of these beginnings of the prompt, ascending. Counted
    from the end: a vocabulary may put tokens in front that the text does not have."""
    total = len(prompt.encode())
    n_after = sorted(total - len(text.encode()) for text in texts)  # bytes behind each
    found = []
    n_bytes, n = 0, len(tokens)
    for wanted in n_after:
        while n > 0 and n_bytes < wanted:
            n -= 1
            n_bytes += len(pieces[tokens[n]])
        found.append(n)
    return tuple(sorted({n for n in found if n > 0}))
