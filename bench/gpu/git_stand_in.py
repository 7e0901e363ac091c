"""Stands in for git where it is missing: `git ... apply ... -`, the diff on stdin, no fuzz.

Knows plain changes of text files and new ones, which is what the patch series is made
of, and refuses everything else, with status 128 as git does for what it cannot do.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def apply(diff: str, root: Path) -> None:
    """Change the files under `root`; nothing is written unless every hunk fits."""
    changed: dict[Path, str] = {}
    for part in re.split(r"^(?=--- )", diff, flags=re.MULTILINE)[1:]:
        old, new, *body = part.split("\n")
        path = file_of(old, new, root)
        text = changed.get(path) or (path.read_text() if path.exists() else "")
        changed[path] = patched(path, text.split("\n"), body)
    if not changed:
        raise ValueError("no file in the diff")
    for path, text in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def file_of(old: str, new: str, root: Path) -> Path:
    """The file that a part changes or makes; files removed or renamed are refused."""
    before, after = old.removeprefix("--- a/"), new.removeprefix("+++ b/")
    is_new = before == "--- /dev/null" and new.startswith("+++ b/") and not (root / after).exists()
    if not is_new and (before != after or not (root / before).is_file()):
        raise ValueError(f"not a change of a file that is there: {old!r}, {new!r}")
    return root / after


def patched(path: Path, lines: list[str], body: list[str]) -> str:
    """The lines with all hunks of `body` applied, each exactly where it says."""
    result: list[str] = []
    at = 0
    rows = iter(body)
    for row in rows:
        if not (match := HUNK.match(row)):
            continue
        start = int(match[1]) - (match[2] != "0")
        result += lines[at:start]
        at = start
        n_old, n_new = int(match[2] or 1), int(match[3] or 1)
        while n_old or n_new:
            row = next(rows)
            sign, text = row[:1] or " ", row[1:]
            if sign in " -":
                if lines[at] != text:
                    raise ValueError(f"{path}:{at + 1}: {lines[at]!r}, the diff has {text!r}")
                at, n_old = at + 1, n_old - 1
            if sign in " +":
                result.append(text)
                n_new -= 1
    return "\n".join(result + lines[at:])


def main(arguments: list[str]) -> int:
    if arguments[-1:] != ["-"] or "apply" not in arguments or "--index" in arguments:
        sys.stderr.write(f"git is not installed; its stand-in cannot {' '.join(arguments)}\n")
        return 128
    try:
        apply(sys.stdin.read(), Path.cwd())
    except (ValueError, IndexError, StopIteration) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
