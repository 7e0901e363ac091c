"""A model's words: tokens, and chats as it wants them written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from . import _ffi
from .chat import ChatFacts, ChatParser, ChatPrompt
from .model_facts import ModelFacts


class Vocabulary(ModelFacts):
    """Texts to tokens and back; the chat template."""

    _pieces: dict[tuple[int, bool], bytes]
    """What `piece` has found."""

    def tokenize(
        self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Text to token ids.

        Args:
            text: UTF-8 if bytes.
            add_special: add BOS and the like where the model wants them.
            parse_special: read `<|im_start|>` and the like as their tokens.
        """
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        capacity = len(data) + 8
        while True:
            tokens = _ffi.int32s_of(capacity)
            count = _ffi.int32()
            with self.gate:
                status = self._lib.tokenize(
                    self.handle,
                    data,
                    len(data),
                    add_special,
                    parse_special,
                    tokens,
                    capacity,
                    _ffi.byref(count),
                )
                self._lib.check(status)
            if count.value <= capacity:
                return list(tokens[: count.value])
            capacity = count.value

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; empty for a control token unless `special`."""
        key = (token, special)
        if key not in self._pieces:
            self._pieces[key] = self._bytes(self._lib.token_piece, token, special)
        return self._pieces[key]

    def detokenize(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = True
    ) -> bytes:
        """Token ids to bytes (UTF-8, unless the tokens end inside a character)."""
        array = _ffi.int32s(tokens)
        return self._bytes(
            self._lib.detokenize, array, len(tokens), remove_special, unparse_special
        )

    def _bytes(self, function: Any, *args: Any) -> bytes:
        capacity = 64
        while True:
            buffer = _ffi.buffer(capacity)
            count = _ffi.int32()
            with self.gate:
                self._lib.check(function(self.handle, *args, buffer, capacity, _ffi.byref(count)))
            if count.value <= capacity:
                return buffer.raw[: count.value]
            capacity = count.value

    def is_eog(self, token: int) -> bool:
        """Whether a token ends generation."""
        with self.gate:
            return bool(self._lib.token_is_eog(self.handle, token))

    @cached_property
    def eog_tokens(self) -> frozenset[int]:
        """All tokens that end generation."""
        return frozenset(token for token in range(self.n_vocab) if self.is_eog(token))

    # ------------------------------------------------------------ chat

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the model's own template."""
        return self.metadata.get("tokenizer.chat_template")

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        chat_template_kwargs: dict[str, Any] | None = None,
        template: str | None = None,
    ) -> ChatPrompt:
        """Render a conversation with llama.cpp's own template engine.

        Args:
            messages: OpenAI's shape: `{"role": ..., "content": ...}`.
            template: a Jinja source in place of the model's own.

        Raises ChatError if the messages or the template are wrong.
        """
        request = {
            "messages": list(messages),
            "tools": list(tools) if tools else None,
            "add_generation_prompt": add_generation_prompt,
            "chat_template_kwargs": chat_template_kwargs,
            "template": template,
        }
        prompt, parser = self.render_chat(request)
        parser.close()
        return prompt

    def render_chat(self, request: dict[str, Any]) -> tuple[ChatPrompt, ChatParser]:
        """Render a conversation and get the parser of the answer.

        Args:
            request: as `pannier_chat_apply` of pannier.h says.

        Raises ChatError for messages, tools or schemas that llama.cpp does not take, and
        ArgumentError for those that are too large or too deep.
        """
        out, parser = _ffi.Text(), _ffi.Handle()
        data = json.dumps(request).encode()
        with self.gate:
            status = self._lib.chat_apply(self.handle, data, _ffi.byref(out), _ffi.byref(parser))
            self._lib.check(status)
        text = self._lib.take(out)
        return ChatPrompt.from_json(json.loads(text)), ChatParser(parser)

    def set_chat_template(self, source: str) -> None:
        """Use this template, Jinja or the name of one of llama.cpp's own, in place of the file's.

        Raises ChatError for one that does not parse.
        """
        self._lib.check(self._lib.chat_set_template(self.handle, source.encode()))
        self.__dict__.pop("chat_facts", None)

    @cached_property
    def chat_facts(self) -> ChatFacts:
        """What the chat templates can do. Raises ChatError for one that does not parse."""
        return ChatFacts(**json.loads(self._lib.text(self._lib.chat_facts, self.handle)))
