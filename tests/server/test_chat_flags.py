"""The chat's flags of `pannier serve`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pannier.server.chat_flags import add_chat, read_chat
from pannier.server.state import ChatSettings


def settings_of(*argv: str) -> ChatSettings:
    parser = argparse.ArgumentParser()
    add_chat(parser)
    return read_chat(parser.parse_args(argv))


def test_defaults_are_the_settings() -> None:
    assert settings_of() == ChatSettings()


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (("--chat-template", "chatml"), "template", "chatml"),
        (("--chat-template-kwargs", '{"a": [1]}'), "template_kwargs", {"a": [1]}),
        (("--no-jinja",), "use_jinja", False),
        (("--reasoning-format", "none"), "reasoning_format", "none"),
        (("--reasoning-format", "deepseek-legacy"), "reasoning_format", "deepseek-legacy"),
        (("--reasoning-effort", "low"), "template_kwargs", {"reasoning_effort": "low"}),
        (("--reasoning-preserve",), "template_kwargs", {"preserve_reasoning": True}),
        (("--no-reasoning-preserve",), "template_kwargs", {"preserve_reasoning": False}),
        (("--reasoning-budget", "0"), "reasoning_budget", 0),
        (("--reasoning-budget-message", "Enough."), "reasoning_budget_message", "Enough."),
        (("--skip-chat-parsing",), "skip_parsing", True),
        (("--no-prefill-assistant",), "prefill_assistant", False),
    ],
)
def test_one_flag_changes_one_field(argv: tuple[str, ...], field: str, value: Any) -> None:
    assert asdict(settings_of(*argv)) == {**asdict(ChatSettings()), field: value}


@pytest.mark.parametrize(
    ("word", "meant", "kwargs"),
    [
        ("on", "on", {"enable_thinking": True}),
        ("0", "off", {"enable_thinking": False}),
        ("auto", "auto", {}),
    ],
)
def test_reasoning(word: str, meant: str, kwargs: dict[str, bool]) -> None:
    found = settings_of("-rea", word)
    assert (found.reasoning, found.template_kwargs) == (meant, kwargs)


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ é }}", "utf-8")
    assert settings_of("--chat-template-file", str(path)).template == "{{ é }}"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--reasoning", "maybe"), "'maybe' is not on, off or auto"),
        (("--chat-template-kwargs", "[1]"), "'[1]' is not a JSON object"),
        (("--chat-template-kwargs", "{"), "'{' is not JSON"),
        (("--chat-template-file", "/nowhere"), "cannot read '/nowhere'"),
        (("--reasoning-budget", "-2"), "'-2' is not a whole number of at least -1"),
    ],
)
def test_wrong_values(argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings_of(*argv)
    assert said in capsys.readouterr().err
