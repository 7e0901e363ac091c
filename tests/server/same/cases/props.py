"""What tells of the server: `/props`, `/v1/models`, `/slots`; and what is not allowed."""

from __future__ import annotations

from ..case import Case, completion, refused

ONE = "one slot"
RAN = ("/completion", completion("", prompt="Once", n_predict=3).body)

CAPS = {"chat_template_caps.*": "what a template can do is told where chats are parsed"}

CASES = [
    *(
        Case(f"props of {world}", "/props", world=world, ignore=CAPS)
        for world in ("llama", "gemma3", "qwen3next")
    ),
    Case("props change nothing", "/props", {"anything": 1}),
    refused("props may not be changed", "/props", {}, 501, world="gemma3"),
    *(
        Case(f"{path} of {world}", path, world=world)
        for path in ("/models", "/v1/models")
        for world in ("llama", "gemma3")
    ),
    Case("health", "/health"),
    Case("v1 health", "/v1/health"),
    Case("slots before anything", "/slots", world="one slot gemma3"),
    Case("slots afterwards", "/slots", world=ONE, before=(RAN,)),
    Case("slots, one is idle", "/slots?fail_on_no_slot=1", world=ONE),
    refused("no slots", "/slots", None, 501, world="small"),
    refused("no metrics", "/metrics", None, 501, world="small"),
    refused("no actions on slots", "/slots/0?action=erase", {}, 501),
]
