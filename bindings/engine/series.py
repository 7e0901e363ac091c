"""The patch series: read it, check its headers, apply it.

`patches/series` lists file names in order; `patches/SLUG.patch` is a header of
`Field: text` lines (continued with two spaces) and a diff. Git applies it
without fuzz.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import PatchError, ToolchainError

FIELDS = ("Why", "Upstream", "Test", "Exit")
"""What each header must say."""
SUFFIX = ".patch"
FILE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.patch")
DIFF_START = re.compile(r"^(diff --git |--- )", re.MULTILINE)


@dataclass(frozen=True)
class Patch:
    """One patch: its name, its header and its diff."""

    slug: str
    header: str
    diff: str

    @property
    def text(self) -> str:
        """The file's content in the form that `export` writes."""
        return f"{self.header.strip()}\n\n{self.diff}"

    @property
    def fields(self) -> dict[str, str]:
        """The header's fields, each on one line."""
        found = re.findall(r"^([A-Z][a-z]+): *(.*(?:\n[ \t]+.*)*)", self.header, re.MULTILINE)
        return {name: " ".join(text.split()) for name, text in found}

    @property
    def missing_fields(self) -> tuple[str, ...]:
        """The required fields that the header lacks or leaves empty."""
        return tuple(name for name in FIELDS if not self.fields.get(name))

    @property
    def touched(self) -> tuple[str, ...]:
        """The files that the diff reads or writes, relative to the tree."""
        names = re.findall(r"^(?:---|\+\+\+) [ab]/(.+?)(?:\t.*)?$", self.diff, re.MULTILINE)
        return tuple(sorted(set(names)))


def series_directory() -> Path:
    """The folder of the package's own series."""
    from .. import patches

    return Path(patches.__path__[0])


def parse_patch(slug: str, text: str) -> Patch:
    """Split a patch file's text. Raises PatchError when it has no diff."""
    start = DIFF_START.search(text)
    if start is None:
        raise PatchError(f"{slug}.patch has no diff; write one with `pannier patch export`")
    return Patch(slug, text[: start.start()].strip(), text[start.start() :])


def listed_slugs(directory: Path) -> tuple[str, ...]:
    """The slugs of `series`, in order. Raises PatchError on a bad or repeated name."""
    try:
        lines = (directory / "series").read_text().splitlines()
    except OSError as error:
        raise PatchError(f"cannot read {directory / 'series'}: {error.strerror}") from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for name in names:
        if not FILE_NAME.fullmatch(name) or names.count(name) > 1:
            raise PatchError(
                f"bad name {name!r} in {directory / 'series'}: each line names one patch once, as "
                "SLUG.patch, the slug of lower-case letters, digits and hyphens"
            )
    return tuple(name.removesuffix(SUFFIX) for name in names)


def read_series(directory: Path | None = None) -> tuple[Patch, ...]:
    """The patches in order. Raises PatchError on a missing or an unlisted file."""
    directory = directory or series_directory()
    slugs = listed_slugs(directory)
    files = {path.stem for path in directory.glob(f"*{SUFFIX}")}
    if missing := [slug for slug in slugs if slug not in files]:
        raise PatchError(f"listed in series but not in {directory}: {', '.join(missing)}")
    if unlisted := sorted(files - set(slugs)):
        raise PatchError(f"in {directory} but not in its series: {', '.join(unlisted)}")
    return tuple(parse_patch(slug, (directory / f"{slug}.patch").read_text()) for slug in slugs)


def read_bench_patches(slugs: Iterable[str]) -> tuple[Patch, ...]:
    """Patches that are in no engine but those that a bench compares with. Raises PatchError."""
    folder = series_directory() / "bench"
    try:
        return tuple(
            parse_patch(slug, (folder / f"{slug}{SUFFIX}").read_text("utf-8")) for slug in slugs
        )
    except OSError as error:
        raise PatchError(f"cannot read {error.filename}: {error.strerror}") from None


def apply_series(tree: Path, patches: Iterable[Patch]) -> None:
    """Apply `patches` in order to `tree`. Raises PatchError naming the first that fails."""
    for patch in patches:
        apply_patch(tree, patch)


def apply_patch(tree: Path, patch: Patch, index: bool = False) -> None:
    """Apply one patch to `tree`, a plain folder or, with `index`, a git work tree."""
    extra = ["--index"] if index else []
    result = run_git(tree, "apply", *extra, "--whitespace=nowarn", "-", stdin=patch.diff)
    if result.returncode:
        raise PatchError(
            f"patch {patch.slug} does not apply to {tree}:\n{result.stderr.strip()}\n"
            "The source is not the one the series was made for: rework the patch with "
            "`pannier patch unpack` and `export`, or build with --unpatched"
        )


def run_git(
    directory: Path, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git in `directory`, deaf to the user's settings and to repositories above it.

    Raises ToolchainError when git is not installed.
    """
    if shutil.which("git") is None:
        raise ToolchainError("git is missing, and it applies the patches: install the package git")
    return subprocess.run(
        ["git", *GIT_SETTINGS, *arguments],
        cwd=directory,
        env=git_environment(directory),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )


GIT_SETTINGS: Sequence[str] = (
    *("-c", "core.autocrlf=false"),
    *("-c", "core.quotePath=false"),
    *("-c", "core.attributesFile=/dev/null"),
    *("-c", "core.excludesFile=/dev/null"),
    *("-c", "init.defaultBranch=main"),
    *("-c", "commit.gpgSign=false"),
    *("-c", "gc.auto=0"),
)


def git_environment(directory: Path) -> dict[str, str]:
    """The environment for `run_git`; commits get a fixed author and date."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {"NAME": "pannier", "EMAIL": "pannier@localhost", "DATE": "2000-01-01T00:00:00Z"}
    return {
        **kept,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CEILING_DIRECTORIES": str(directory.resolve().parent),
        "LC_ALL": "C",
        **{
            f"GIT_{role}_{key}": text
            for role in ("AUTHOR", "COMMITTER")
            for key, text in who.items()
        },
    }
