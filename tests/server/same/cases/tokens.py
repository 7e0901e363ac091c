"""`/tokenize` and `/detokenize`."""

from __future__ import annotations

from ..case import Case, refused

TEXTS = {
    "plain": "Once upon a time",
    "empty": "",
    "accents": "Grüße, señor, naïve café",
    "emoji": "a 🦙 b",
    "special": "<s>hello</s>",
    "spaces": "  two  spaces\n\tand a tab ",
}

CASES = [
    *(Case(f"tokenize {name}", "/tokenize", {"content": text}) for name, text in TEXTS.items()),
    *(
        Case(f"pieces {name}", "/tokenize", {"content": text, "with_pieces": True})
        for name, text in TEXTS.items()
    ),
    *(
        Case(f"add_special {name}", "/tokenize", {"content": text, "add_special": True})
        for name, text in TEXTS.items()
    ),
    *(
        Case(f"no parse_special {name}", "/tokenize", {"content": text, "parse_special": False})
        for name, text in TEXTS.items()
    ),
    Case("mixed", "/tokenize", {"content": ["Once", 5, " upon", 7]}),
    Case("mixed, token first", "/tokenize", {"content": [5, "Once"], "add_special": True}),
    Case("tokens only", "/tokenize", {"content": [5, 6, 7]}),
    Case("no content", "/tokenize", {}),
    Case("gemma", "/tokenize", {"content": "Grüße 🦙", "with_pieces": True}, world="gemma3"),
    Case("detokenize", "/detokenize", {"tokens": [20, 30, 40, 50]}),
    Case("detokenize none", "/detokenize", {"tokens": []}),
    Case("detokenize nothing", "/detokenize", {}),
    Case("detokenize specials", "/detokenize", {"tokens": [0, 1, 2, 3]}),
    Case("detokenize gemma", "/detokenize", {"tokens": [2, 20, 30, 1]}, world="gemma3"),
    refused("not JSON", "/tokenize", "{"),
]
