"""llama-cpp-python's own tests with pannier in its place.

    pip download llama-cpp-python==0.3.36 --no-deps --no-binary :all:
    pip install pytest scipy jinja2
    python bench/drop_in/memoriser.py memoriser.gguf
    python bench/drop_in/run.py llama_cpp_python-0.3.36.tar.gz --memoriser memoriser.gguf \\
        --embedder EMBEDDER.gguf [--out FILE]

The tests are taken from the archive and run as they are, in a folder where `llama_cpp` is pannier
and the hub's models are local: one that has learnt the lines that the tests ask for, and tiny ones
of random weights of the same kinds. What looks into llama-cpp-python's internals is listed in
`CANNOT`, and anything else that fails is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import machine, revision

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
MODELS = {
    "tinyllamas/stories15M-q4_0.gguf": "llama",
    "mamba-130m-hf.Q2_K.gguf": "mamba2",
    "Falcon-H1-Tiny-90M-Instruct-Q2_K.gguf": "qwen3next",
}
MEMORISER = "Qwen3.5-0.8B-Q8_0.gguf"
EMBEDDER = "bge-small-en-v1.5-q4_k_m.gguf"
CANNOT = {
    "test_llama_cpp_tokenization": "internals: the context behind `_ctx`",
    "test_real_model": "internals: LlamaModel, LlamaContext, LlamaBatch, LlamaSampler",
    "test_llama_chat_format.py": "internals: formatters as functions, typed dictionaries",
}
SHIM = {
    "__init__.py": 'from pannier import *\n\n__version__ = "0.3.36"\n',
    "_internals.py": "",
    "llama_speculative.py": "from pannier.llama import LlamaPromptLookupDecoding\n",
}
CONFTEST = """
import sys
import types

MODELS = {models!r}
hub = types.ModuleType("huggingface_hub")
hub.hf_hub_download = lambda repository, file: MODELS[file]
sys.modules["huggingface_hub"] = hub
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="llama-cpp-python's sources, .tar.gz")
    parser.add_argument("--memoriser", type=Path, required=True, help="GGUF of memoriser.py")
    parser.add_argument("--embedder", type=Path, required=True, help="GGUF of a model that embeds")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def unpack(archive: Path, folder: Path) -> None:
    """The tests, and the vocabularies that they read."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            if re.match(r"tests/.*\.py$|vendor/llama\.cpp/models/.*\.gguf$", name):
                member.name = name
                tar.extract(member, folder, filter="data")


def prepare(folder: Path, memoriser: Path, embedder: Path) -> None:
    """`llama_cpp` and the hub as the tests want them."""
    package = folder / "llama_cpp"
    package.mkdir()
    for name, text in SHIM.items():
        (package / name).write_text(text)
    models = {file: str(DATA / name / "model-f32.gguf") for file, name in MODELS.items()}
    models |= {MEMORISER: str(memoriser.resolve()), EMBEDDER: str(embedder.resolve())}
    (folder / "conftest.py").write_text(CONFTEST.format(models=models))


def outcomes(folder: Path) -> dict[str, str]:
    """Test to "passed" or "failed"; of those that can be collected."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "tests",
               "--ignore", "tests/test_llama_chat_format.py"]  # fmt: skip
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    lines = re.findall(r"^(PASSED|FAILED|ERROR) \S+?::(\S+)", result.stdout, re.MULTILINE)
    if not lines:
        sys.exit(f"no tests ran: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    return {test: outcome.lower() for outcome, test in lines}


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    with tempfile.TemporaryDirectory() as name:
        unpack(args.archive, Path(name))
        prepare(Path(name), args.memoriser, args.embedder)
        found = outcomes(Path(name))
    failed = {test for test, outcome in found.items() if outcome != "passed"}
    unexpected = sorted(test for test in failed if test.partition("[")[0] not in CANNOT)
    n_passed = len(found) - len(failed)
    sys.stdout.write(f"{n_passed} of {len(found)} passed\n")
    for test, why in CANNOT.items():
        sys.stdout.write(f"  {test}: {why}\n")
    for test in unexpected:
        sys.stdout.write(f"FAILED {test}\n")
    if args.out:
        result = {
            "bench": "drop_in",
            "date": date.today().isoformat(),
            "revision": revision(),
            "machine": machine(),
            "archive": args.archive.name,
            "passed": sorted(set(found) - failed),
            "failed": sorted(failed),
            "cannot": CANNOT,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
