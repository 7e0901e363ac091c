"""A form that a model fills in, and a tool. Frameworks read the annotations, which therefore are no
strings here."""

from typing import Literal

from pydantic import BaseModel


class Weather(BaseModel):
    """Where it rains."""

    city: Literal["Bonn", "Rome"]


def get_weather(city: Literal["Bonn", "Rome"]) -> str:
    """The weather of a city."""
    return f"Rain in {city}"
