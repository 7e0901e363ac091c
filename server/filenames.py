"""Names of files that clients may give.

Source of the rules: `fs_validate_filename` in llama.cpp's `common/common.cpp`.
"""

from __future__ import annotations

import re

from .errors import ApiError

MAX_BYTES = 255
FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    '/\\\\:*?"<>|'  # separators of paths, and what Windows takes for something else
    "\uff0e\u2215\u2216"  # characters that look like a dot or a separator
    "\ud800-\udfff\ufffd\ufeff]"  # surrogates, the replacement character, the byte order mark
)


def is_filename(name: str) -> bool:
    """Whether a file of this name lies in the folder that it is put in, everywhere."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_BYTES or FORBIDDEN.search(name):
        return False
    return not (name.startswith(" ") or name.endswith((" ", ".")) or ".." in name)


def check_filename(name: str) -> None:
    """Raises `ApiError`."""
    if not is_filename(name):
        raise ApiError("Invalid filename")
