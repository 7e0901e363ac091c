"""Conversations as older models were taught them, under llama-cpp-python's `chat_format` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError

Row = dict[str, Any]
Turn = tuple[str, str | None]

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
END = "</s>"


@dataclass(frozen=True)
class ChatFormat:
    """How turns follow each other: a mark for the role, the text, a separator."""

    user: str
    assistant: str
    system: str = ""
    """What is before all turns, with the system's message in place of {}."""
    glue: str = ""
    """Between a mark and its text."""
    separator: str = ""
    second: str | None = None
    """The separator behind every second turn."""
    head_separator: str = ""
    bare_glue: str = ""
    """Behind the mark of the turn that is to be written."""
    default_system: str = ""
    fixed_system: bool = False
    is_asked: bool = True
    """The mark of the answer ends the prompt."""
    stop: str = ""

    def write(self, messages: Sequence[Row]) -> str:
        """The prompt of a conversation."""
        system = self.default_system if self.fixed_system else _system(messages)
        text = self.system.replace("{}", system or self.default_system) + self.head_separator
        separators = (self.separator, self.separator if self.second is None else self.second)
        roles = {"user": self.user, "assistant": self.assistant}
        turns = _turns(messages, roles) + ([(self.assistant, None)] if self.is_asked else [])
        for i, (mark, content) in enumerate(turns):
            text += (
                f"{mark}{self.glue}{content}{separators[i % 2]}"
                if content
                else (mark + self.bare_glue)
            )
        return text


def _system(messages: Sequence[Row]) -> str:
    found = (message["content"] or "" for message in messages if message["role"] == "system")
    return str(next(found, ""))


def _turns(messages: Sequence[Row], roles: dict[str, str]) -> list[Turn]:
    """Marks and texts of the messages whose role has a mark."""
    found = [message for message in messages if message["role"] in roles]
    return [
        (roles[one["role"]], one["content"] if isinstance(one["content"], str) else None)
        for one in found
    ]


def _lines(user: str, assistant: str, system: str, separator: str, **options: Any) -> ChatFormat:
    """Marks and texts on lines of their own."""
    return ChatFormat(
        user,
        assistant,
        system,
        glue="\n",
        separator=separator + "\n",
        head_separator=separator + "\n",
        bare_glue="\n",
        **options,
    )


def _colons(user: str, assistant: str, separator: str, **options: Any) -> ChatFormat:
    """Marks with a colon."""
    return ChatFormat(
        user,
        assistant,
        "{}",
        glue=": ",
        separator=separator,
        head_separator=separator,
        bare_glue=":",
        **options,
    )


FORMATS = {
    "alpaca": _colons("### Instruction", "### Response", "\n\n", second=END, is_asked=False),
    "baichuan": ChatFormat("<reserved_102>", "<reserved_103>", "{}"),
    "baichuan-2": ChatFormat("<reserved_106>", "<reserved_107>", "{}"),
    "chatglm3": ChatFormat("<|user|>", "<|assistant|>", "<|system|>\n{}", glue="\n ", stop=END),
    "chatml": _lines("<|im_start|>user", "<|im_start|>assistant", "<|im_start|>system\n{}",
                     "<|im_end|>", stop="<|im_end|>"),
    "gemma": ChatFormat("<start_of_turn>user\n", "<start_of_turn>model\n",
                        separator="<end_of_turn>\n", stop="<end_of_turn>\n"),
    "mistrallite": ChatFormat("<|prompter|>", f"{END}\n<|assistant|>", f"<|system|>{{}}{END}",
                              separator=" "),
    "oasst_llama": ChatFormat("<|prompter|>", "<|assistant|>",
                              "[INST] <<SYS>>\n{}\n<</SYS>>\n\n", separator=END),
    "openchat": _lines("GPT4 Correct User: ", "<|end_of_turn|>GPT4 Correct Assistant: ",
                       "{}<|end_of_turn|>", "<|end_of_turn|>", stop="<|end_of_turn|>"),
    "pygmalion": _lines("<|user|>", "<|model|>", "<|system|>{}", "\n", stop="\n"),
    "qwen": _lines("<|im_start|>user", "<|im_start|>assistant", "<|im_start|>system\n{}",
                   "<|im_end|>", stop="<|endoftext|>",
                   default_system="You are a helpful assistant."),
    "redpajama-incite": _colons("<human>", "<bot>", "\n", stop="<human>"),
    "vicuna": _colons("USER", "ASSISTANT", " ", second=END, default_system=VICUNA,
                      fixed_system=True),
    "zephyr": _lines("<|user|>\n", "<|assistant|>\n", "<|system|>\n{}", END, stop=END),
}  # fmt: skip


def write_llama2(messages: Sequence[Row]) -> str:
    """The system's message is part of the first turn."""
    system = _system(messages)
    head = f"[INST] <<SYS>>\n{system}\n<</SYS>>" if system else ""
    text = head + " "
    for i, (mark, content) in enumerate(
        _turns(messages, {"user": "<s>[INST]", "assistant": "[/INST]"})
    ):
        separator = (" ", END)[i % 2]
        if head and i == 0:
            text += (content or "") + separator
        else:
            text += f"{mark}{content} {separator}" if content else f"{mark} "
    return text + "[/INST]"


def write_llama3(messages: Sequence[Row]) -> str:
    """Each turn has a header."""
    marks = {
        role: f"<|start_header_id|>{role}<|end_header_id|>\n\n"
        for role in ("system", "user", "assistant")
    }
    turns = [*_turns(messages, marks), (marks["assistant"], None)]
    return "".join(f"{mark}{content}<|eot_id|>" if content else mark for mark, content in turns)


def write_mistral(messages: Sequence[Row]) -> str:
    """Instructions in brackets."""
    text = ""
    for message in messages:
        content = message["content"]
        if message["role"] == "user" and isinstance(content, str):
            text += f"[INST] {content}"
        elif message["role"] == "assistant" and content is not None:
            text += f" [/INST]{content}{END}"
    return text + " [/INST]"


def write_saiga(messages: Sequence[Row]) -> str:
    """Roles in a line of their own."""
    turns = _turns(messages, {"user": "user", "bot": "bot", "system": "system"})
    parts = [f"<s>{role}\n{content}{END}" if content else f"<s>{role}\n" for role, content in turns]
    return ("".join(parts) + "<s>bot").strip()


Writer = Callable[[Sequence[Row]], str]
WRITERS: dict[str, tuple[Writer, str]] = {
    name: (format.write, format.stop) for name, format in FORMATS.items()
}
WRITERS["llama-2"] = (write_llama2, "")
WRITERS["llama-3"] = (write_llama3, "<|eot_id|>")
WRITERS["mistral-instruct"] = (write_mistral, END)
WRITERS["saiga"] = (write_saiga, "")


def write_chat(name: str, messages: Sequence[Row]) -> tuple[str, str]:
    """The prompt of a conversation in a named format, and what ends its answer, if anything does.

    Raises ArgumentError for a name that there is not.
    """
    if name not in WRITERS:
        raise ArgumentError(
            f"Invalid chat handler: {name}: there are {', '.join(sorted(WRITERS))} and "
            "chatml-function-calling; leave chat_format out to use the model file's own template, "
            "or give a chat_handler"
        )
    write, stop = WRITERS[name]
    return write(messages), stop
