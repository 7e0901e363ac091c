"""The words that say which system memory weights have: `pinned`, `experts=pinned,embedding=mmap`.

`mmap` is pages of the file, which the kernel reads at need and may drop; `lock` is the same, kept
in memory; `pinned` is memory that a device reads without the CPU's help; `copy` is ordinary memory.
A word without a role is for all others: `lock,experts=pinned`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from .errors import ArgumentError
from .roles import ROLES, Role

HostMode = Literal["mmap", "pinned", "lock", "copy"]
HOST_MODES: tuple[HostMode, ...] = get_args(HostMode)


def parse_host_memory(text: str) -> Mapping[Role, HostMode]:
    """Role to what its weights lie in; roles that are not there are as llama.cpp has them.

    Raises ArgumentError.
    """
    found: dict[str, HostMode] = {}
    for part in text.split(","):
        role, sign, mode = (word.strip() for word in part.rpartition("="))
        if mode not in HOST_MODES or (sign and role not in ROLES):
            raise ArgumentError(
                f"host memory is {text!r}, with {part.strip()!r}: it must be one of "
                f"{', '.join(HOST_MODES)}, or ROLE=MODE between commas, the roles being "
                f"{', '.join(ROLES)}"
            )
        if found.setdefault(role, mode) != mode:
            raise ArgumentError(
                f"host memory is {text!r}: {role or 'all others'} in {found[role]} and in {mode}"
            )
    modes = {role: found.get(role, found.get("")) for role in ROLES}
    return {role: mode for role, mode in modes.items() if mode is not None}


def host_wish(
    words: str, pin_budget: int | None, load_mode: int, no_host: bool
) -> Mapping[Role, HostMode]:
    """The same beside what else is asked of a load. Raises ArgumentError where they disagree."""
    wish = parse_host_memory(words)
    is_pinned = "pinned" in wish.values()
    if load_mode not in (-1, 1):
        raise ArgumentError(
            f"host_memory is {words!r}, for which the file is mapped, and the load mode says "
            "otherwise: leave one of the two out"
        )
    if is_pinned and no_host:
        raise ArgumentError(f"host_memory is {words!r}, and no_host pins nothing: leave one out")
    if pin_budget is not None and (not is_pinned or pin_budget < 1):
        raise ArgumentError(
            f"pin_budget is {pin_budget} bytes, with host_memory {words!r}: it is a limit of at "
            "least 1 on what is pinned"
        )
    return wish
