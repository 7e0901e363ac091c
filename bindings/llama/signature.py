"""Functions with the fields of a dataclass for parameters: `inspect`, editors and mypy see each,
and nobody writes them twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Owner = TypeVar("Owner")
Values = TypeVar("Values")
Result = TypeVar("Result")


def takes(
    dataclass: Callable[P, Values],
) -> Callable[[Callable[[Owner, Values], Result]], Callable[Concatenate[Owner, P], Result]]:
    """Give a method that wants a dataclass the dataclass's fields for parameters.

    It raises TypeError as any function does, and what the dataclass raises.
    """

    signature = inspect.signature(dataclass, eval_str=True)

    def decorate(
        method: Callable[[Owner, Values], Result],
    ) -> Callable[Concatenate[Owner, P], Result]:
        @wraps(method)
        def called(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                name = f"{type(self).__name__}.{method.__name__}"
                raise TypeError(f"{name}: {error}; see help(pannier.{name})") from None
            return method(self, dataclass(*args, **kwargs))

        first = Parameter("self", Parameter.POSITIONAL_ONLY)
        show(called, [first, *signature.parameters.values()])
        return called

    return decorate


def parameters(function: Callable[..., object]) -> list[Parameter]:
    """With the types that the annotations mean."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


def show(function: Any, of: Iterable[Parameter]) -> None:
    """What `inspect.signature` tells of a function."""
    function.__signature__ = inspect.Signature(list(of))
