"""The demo model: a small hybrid mixture-of-experts language model that speaks simple English.

README.md beside this file is its card; `python -m pannier.convert.demo.train` makes it anew.
"""

from __future__ import annotations

from pathlib import Path


def demo_model() -> Path:
    """Path of the demo model's GGUF file, which comes with the package. Read only."""
    return Path(__file__).with_name("pannier-demo.gguf")
