"""What `inspect`, editors and mypy see of `Llama`."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from typing import Any

import pytest

from pannier.llama import Llama
from pannier.llama.arguments import Arguments
from pannier.llama.signature import takes


def test_each_argument_is_seen_with_its_type_and_default() -> None:
    seen = inspect.signature(Llama).parameters
    assert list(seen) == list(Arguments.__dataclass_fields__)
    assert seen["model_path"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert seen["n_ctx"].kind is inspect.Parameter.KEYWORD_ONLY
    assert (seen["n_ctx"].annotation, seen["n_ctx"].default) == (int, 512)
    assert seen["n_parallel"].default == 8
    hub = inspect.signature(Llama.from_pretrained).parameters
    assert list(hub)[:2] == ["repo_id", "filename"]
    assert list(hub)[-len(seen) + 1 :] == list(seen)[1:]
    chat = inspect.signature(Llama.create_chat_completion).parameters
    assert list(chat)[:4] == ["self", "messages", "functions", "function_call"]
    assert chat["temperature"].default == 0.2


@pytest.mark.parametrize("name", ["completion", "chat_completion", "embedding"])
def test_coroutines_take_what_the_others_do(name: str) -> None:
    method = getattr(Llama, f"acreate_{name}")
    assert inspect.iscoroutinefunction(method)
    plain = inspect.signature(getattr(Llama, f"create_{name}"))
    assert list(inspect.signature(method).parameters) == list(plain.parameters)


@dataclass(frozen=True)
class Box:
    """Arguments of a test."""

    width: int
    path: os.PathLike[str] | None = None


class Shop:
    """A class with a method that takes a dataclass."""

    @takes(Box)
    def pack(self, box: Box) -> Any:
        """Give it back."""
        return self, box


def test_a_method_takes_the_fields() -> None:
    shop = Shop()
    assert shop.pack(2) == shop.pack(width=2) == (shop, Box(2))
    assert Shop.pack.__doc__ == "Give it back."
    for wrong in ({"widht": 2}, {}, {"width": 1, "self": 2}):
        with pytest.raises(TypeError, match=r"Shop\.pack: .*argument"):
            shop.pack(**wrong)
