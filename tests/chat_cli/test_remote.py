"""`pannier chat` and `pannier complete` with a server: a real one, and ones that fail."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pannier.chat_cli.dialogue import summary
from pannier.chat_cli.remote import Heard, RemoteSpeaker, Server, events, is_url
from pannier.errors import ArgumentError, RequestError, ServerError

from .conftest import tiny
from .person import CTRL_C, Person

MESSAGES = [{"role": "user", "content": "a"}]


def run(environment, command, *arguments, stdin=b"", status=0, **variables):
    """stdout and stderr of a command."""
    result = subprocess.run(
        [sys.executable, "-m", "pannier", command, *map(str, arguments)],
        env={**environment, **variables},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == status, result.stderr.decode()
    return result.stdout.decode(), result.stderr.decode()


# ---------------------------------------------------------------- servers that say what we like


@pytest.fixture
def fake():
    """Starts servers that answer with `status` and lines; `asked` is what they got."""
    servers = []

    def start(lines, status=200):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                n = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(n)) if n else None
                asked.append((self.command, self.path, self.headers, body))
                self.send_response(status if self.command == "POST" else 404)
                self.end_headers()
                if self.command == "POST":
                    self.wfile.write(b"".join(line + b"\n" for line in lines))

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def chunk(text=None, reason=None, **more):
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode()


def end_of(reply):
    pieces = []
    try:
        while True:
            pieces.append(next(reply))
    except StopIteration as ended:
        return pieces, ended.value


def test_what_the_cache_of_experts_did_meanwhile(fake, monkeypatch):
    """Its totals before and after; those of an engine that was restarted say nothing."""
    url, _ = fake([chunk("a"), chunk(reason="stop"), b"data: [DONE]"])
    known = {"n_misses": 5, "uploaded_bytes": 500, "wait_s": 1.0, "upload_s": 0.5, "layers": []}
    totals = iter(
        {**known, "n_hits": n_hits, "uploaded_bytes": 500 + n_hits} for n_hits in (0, 7, 17, 17, 2)
    )
    monkeypatch.setattr(
        Server, "get", lambda _, path: {"experts": next(totals)} if path == "/memory" else {}
    )
    speaker = RemoteSpeaker(Server(url), {})
    _, end = end_of(speaker.reply(MESSAGES))
    assert (end.experts.hits, end.experts.misses, end.experts.uploaded_bytes) == (10, 0, 10)
    assert "experts 100% in the cache, 10 B uploaded in 0.00 s" in summary(end)
    _, end = end_of(speaker.reply(MESSAGES))
    assert end.experts is None


def test_any_server_with_the_endpoint_will_do(fake):
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}'
    url, asked = fake([b": ping", b"", chunk("a"), chunk("b"), chunk(reason="stop"), usage,
                       b"data: [DONE]"])  # fmt: skip
    speaker = RemoteSpeaker(Server(url + "/v1/", "kéy".encode().decode("latin-1")), {"top_k": 3})
    pieces, end = end_of(speaker.reply(MESSAGES))
    assert (pieces, end.text, end.finish) == (["a", "b"], "ab", "stop")
    assert (end.n_prompt, end.n_tokens, end.n_ctx, end.memory_bytes) == (7, 2, 0, 0)
    method, path, headers, body = asked[-1]
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["Authorization"].startswith("Bearer k")
    assert body == {"messages": MESSAGES, "stream": True, "top_k": 3,
                    "stream_options": {"include_usage": True}}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "status", "error", "says"),
    [
        ([b'{"error": {"message": "Invalid API Key"}}'], 401, RequestError, "401: Invalid API Key"),
        ([b"<html>"], 502, ServerError, "answers 502: <html>"),
        ([chunk("a")], 200, ServerError, "the stream has no end"),
        ([b"data: {"], 200, ServerError, "broke off"),
        ([b'data: {"error": {"message": "no memory"}}'], 200, ServerError, "no memory"),
        ([b'data: {"error": "no memory"}'], 200, ServerError, "no memory"),
    ],
)
def test_what_goes_wrong_is_said(lines, status, error, says, fake):
    url, _ = fake(lines, status)
    with pytest.raises(error, match=says):
        end_of(RemoteSpeaker(Server(url), {}).reply(MESSAGES))


def test_addresses():
    assert is_url("http://a") and is_url("https://a") and not is_url("a.gguf") and not is_url(None)
    for url in ("http://", "http://a:b", "http://a:99999"):
        with pytest.raises(ArgumentError):
            Server(url)
    with pytest.raises(ServerError, match="cannot reach http"):
        end_of(RemoteSpeaker(Server("http://127.0.0.1:1"), {}).complete("a"))


def test_rates_are_the_servers_or_those_seen():
    heard = Heard()
    assert heard.rate(0) is None
    heard.take({"timings": {"predicted_per_second": 12.5}, "memory": {"total_bytes": 9}})
    assert (heard.rate(1), heard.memory_bytes) == (12.5, 9)
    assert list(events([b"event: x", b"data: [DONE]", b"data: {}"])) == []


# ---------------------------------------------------------------- a real one


@pytest.fixture(scope="module")
def server(environment):
    """The address of a server with a tiny model, whose key is `k`."""
    command = [sys.executable, "-m", "pannier", "serve", str(tiny("qwen3next")), "-c", "512", "-t",
               "1", "--port", "0", "--api-key", "k"]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while " serves " not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    yield next(word for word in said.split() if word.startswith("http://"))
    process.terminate()
    process.wait(60)
    process.stderr.close()


@pytest.mark.engine
def test_scripts_get_text_and_a_status(environment, server):
    options = ("--temp", "0", "-n", "6", "-t", "1", "-c", "512")
    local, note = run(environment, "complete", "a b", "-m", tiny("qwen3next"), *options)
    assert local.strip() and "tokens" not in note
    url = ("--url", server, "--api-key", "k", "--temp", "0", "-n", "6")
    assert run(environment, "complete", "a b", *url)[0] == local
    assert run(environment, "complete", *url, stdin=b"a b")[0] == local
    by_variable = ("complete", "a b", "--url", server, "--temp", "0", "-n", "6")
    assert run(environment, *by_variable, PANNIER_API_KEY="k")[0] == local
    for arguments, says in (
        (("a", "--url", server), "answers 401: Invalid API Key"),
        (("", *url), "there is no text"),
        (("a", *url, "-c", "8"), "n_ctx is the server's to say"),
        (("a", *url, "--grammar", "("), "unrecognized arguments"),
    ):
        status = 2 if "unrecognized" in says else 1
        out, error = run(environment, "complete", *arguments, status=status)
        assert (out, says in error) == ("", True), error


@pytest.mark.engine
def test_a_conversation_with_a_server(environment, server, tmp_path):
    file = tmp_path / "talk.json"
    arguments = (server, "--api-key", "k", "-n", "8", "--temp", "0", "-sys", "be brief")
    with Person(environment, *arguments) as person:
        assert server in person.read("> ")
        person.type("hello\n")
        note = person.read("> ")
        assert "tokens/s" in note and "context" in note and "of 512" in note and " MiB" in note
        person.type("/regen\n")
        assert "tokens/s" in person.read("> ")
        person.type(f"/save {file}\n")
        assert "3 messages written" in person.read("> ")
        person.type("/clear\n")
        person.read("> ")
        person.type(f"/load {file}\n")
        assert "3 messages read" in person.read("> ")
        person.type("/exit\n")
        assert person.leave() == 0
    roles = [message["role"] for message in json.loads(file.read_text())]
    assert roles == ["system", "user", "assistant"]


@pytest.mark.engine
def test_ctrl_c_stops_a_servers_reply(environment, server):
    with Person(environment, server, "--api-key", "k", "--temp", "1") as person:
        person.read("> ")
        person.type("hello\n")
        person.read("\r\n")
        person.wait()
        person.type(CTRL_C)
        person.read("> ")
        person.type("/exit\n")
        assert person.leave() == 0
