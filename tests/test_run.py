"""run.py: pip where there is none, and installing once."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROW = '<a href="{href}#sha256={digest}" {extra}>pip</a><br/>\n'


@pytest.fixture
def run_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py as a module, in a checkout of its own."""
    spec = importlib.util.spec_from_file_location("run_py", ROOT / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    site = tmp_path / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (site / "site-packages" / "pip").mkdir(parents=True)
    for name, path in {
        "HERE": tmp_path,
        "VENV": tmp_path / ".venv",
        "STAMP": tmp_path / ".venv" / "installed.txt",
    }.items():
        monkeypatch.setattr(module, name, path)
    return module


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on this machine; yields the folder that it serves."""
    folder = tmp_path / "index"
    (folder / "simple" / "pip").mkdir(parents=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        yield folder
        server.shutdown()
        thread.join()


def offer(index: Path, version: str, extra: str = "", digest: str | None = None) -> None:
    """Put a wheel of pip on the index."""
    name = f"pip-{version}-py3-none-any.whl"
    (index / name).write_bytes(version.encode())
    digest = digest or hashlib.sha256(version.encode()).hexdigest()
    with (index / "simple" / "pip" / "index.html").open("a") as page:
        page.write(ROW.format(href=f"../../{name}", digest=digest, extra=extra))


def test_the_newest_wheel_that_runs_here_is_taken(run_py: ModuleType, index: Path) -> None:
    offer(index, "9.0")
    offer(index, "23.10.1", 'data-requires-python="&gt;=3.7"')
    offer(index, "23.9")
    offer(index, "99.0", 'data-requires-python="&gt;=3.99"')
    offer(index, "98.0", 'data-yanked="broken"')
    wheel = run_py.pip_wheel()
    assert wheel.name == "pip-23.10.1-py3-none-any.whl"
    assert wheel.read_bytes() == b"23.10.1"


def test_a_wheel_with_another_hash_is_refused(run_py: ModuleType, index: Path) -> None:
    offer(index, "24.0", digest="0" * 64)
    with pytest.raises(SystemExit, match="nothing was installed"):
        run_py.pip_wheel()
    assert not list(run_py.VENV.glob("*.whl"))


def test_an_index_without_pip(run_py: ModuleType, index: Path) -> None:
    with pytest.raises(SystemExit, match="install python3-venv"):
        run_py.pip_wheel()


def test_it_installs_again_only_when_the_project_file_changed(
    run_py: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(run_py, "pip", lambda *arguments: installed.append(str(arguments[-1])))
    here = str(run_py.HERE)
    run_py.install("")
    run_py.install("")
    assert installed == [here]
    run_py.install("test")
    run_py.install("test")
    run_py.install("")
    assert installed == [here, f"{here}[test]", run_py.ALONE[-1]]
    (run_py.HERE / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    run_py.install("")
    assert installed[3:] == [f"{here}[test]"]


def test_arguments_go_to_pannier_or_to_pytest(
    run_py: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(run_py, "install", lambda extra: None)
    monkeypatch.setattr(run_py.os, "execv", lambda path, arguments: called.append(arguments))
    monkeypatch.chdir(run_py.HERE)
    run_py.main(["serve", "--demo"])
    run_py.main(["test", "-k", "x"])
    run_py.main(["test"])
    run_py.main([])
    programs = run_py.VENV / "bin"
    assert called == [
        [str(programs / "pannier"), "serve", "--demo"],
        [str(programs / "pytest"), "-k", "x"],
        [str(programs / "pytest"), *run_py.WORKERS],
        [str(programs / "pannier")],
    ]


def test_it_is_short_and_needs_the_standard_library_only() -> None:
    text = (ROOT / "run.py").read_text()
    assert len(text.splitlines()) < 120
    imported = {line.split()[1].split(".")[0] for line in text.splitlines() if "import " in line}
    assert imported - {"ensurepip"} <= set(sys.stdlib_module_names)
