"""guidance on the server. Its own engine for GGUF files needs llama.cpp's C interface."""

from __future__ import annotations

from typing import Any

import pytest

from .weather import Weather, get_weather

guidance = pytest.importorskip("guidance")

pytestmark = pytest.mark.engine


def model(base_url: str) -> Any:
    return guidance.models.OpenAI("any", base_url=base_url, api_key="none", echo=False)


def asked(base_url: str, answer: Any) -> Any:
    said = model(base_url)
    with guidance.user():
        said += "Weather?"
    with guidance.assistant():
        said += answer
    return said


def test_text(talks: str) -> None:
    assert asked(talks, guidance.gen("text", max_tokens=40))["text"]


def test_json(calls: str) -> None:
    said = asked(calls, guidance.json("weather", schema=Weather))
    assert Weather.model_validate_json(said["weather"])


def test_tools(calls: str) -> None:
    said = asked(calls, guidance.gen(tools=[get_weather], tool_choice="required"))
    assert "Rain in " in str(said)
