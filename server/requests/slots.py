"""Body of `/slots/{id}` with `action=save` or `action=restore`."""

from __future__ import annotations

from .base import RequestBody


class SlotFileBody(RequestBody):
    """A file in the operator's folder."""

    filename: str = ""
    """Its name, without a path. Required by `save` and `restore`."""
