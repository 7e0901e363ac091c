"""`/slots/{id}`: save, restore, erase, and `id_slot` of requests."""

from __future__ import annotations

from typing import Any

from ..case import Case, completion, refused

WORLDS = ("one slot", "one slot gemma3", "one slot qwen3next")
PROMPT = "Once upon a time there was a king who had three daughters and a horse"
BODY = completion("", prompt=PROMPT, n_predict=4).body
ASK = {**BODY, "cache_prompt": True}
CACHED = dict.fromkeys(("n_written", "n_read"), "llama-server's files have a form of their own")


def action(name: str, **body: Any) -> tuple[str, Any]:
    return f"/slots/0?action={name}", body


SAVE, RESTORE, ERASE = (
    action("save", filename="a"),
    action("restore", filename="a"),
    action("erase"),
)
ANSWERED = ("/completion", BODY)

CASES = [
    *(
        Case(f"save on {world}", *SAVE, world=world, before=(ANSWERED,), ignore=CACHED)
        for world in WORLDS
    ),
    *(
        Case(f"restore on {world}", *RESTORE, world=world, before=(ERASE,), ignore=CACHED)
        for world in WORLDS
    ),
    *(
        Case(f"the answer after {world} is restored", "/completion", ASK, world=world)
        for world in WORLDS
    ),
    *(Case(f"erase on {world}", *ERASE, world=world, before=(ANSWERED,)) for world in WORLDS),
    Case("erase nothing", *ERASE, world=WORLDS[0], before=(ERASE,)),
    Case("save nothing", *SAVE, world=WORLDS[0], before=(ERASE,), ignore=CACHED),
    Case("restore nothing", *RESTORE, world=WORLDS[0], ignore=CACHED),
    Case("a slot beyond the last", "/slots/3?action=erase", {}, world=WORLDS[0]),
    completion("id_slot", id_slot=1),
    completion("id_slot beyond the last", id_slot=5),
    *(
        refused(f"filename {name!r}", *action("save", filename=name), world=WORLDS[0])
        for name in ("", "a/b", "../a", "..", "a\\b", " a", "a ", "a.", "a:b", "a\x01", "x" * 256)
    ),
    refused("no such file", *action("restore", filename="nothing"), world=WORLDS[0]),
    refused("no such action", "/slots/0?action=forget", {"filename": "a"}, world=WORLDS[0]),
    refused("no action", "/slots/0", {"filename": "a"}, world=WORLDS[0]),
    refused("no number", "/slots/first?action=erase", {}, world=WORLDS[0]),
]
