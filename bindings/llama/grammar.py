"""Grammars under llama-cpp-python's name."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..chat import schema_to_grammar
from ..errors import ArgumentError


class LlamaGrammar:
    """A GBNF grammar that an output follows. llama.cpp looks at it when it is used."""

    def __init__(self, *, _grammar: str) -> None:
        self._grammar = _grammar

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """From GBNF. `verbose` has no effect: nothing is printed."""
        return cls(_grammar=grammar)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> LlamaGrammar:
        """From a file of GBNF. Raises OSError, and ArgumentError if it is empty."""
        text = Path(file).read_text()
        if not text:
            raise ArgumentError(f"the grammar file {file} is empty")
        return cls(_grammar=text)

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        """For the JSON texts that fit a schema, given as JSON. Raises ArgumentError."""
        try:
            schema = json.loads(json_schema)
        except ValueError as error:
            raise ArgumentError(f"the schema is no JSON: {error}") from None
        return cls(_grammar=schema_to_grammar(schema))
