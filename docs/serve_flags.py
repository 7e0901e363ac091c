"""Write `serve-flags.md` from the table of flags: `python docs/serve_flags.py`."""

from __future__ import annotations

from pathlib import Path

from pannier.server.flags.flag import Flag
from pannier.server.flags.parser import help_of
from pannier.server.flags.table import GROUPS

PAGE = Path(__file__).with_name("serve-flags.md")
HEAD = """# Flags of pannier serve

Made by `docs/serve_flags.py` from the table that the parser is made from. `pannier serve
--help-all` says the same.

Every flag of the pinned llama-server is here, by all its names, with its way of writing values and
its environment variable. One that pannier has not is refused with the reason, never ignored; where
a value is named, that one is as pannier does it anyway, and passes.

The command line wins over the environment, and that over the file of `--config`. Values of a flag
that may be given several times add up on the command line; they replace those of the environment,
and those replace the file's. As in llama.cpp, `--ctx_size` is `--ctx-size`, a variable of a switch
is `1`, `true`, `on` or `enabled` or the opposite of it, and `LLAMA_ARG_NO_...` turns a switch off
that has a `--no-...`, whatever it says.

A config file is TOML, because it knows text from numbers and lists, and Python reads it. Its keys
are the flags without their dashes in front:

```toml
model = "/models/qwen3.gguf"
ctx-size = 32768
no-mmap = true
override-tensor = ["blk.1.*_exps=CPU", "blk.2.*_exps=CPU"]
```

llama.cpp's own `/etc/llama.cpp/config.ini` is not read.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(table(title, flags) for title, flags in GROUPS.items())])


def table(title: str, flags: tuple[Flag, ...]) -> str:
    """One group."""
    rows = [f"| {names(flag)} | {text(flag)} | {variable(flag)} |" for flag in flags]
    return "\n".join([f"## {title}", "", "| flag | | environment |", "|---|---|---|", *rows, ""])


def names(flag: Flag) -> str:
    """As they are typed."""
    typed = ", ".join(flag.all_names)
    return f"`{escaped(f'{typed} {flag.metavar}'.strip())}`"


def text(flag: Flag) -> str:
    """What it does."""
    return escaped(help_of(flag)).replace("*", "\\*")


def variable(flag: Flag) -> str:
    """Its variable."""
    return f"`{flag.env}`" if flag.env else ""


def escaped(cell: str) -> str:
    """Text for a cell: a bar would end it."""
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
