"""The patch series as commits: unpack, edit with git, export; and the check for drift.

A commit's subject is the patch's slug and its body the patch's header. What is
exported depends on the trees alone: no hashes, dates, versions or settings.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import PatchError
from .series import (
    FIELDS,
    FILE_NAME,
    SUFFIX,
    Patch,
    apply_patch,
    read_series,
    run_git,
    series_directory,
)

BASE = "pannier-base"
"""Tag of the commit with the unpatched source."""
DIFF_COMMAND = (
    "diff-tree",
    "--no-commit-id",
    "-r",
    "-p",
    "--unified=3",
    "--diff-algorithm=myers",
    "--indent-heuristic",
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
SERIES_HEAD = (
    "# Patches in the order they are applied. `pannier patch --help` says how to change them.\n"
)


def unpack_series(tree: Path, directory: Path, patches: Sequence[Patch] | None = None) -> None:
    """Make `directory` a git repository: the tree, then one commit per patch.

    Raises PatchError when the folder exists and is not empty, or when a patch
    does not apply.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PatchError(f"{directory} is not empty: give a new folder")
    shutil.copytree(tree, directory, dirs_exist_ok=True)
    _make_repository(directory, read_series() if patches is None else patches)


def export_series(repository: Path, destination: Path) -> list[str]:
    """Write the commits since the base as patches and series; return the names that changed.

    Raises PatchError, before anything is written, for uncommitted changes, for
    merges, and for commits whose subject is no slug or whose body lacks a field.
    """
    patches = read_commits(repository)
    wanted = {f"{patch.slug}{SUFFIX}": patch.text for patch in patches}
    wanted["series"] = _series_text(destination, patches)
    destination.mkdir(parents=True, exist_ok=True)
    changed = [name for name, text in wanted.items() if _write(destination / name, text)]
    for path in sorted(destination.glob(f"*{SUFFIX}")):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return sorted(changed)


def read_commits(repository: Path) -> tuple[Patch, ...]:
    """The commits since the base, as patches. Raises PatchError."""
    if _git(repository, "status", "--porcelain", "--untracked-files=all"):
        raise PatchError(f"{repository} has uncommitted changes: commit or drop them first")
    merges = _git(repository, "rev-list", "--merges", f"{BASE}..HEAD")
    if merges:
        raise PatchError(f"{repository} has merge commits: a series is a straight line, rebase it")
    commits = _git(repository, "rev-list", "--reverse", f"{BASE}..HEAD").split()
    patches = tuple(_read_commit(repository, commit) for commit in commits)
    slugs = [patch.slug for patch in patches]
    if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
        raise PatchError(f"several commits are named {', '.join(twice)}: squash or reword them")
    return patches


def check_series(tree: Path, directory: Path | None = None) -> list[str]:
    """Everything wrong with the series in `directory`, one line each; empty when all is well."""
    directory = directory or series_directory()
    try:
        patches = read_series(directory)
    except PatchError as error:
        return [str(error)]
    problems = [
        f"{patch.slug}: the header lacks {', '.join(patch.missing_fields)}"
        for patch in patches
        if patch.missing_fields
    ]
    return problems or _drift(tree, directory, patches)


def _drift(tree: Path, directory: Path, patches: Sequence[Patch]) -> list[str]:
    """Apply the series to the files that it touches, export it again, and compare."""
    with tempfile.TemporaryDirectory(prefix="pannier-patch-") as scratch:
        repository, exported = Path(scratch, "tree"), Path(scratch, "patches")
        repository.mkdir()
        exported.mkdir()
        shutil.copyfile(directory / "series", exported / "series")
        _copy_files(tree, repository, (name for patch in patches for name in patch.touched))
        try:
            _make_repository(repository, patches)
            export_series(repository, exported)
        except PatchError as error:
            return [str(error)]
        names = ["series", *(f"{patch.slug}{SUFFIX}" for patch in patches)]
        return [
            f"{name}: not as `pannier patch export` writes it; unpack and export the series"
            for name in names
            if (directory / name).read_bytes() != (exported / name).read_bytes()
        ]


def _make_repository(directory: Path, patches: Iterable[Patch]) -> None:
    _git(directory, "init", "--quiet")
    # Rules of the tree's own .gitattributes must not reach the diffs.
    info = directory / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* -text !diff !filter !ident\n")
    _git(directory, "add", "--all", "--force")
    _git(directory, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", "llama.cpp")
    _git(directory, "tag", BASE)
    for patch in patches:
        apply_patch(directory, patch, index=True)
        message = f"{patch.slug}\n\n{patch.header}\n"
        command = ("commit", "--quiet", "--no-verify", "--cleanup=verbatim", "-F", "-")
        _git(directory, *command, stdin=message)


def _read_commit(repository: Path, commit: str) -> Patch:
    message = _git(repository, "show", "--no-patch", "--format=%B", commit)
    subject, _, body = message.partition("\n")
    slug = subject.strip()
    if not FILE_NAME.fullmatch(f"{slug}{SUFFIX}"):
        raise PatchError(
            f"commit {commit[:10]} has the subject {subject!r}: the first line must be the "
            "patch's slug, lower-case words joined by hyphens; reword it"
        )
    diff = _without_index_lines(_git(repository, *DIFF_COMMAND, f"{commit}^", commit))
    patch = Patch(slug, body.strip(), diff)
    if not diff:
        raise PatchError(f"commit {slug} changes nothing: drop it")
    if patch.missing_fields:
        missing = ", ".join(patch.missing_fields)
        raise PatchError(
            f"the message of commit {slug} lacks {missing}: its body says {', '.join(FIELDS)}"
        )
    return patch


def _without_index_lines(diff: str) -> str:
    """Drop the lines that name object hashes; they stand before a file's first hunk only."""
    kept, in_header = [], False
    for line in diff.splitlines(keepends=True):
        in_header = line.startswith("diff --git ") or (in_header and not line.startswith("@@"))
        if not (in_header and line.startswith("index ")):
            kept.append(line)
    return "".join(kept)


def _series_text(destination: Path, patches: Iterable[Patch]) -> str:
    """The series file; comments at the head of the present one stay."""
    present = destination / "series"
    lines = present.read_text().splitlines(keepends=True) if present.exists() else [SERIES_HEAD]
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line)
    return "".join([*head, *(f"{patch.slug}{SUFFIX}\n" for patch in patches)])


def _write(path: Path, text: str) -> bool:
    """Write a file unless it already says so; whether it was written."""
    content = text.encode("utf-8", "surrogateescape")
    if path.exists() and path.read_bytes() == content:
        return False
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
    return True


def _copy_files(tree: Path, destination: Path, names: Iterable[str]) -> None:
    for name in sorted(set(names)):
        if (tree / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / name, destination / name)


def _git(directory: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run git and return its output. Raises PatchError when it fails."""
    result = run_git(directory, *arguments, stdin=stdin)
    if result.returncode:
        reason = result.stderr.strip() or result.stdout.strip()
        raise PatchError(f"git {arguments[0]} failed in {directory}: {reason}")
    return result.stdout
