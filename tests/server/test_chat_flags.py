"""The chat's flags of `pannier serve`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pannier.server.chat_settings import ChatSettings

from .test_flags import settings_of as server_settings_of


def settings_of(*argv: str) -> ChatSettings:
    return server_settings_of(*argv).chat


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
        (("--reasoning-effort", "low"), "reasoning_effort", "low"),
        (("--reasoning-preserve",), "preserve_reasoning", True),
        (("--no-reasoning-preserve",), "preserve_reasoning", False),
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
    assert (found.reasoning, found.variables) == (meant, kwargs)


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ é }}", "utf-8")
    assert settings_of("--chat-template-file", str(path)).template == "{{ é }}"


def test_variables_of_the_template() -> None:
    argv = (
        "--reasoning-effort",
        "low",
        "--reasoning-preserve",
        "--chat-template-kwargs",
        '{"a": 1}',
    )
    assert settings_of(*argv).variables == {
        "a": 1,
        "reasoning_effort": "low",
        "preserve_reasoning": True,
    }
    assert settings_of("--reasoning-effort", "default").variables == {}
