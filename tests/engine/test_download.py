"""Fetching by name and hash, with a real pip and no network."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import socket
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pannier.engine import download as module
from pannier.engine.download import download, explain, pip_command
from pannier.errors import SourceError
from pannier.third_party import LLAMA_CPP, Pin

PYPROJECT = """\
[build-system]
requires = []
build-backend = "setuptools.build_meta"
"""
BACKEND = """\
import pathlib
pathlib.Path({marker!r}).touch()
raise RuntimeError("foreign code ran")
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What the package's own build would leave behind."""
    return tmp_path / "foreign-code-ran"


@pytest.fixture
def pin(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """A small package in a folder that is pip's only index, pinned."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    wheelhouse = tmp_path / "wheelhouse"
    wheelhouse.mkdir()
    files = {
        "pyproject.toml": PYPROJECT,
        "setup.py": BACKEND.format(marker=str(marker)),
        "PKG-INFO": "Metadata-Version: 2.1\nName: tinysource\nVersion: 1.0\n",
    }
    archive = wheelhouse / "tinysource-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"tinysource-1.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(wheelhouse)}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return replace(LLAMA_CPP, package="tinysource", version="1.0", sha256=digest)


def test_the_archive_comes_by_hash_and_none_of_its_code_runs(
    pin: Pin, marker: Path, tmp_path: Path
) -> None:
    path = download(tmp_path / "out", pin)
    assert path == tmp_path / "out" / "tinysource-1.0.tar.gz"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == pin.sha256
    assert list(path.parent.iterdir()) == [path]
    assert not marker.exists()


def test_another_archive_under_the_name_is_refused(pin: Pin, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not the pinned archive") as caught:
        download(tmp_path / "out", replace(pin, sha256="0" * 64))
    assert pin.sha256 in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_a_package_that_no_index_has(pin: Pin, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"tinysource==2\.0.*no index has the package"):
        download(tmp_path / "out", replace(pin, version="2.0"))


def test_no_network(pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]  # bound, not listening: connections are refused
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        with pytest.raises(SourceError, match=r"index cannot be reached.*--source"):
            download(tmp_path / "out", pin)


def test_a_full_disk(pin: Pin, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    archive = Path(os.environ["PIP_FIND_LINKS"], pin.archive_name)
    archive.write_bytes(archive.read_bytes() + os.urandom(1 << 20))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    try:
        with pytest.raises(SourceError, match="no space left on the disk"):
            download(small / "out", replace(pin, sha256=digest))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_lost_connection_is_not_taken_for_a_missing_package() -> None:
    output = (
        "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\n"
        "ERROR: Could not find a version that satisfies the requirement\n"
        "ERROR: No matching distribution found for x\n"
    )
    assert "cannot be reached" in explain(output, LLAMA_CPP, Path("/x"))


def test_an_unknown_failure_shows_what_pip_said() -> None:
    assert "something new" in explain("a\nERROR: something new\n", LLAMA_CPP, Path("/x"))


def test_without_pip_one_from_path_or_ensurepip_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util, "find_spec", lambda name: None if name == "pip" else found(name)
    )
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/opt/{name}")
    assert pip_command(tmp_path) == ["/opt/pip3"]
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    python, *arguments = pip_command(tmp_path)
    assert arguments == ["-m", "pip"]
    assert Path(python).is_relative_to(tmp_path)
    assert subprocess.run([python, *arguments, "--version"], check=False).returncode == 0
    shutil.rmtree(tmp_path / "venv")


def test_without_any_pip_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match=r"python3-pip.*--source"):
        pip_command(tmp_path)
