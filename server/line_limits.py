"""Ends of an answer that depend on its lines: how they are indented, and how late they come.

Source of the rules: `process_token` in llama.cpp's `tools/server/server-context.cpp`.
"""

from __future__ import annotations

BLANK = b" \t"


class LineLimits:
    """Watches an answer grow, token by token."""

    def __init__(self, n_indent: int, max_s: float) -> None:
        """0 for either: no such limit."""
        self._n_indent = n_indent
        self._max_s = max_s
        self._text = bytearray()
        self._line = 0
        self._has_new_line = False
        self.n_kept_bytes: int | None = None
        """Bytes of the text before the line that ended it; None: all."""

    def ends(self, piece: bytes, seconds: float) -> bool:
        """Whether the answer ends with this token, which came so long after the first one."""
        self._text += piece
        is_over = self._has_new_line and self._n_indent > 0 and self._is_outdented()
        if b"\n" in piece:
            self._has_new_line = True
            is_over = is_over or 0 < self._max_s < seconds
        return is_over

    def _is_outdented(self) -> bool:
        """Whether the line that was begun last has its first letter, and has it too early."""
        line = bytes(self._text[self._line :])
        n_blank = len(line) - len(line.lstrip(BLANK))
        is_short = self._line > 0 and n_blank < len(line) and n_blank < self._n_indent
        if is_short:
            self.n_kept_bytes = self._line + n_blank
        end = line.find(b"\n")
        if end >= 0:
            self._line += end + 1
        return is_short
