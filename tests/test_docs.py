"""Documentation is executed: examples run, and what pages say of the code is compared with it."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import pannier
from pannier import errors
from pannier.cli import make_parser
from pannier.context_params import native_context_params
from pannier.engine import Engine

from .conftest import run_python

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "data" / "qwen3next" / "model-f32.gguf"
PAGES = sorted(
    path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
)
PYTHON = [
    pytest.param(page, code, id=f"{page}:{number}")
    for page in ("README.md", "docs/python.md")
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL), 1
    )
]


def read(page: str | Path) -> str:
    return (ROOT / page).read_text("utf-8")


def shell_lines(page: str | Path) -> list[list[str]]:
    """The commands of indented blocks, in words; comments are left out."""
    lines = re.findall(r"^ {4}(?! )(.+)$", read(page), re.MULTILINE)
    return [words for line in lines if (words := shlex.split(line, comments=True))]


# ---------------------------------------------------------------- Python


@pytest.mark.engine
@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_python_examples_run(page: str, code: str, cpu_engine: Engine) -> None:
    assert '"q.gguf"' in code
    run_python(cpu_engine, code.replace('"q.gguf"', repr(str(TINY))))


def test_each_page_has_its_examples() -> None:
    pages = [param.values[0] for param in PYTHON]
    assert (pages.count("README.md"), pages.count("docs/python.md")) == (1, 5)


def test_public_names_are_sorted_and_documented() -> None:
    assert pannier.__all__ == sorted(pannier.__all__)
    for name in pannier.__all__:
        doc = getattr(pannier, name).__doc__ or ""
        assert doc, f"{name} has no docstring"
        assert not doc.startswith(f"{name}("), f"{name} has the docstring that dataclasses make"


def test_what_the_python_page_names_is_there() -> None:
    table = [line for line in read("docs/python.md").splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`([A-Z]\w+)", line.split("|")[1])}
    assert {"Model", "Batch", "SamplingParams", "PannierError"} <= named
    assert named - {"Context"} <= set(pannier.__all__)


def test_signatures_on_the_python_page() -> None:
    page = read("docs/python.md")
    for caller, thing in (("Model", pannier.Model), ("model.context", native_context_params)):
        match = re.search(rf"`{re.escape(caller)}\((.*?)\)`", page)
        assert match, f"docs/python.md shows no call of {caller}"
        shown = [name for name in match[1].split(", ") if name != "*"]
        known = [name for name in inspect.signature(thing).parameters if name != "model"]
        if shown[-1] == "...":
            assert set(shown[:-1]) <= set(known)
        else:
            assert shown == known


def tree_of(cls: type, depth: int = 0) -> list[tuple[int, str]]:
    """A class and its subclasses of the same module, in the order of their definition."""
    below = [
        row
        for child in cls.__subclasses__()
        if child.__module__ == cls.__module__
        for row in tree_of(child, depth + 1)
    ]
    return [(depth, cls.__name__), *below]


def test_the_tree_of_exceptions_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"^([│├└─ ]*)(\w+)(?: {2,}.*)?$", errors.__doc__ or "", re.MULTILINE)
    rows = [(len(lead) // 4, name) for lead, name in drawn]
    assert rows == tree_of(errors.PannierError)


def test_the_architecture_page_counts_the_boundarys_functions() -> None:
    header = read("bindings/native/pannier.h")
    n = len(set(re.findall(r"^PANNIER_API [^;]*?\b(pannier_\w+)\(", header, re.MULTILINE)))
    assert f"boundary: {n} functions" in read("docs/architecture.md")


# ---------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def cli_page() -> ModuleType:
    """docs/cli.py as a module."""
    spec = importlib.util.spec_from_file_location("cli_page", ROOT / "docs" / "cli.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_the_parsers_say(cli_page: ModuleType) -> None:
    assert read("docs/cli.md") == cli_page.page(), "run: python docs/cli.py"


def test_the_page_has_what_help_says(cli_page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's texts against argparse's own: names, and help with its values filled in."""
    monkeypatch.setenv("COLUMNS", "1000")
    for parser in cli_page.commands(make_parser()):
        said = parser.format_help()
        for group in parser._action_groups:
            for name, action in cli_page.arguments(group):
                assert cli_page.help_of(parser, action) in said
                for word in name.split(", "):
                    assert word.strip("[]").removesuffix(" ...") in said
        options = set(re.findall(r"^ +(-\w+|--[\w-]+)", said, re.MULTILINE)) - {"-h"}
        shown = cli_page.section(parser)
        assert all(f"`{option}" in shown for option in options)


def test_commands_on_pages_are_accepted() -> None:
    """Every `pannier ...` in an indented block parses as it is written."""
    parser = make_parser()
    found = set()
    for words in itertools.chain.from_iterable(map(shell_lines, PAGES)):
        if Path(words[0]).name == "pannier":
            arguments = list(itertools.takewhile(lambda word: word != "&&", words[1:]))
            parser.parse_args(arguments)
            found.add(arguments[0])
    assert {"build", "convert", "serve", "patch"} <= found


def test_flags_named_in_the_readme_are_those_of_serve(cli_page: ModuleType) -> None:
    serve = next(p for p in cli_page.commands(make_parser()) if p.prog == "pannier serve")
    known = {option for action in serve._actions for option in action.option_strings}
    named = set(re.findall(r"`(-{1,2}[a-z][a-z-]*)`", read("README.md")))
    assert named and named <= known


def test_the_readmes_two_commands() -> None:
    """One serves, one tests; CI runs the second as it stands there."""
    commands = [words for words in shell_lines("README.md") if words[0] == "python3"]
    assert commands == [
        ["python3", "run.py", "serve", "--demo"],
        ["python3", "run.py", "test"],
    ]
    make_parser().parse_args(commands[0][2:])
    assert commands[1] in shell_lines("CONTRIBUTING.md")
    *_, last = (line for line in read(".ci/run").splitlines() if line.strip())
    assert last == 'python3 run.py test "$@"'


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
