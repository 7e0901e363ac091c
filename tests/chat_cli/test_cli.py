"""`pannier chat` as scripts and people use it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import pytest

from pannier import SamplingParams
from pannier.chat_cli.cli import configure, one_sequence, read_sampling
from pannier.server.flags.parser import read_given
from pannier.server.flags.table import CHAT_GROUPS

from .conftest import tiny
from .person import CTRL_C, CTRL_D, Person

ARGUMENTS = ("-t", "1", "-c", "512", "--temp", "0", "-n", "12")
DIM = "\033[2m"


def run(environment, *arguments, stdin=b"", status=0):
    """stdout and stderr of `pannier chat`."""
    result = subprocess.run(
        [sys.executable, "-m", "pannier", "chat", *map(str, arguments)],
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )
    error = result.stderr.decode()
    assert result.returncode == status, error
    notes = [line for line in error.splitlines() if "older than its sources" not in line]
    return result.stdout.decode(), notes


def parse(*argv):
    parser = argparse.ArgumentParser(prog="pannier chat")
    configure(parser)
    return read_given(parser.parse_args(argv), CHAT_GROUPS)


# ---------------------------------------------------------------- flags


def test_sampling_is_the_models_unless_said_otherwise():
    metadata = {"general.sampling.temp": "0.3", "general.sampling.top_k": "7"}
    assert read_sampling(parse(), {}) == SamplingParams()
    given = read_sampling(parse("--temp", "0", "--top-p", "0.5", "--min-p", "0"), metadata)
    assert given == SamplingParams(temperature=0, top_k=7, top_p=0.5, min_p=0)
    given = read_sampling(parse("--top-k", "0", "-s", "42", "--temperature", "1"), metadata)
    assert given == SamplingParams(temperature=1, top_k=0, seed=42)


def test_one_sequence_placed_as_a_server_would():
    args = parse("-c", "4096", "-ngl", "3", "-cmoe", "-ot", "a=CPU", "-ctk", "q8_0", "-fa", "on",
                 "-dev", "none", "--load-mode", "none", "-t", "2")  # fmt: skip
    config = one_sequence(args, "m.gguf", "engine")
    assert (config.n_parallel, config.n_prefixes) == (1, 0)
    assert (config.n_ctx, config.n_gpu_layers) == (4096, 3)
    assert (config.experts, config.tensor_overrides) == ("cpu", (("a", "CPU"),))
    assert (config.cache_type_k, config.flash_attn, config.devices) == ("q8_0", "on", ("none",))
    assert (config.load_mode, config.n_threads) == ("none", 2)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--temp hot", "'hot' is not a number"),
        ("--top-p nan", "'nan' is not a number"),
        ("-n 0", "'0' is not a whole number of at least 1"),
        ("-s -2", "'-2' is not a whole number from -1"),
        ("--port 1", "unrecognized arguments: --port 1"),
    ],
)
def test_wrong_values(argv, says, capsys):
    with pytest.raises(SystemExit) as ended:
        parse("m.gguf", *argv.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


# ---------------------------------------------------------------- scripts


def test_a_file_that_is_not_there(environment):
    shown, notes = run(environment, "no.gguf", "-p", "hello", status=1)
    assert shown == ""
    assert notes == ["pannier: error: no.gguf is not a file; name a GGUF file, or try --demo"]


@pytest.mark.engine
def test_a_prompt_prints_its_reply_and_nothing_else(environment):
    shown, notes = run(environment, tiny("llama"), *ARGUMENTS, "-p", "hello", stdin=b"unread\n")
    assert shown.endswith("\n") and shown.strip() and notes == []
    again, _ = run(environment, "-m", tiny("llama"), *ARGUMENTS, "-p", "hello")
    assert again == shown
    told, _ = run(environment, tiny("llama"), *ARGUMENTS, "-p", "hello", "-sys", "be brief")
    assert told != shown


@pytest.mark.engine
def test_what_is_misplaced(environment):
    arguments = (tiny("llama"), *ARGUMENTS, "-p", "hello", "-ot", "ffn=CPU,ffn_up=CPU")
    shown, [note] = run(environment, *arguments)
    assert shown
    assert note.startswith("warning: the tensor override ffn_up=CPU has no effect")
    shown, [note] = run(environment, *arguments, "--strict", status=1)
    assert shown == ""
    assert note.startswith("pannier: error: the tensor override ffn_up=CPU has no effect")
    _, [note] = run(environment, *arguments[:-1], "nothing=CPU", status=1)
    assert note.startswith("pannier: error: -ot nothing=CPU: no tensor of this model")


@pytest.mark.engine
def test_lines_are_turns(environment):
    one, _ = run(environment, tiny("llama"), *ARGUMENTS, stdin=b"hello\n")
    both, notes = run(environment, tiny("llama"), *ARGUMENTS, stdin=b"hello\n\n/help me\n")
    alone, _ = run(environment, tiny("llama"), *ARGUMENTS, stdin=b"/help me")
    assert notes == [] and both.startswith(one)
    assert both.removeprefix(one) not in ("", alone)


@pytest.mark.engine
def test_bytes_that_are_no_text(environment):
    for arguments, stdin in (((b"-p", b"a\xff"), b""), ((), b"a\xff\n")):
        command = [sys.executable, "-m", "pannier", "chat", tiny("llama"), *ARGUMENTS, *arguments]
        result = subprocess.run(command, env=environment, input=stdin, capture_output=True,
                                check=False, timeout=120)  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip()


@pytest.mark.engine
def test_a_script_hears_of_a_full_context(environment):
    arguments = (tiny("qwen3next"), "-t", "1", "-c", "256", "--temp", "0")
    shown, notes = run(environment, *arguments, "-p", "hello", status=1)
    assert len(shown) > 100
    assert notes == [
        "pannier: error: the reply is cut off: the context is full: the conversation has 257 "
        "tokens, the context has room for 256; /clear begins a new conversation, a larger -c at "
        "the start makes room"
    ]
    shown, notes = run(environment, *arguments, "-p", "a" * 300, status=1)
    assert shown == "" and len(notes) == 1 and "room for 256" in notes[0]


# ---------------------------------------------------------------- people


@pytest.mark.engine
def test_a_conversation(environment):
    with Person(environment, str(tiny("llama")), *ARGUMENTS) as person:
        assert "model-f32.gguf: llama" in person.read("\r\n> ")
        person.type("hello\n")
        first = person.read("\r\n> ")
        assert f"{DIM}cut off by -n, 12 tokens, " in first and " tokens/s, context " in first
        person.type("/nope\n")
        assert "/nope is no command" in person.read("\r\n> ")
        person.type("hello\n")
        assert person.read("\r\n> ") != first
        person.type("/clear\n")
        assert "a new conversation" in person.read("\r\n> ")
        person.type("hello\n")
        assert person.read(DIM) == first[: first.index(DIM) + len(DIM)]
        person.type("/help\n")
        assert "/exit       end" in person.read("Ctrl-D")
        person.read("\r\n> ")
        person.type("/exit\n")
        assert person.leave() == 0


@pytest.mark.engine
@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_keys_that_end(environment, key):
    with Person(environment, str(tiny("llama")), *ARGUMENTS) as person:
        person.read("\r\n> ")
        time.sleep(1)  # a Ctrl-C between the prompt and the wait for a line shows at the next key
        person.type(key)
        assert person.leave() == 0
        assert "Traceback" not in person.seen


@pytest.mark.engine
def test_ctrl_c_stops_a_reply_and_no_more(environment):
    arguments = (str(tiny("qwen3next")), "-t", "1", "-c", "4096", "--temp", "0")
    with Person(environment, *arguments) as person:
        person.read("\r\n> ")
        for text in ("hello", "more"):
            person.type(f"{text}\n")
            person.read(f"{text}\r\n")
            person.wait()  # the reply has begun
            person.type(CTRL_C)
            assert f"{DIM}stopped, " in person.read("\r\n> ")
        person.type(CTRL_D)
        assert person.leave() == 0
        assert "Traceback" not in person.seen


@pytest.mark.engine
def test_a_person_hears_of_a_full_context_and_goes_on(environment):
    arguments = (str(tiny("qwen3next")), "-t", "1", "-c", "256", "--temp", "0")
    with Person(environment, *arguments) as person:
        person.read("\r\n> ")
        person.type("hello\n")
        assert "the reply is cut off: the context is full" in person.read("makes room\r\n> ")
        person.type("more\n")
        assert "the context is full: the conversation has " in person.read("makes room\r\n> ")
        person.type("/clear\n")
        person.read("a new conversation\r\n> ")
        person.type("hello\n")
        person.read("\r\n> ")
        person.type(CTRL_D)
        assert person.leave() == 0


@pytest.mark.engine
def test_no_color(environment):
    with Person({**environment, "NO_COLOR": "1"}, str(tiny("llama")), *ARGUMENTS) as person:
        person.read("\r\n> ")
        person.type("hello\n")
        person.read(" tokens/s, ")
        assert DIM not in person.seen
        person.type(CTRL_D)
