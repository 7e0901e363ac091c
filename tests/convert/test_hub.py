"""Checkpoints by their name on the hub, from a hub that this test plays on 127.0.0.1."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pannier.convert.hub import HUB_ID, local_folder

DATA = Path(__file__).resolve().parents[1] / "data"
SHA = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """org/llama is there, org/closed is gated, nothing else is."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/org/llama/revision/"):
            self.send_json(self.about(), body)
        elif path.startswith(f"/api/models/org/llama/tree/{SHA}"):
            self.send_json([self.entry(name) for name in sorted(self.files)], body)
        elif path.startswith(f"/org/llama/resolve/{SHA}/"):
            self.send_file(path.rpartition("/")[2], body)
        else:
            self.refuse("GatedRepo" if "closed" in path else "RepoNotFound")

    def about(self) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in sorted(self.files)]
        return {"id": "org/llama", "modelId": "org/llama", "sha": SHA, "siblings": siblings}

    def entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        return {"type": "file", "path": name, "size": len(data), "oid": etag(data)}

    def send_json(self, value: Any, body: bool) -> None:
        self.send(200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def send_file(self, name: str, body: bool) -> None:
        data = self.files[name]
        headers = {"ETag": f'"{etag(data)}"', "X-Repo-Commit": SHA}
        self.send(200, data, body, headers)

    def refuse(self, code: str) -> None:
        status = 403 if code == "GatedRepo" else 404
        headers = {"X-Error-Code": code, "X-Error-Message": f"{code} says the hub"}
        self.send(status, b"{}", True, headers)

    def send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub() -> Iterator[str]:
    """Address of a hub with the tiny Llama, and a file that no conversion reads."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    Hub.files = {name: (DATA / "llama" / name).read_bytes() for name in names}
    Hub.files["pytorch_model.bin"] = b"not wanted"
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(src: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Resolve a name in a process of its own: huggingface_hub reads its settings at import."""
    code = "import sys; from pannier.convert.hub import local_folder as f; print(f(sys.argv[1]))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **settings}
    return subprocess.run(
        [sys.executable, "-c", code, src],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_is_fetched_once_into_the_hubs_cache(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    done = fetch("org/llama", tmp_path, HF_ENDPOINT=hub)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert tmp_path in folder.parents
    wanted = {name for name in Hub.files if name != "pytorch_model.bin"}
    assert {path.name for path in folder.iterdir()} == wanted
    assert (folder / "config.json").read_bytes() == Hub.files["config.json"]
    fetched = sum("/resolve/" in path for path in Hub.asked)
    again = fetch("org/llama@main", tmp_path, HF_ENDPOINT=hub)
    assert again.stdout == done.stdout
    assert sum("/resolve/" in path for path in Hub.asked) == fetched
    offline = fetch("org/llama", tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")
    assert offline.stdout == done.stdout


@pytest.mark.parametrize(
    ("src", "settings", "named"),
    [
        ("org/none", {}, "check the spelling; a private model needs `hf auth login`"),
        ("org/closed", {}, "accept its terms on the hub, then log in"),
        ("org/none", {"HF_HUB_OFFLINE": "1"}, "it is not in the cache and the hub cannot be"),
    ],
)
def test_models_that_cannot_be_had(
    hub: str, tmp_path: Path, src: str, settings: dict[str, str], named: str
) -> None:
    pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    done = fetch(src, tmp_path, HF_ENDPOINT=hub, **settings)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"pannier.errors.ConvertError: {src} cannot be fetched: ")
    assert named in last


def test_a_folder_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "llama").mkdir(parents=True)
    assert local_folder("org/llama") == tmp_path / "org" / "llama"
    assert local_folder("./somewhere/else") == tmp_path / "somewhere" / "else"


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "a/b@v1.0", "a/b@refs/pr/3"])
def test_names_of_the_hub(name: str) -> None:
    assert HUB_ID.fullmatch(name)


@pytest.mark.parametrize("name", ["llama", "a/b/c", "./a/b", "/a/b", "a/b@", "a b/c"])
def test_names_of_folders(name: str) -> None:
    assert not HUB_ID.fullmatch(name)
