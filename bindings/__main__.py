"""`python -m pannier`."""

from .cli import run

run()
