"""Short stories from a grammar: one hero, one friend, one plot, the same throughout."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from random import Random

from .plots import ENDINGS, HOMES, MORNINGS, OPENINGS, PLOTS
from .words import (
    ADJECTIVES,
    ANIMALS,
    COLOURS,
    FOODS,
    HIDING_PLACES,
    LOADS,
    NAMES,
    NUMBERS,
    PEOPLE,
    PLACES,
    PRONOUNS,
    THINGS,
    WEATHERS,
    a,
    animal,
)

INSTRUMENTS = ("drum", "flute", "guitar", "horn", "violin")

THEMES = {
    "friendship": ("shy", "race", "together"),
    "friends": ("shy", "race", "together"),
    "sharing": ("share",),
    "a race": ("race",),
    "the night": ("dark", "light"),
    "the dark": ("dark",),
    "the stars": ("dark",),
    "a garden": ("garden",),
    "a flower": ("garden",),
    "a birthday": ("gift",),
    "a present": ("gift",),
    "music": ("music",),
    "the market": ("market",),
    "the river": ("river",),
    "a bridge": ("river",),
    "panniers": ("load",),
    "a heavy load": ("load", "together"),
    "the mountains": ("weather",),
    "a pass": ("load", "weather"),
    "patience": ("garden",),
    "courage": ("dark", "weather"),
    "helping": ("lost", "together", "race"),
}
"""What a story can be about, apart from what is in it, and the plots that tell of it."""

_PRONOUN_OF = {"girl": "she", "boy": "he", "hen": "she", "cow": "she"}
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Being:
    """Somebody in a story."""

    name: str
    kind: str
    pronoun: str
    adjective: str = ""

    @property
    def a(self) -> str:
        return a(f"{self.adjective} {self.kind}".strip())

    @property
    def plain(self) -> str:
        """`a fox`, without its adjective."""
        return a(self.kind)

    @property
    def the(self) -> str:
        return f"the {self.kind}"


@dataclass(frozen=True)
class Story:
    """A story with what can be asked about it."""

    lines: tuple[str, ...]
    hero: Being
    friend: Being
    plot: str
    slots: dict[str, str] = field(repr=False)

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    @property
    def titles(self) -> list[str]:
        """Phrases after `about` for hero and what the plot always speaks of."""
        plot = PLOTS[self.plot]
        said = [a(self.slots[slot]) for slot in ("thing", "instrument") if _always_says(plot, slot)]
        said += [self.slots[slot] for slot in ("food", "weather") if _always_says(plot, slot)]
        return [f"{self.hero.plain} and {each}" for each in said] or [self.hero.plain]


def make_story(rng: Random, topic: str | None = None) -> Story:
    """A story; about `topic` when it is one of `topics()`, else about anything."""
    hero, friend = _beings(rng, topic)
    plot = rng.choice(_plots(topic, hero))
    if plot == "load" and not _carries(hero):
        hero = replace(hero, kind="donkey" if friend.kind == "mule" else "mule")
    slots = _slots(rng, topic, hero, friend)
    lines = [rng.choice(OPENINGS)]
    if rng.random() < 0.5:
        lines.append(rng.choice(HOMES if plot in ("load", "lost", "dark") else HOMES[::2]))
    lines += [rng.choice(wordings) for wordings in PLOTS[plot]]
    if rng.random() < 0.5:
        lines.append(rng.choice(ENDINGS))
    return Story(tuple(_fill(line, slots) for line in lines), hero, friend, plot, slots)


def topics() -> list[str]:
    """Everything that a story can be about, as a phrase after `about`."""
    kinds = [each.name for each in ANIMALS] + list(PEOPLE)
    return [
        *(a(kind) for kind in kinds),
        *(a(thing) for thing in THINGS),
        *FOODS,
        *(f"the {weather}" if weather == "wind" else weather for weather in WEATHERS),
        *THEMES,
    ]


def _beings(rng: Random, topic: str | None) -> tuple[Being, Being]:
    """Hero and friend, of different kinds and pronouns, so that nobody mixes them up."""
    kinds = [each.name for each in ANIMALS] * 2 + list(PEOPLE)
    asked = (topic or "").split(" ")[-1]
    kind = asked if asked in kinds else rng.choice(kinds)
    pronoun = _PRONOUN_OF.get(kind) or rng.choice(("he", "she"))
    other_pronoun = "he" if pronoun == "she" else "she"
    other = rng.choice([each for each in kinds if _fits(each, other_pronoun) and each != kind])
    hero = Being(rng.choice(NAMES[pronoun]), kind, pronoun, rng.choice(["", *ADJECTIVES]))
    return hero, Being(rng.choice(NAMES[other_pronoun]), other, other_pronoun)


def _fits(kind: str, pronoun: str) -> bool:
    return _PRONOUN_OF.get(kind, pronoun) == pronoun


def _carries(hero: Being) -> bool:
    return hero.kind not in PEOPLE and animal(hero.kind).carries


def _plots(topic: str | None, hero: Being) -> list[str]:
    """The plots that can tell about the topic."""
    if topic in THEMES:
        return list(THEMES[topic])
    asked = (topic or "").split(" ")[-1]
    slot = "thing" if asked in THINGS else "food" if asked in FOODS else ""
    if asked in WEATHERS:
        return ["weather"]
    if slot:
        return [name for name, plot in PLOTS.items() if _always_says(plot, slot)]
    return [name for name in PLOTS if name != "load" or topic is None or _carries(hero)]


def _always_says(plot: tuple[tuple[str, ...], ...], slot: str) -> bool:
    return any(all(f"{{{slot}}}" in wording for wording in wordings) for wordings in plot)


def _slots(rng: Random, topic: str | None, hero: Being, friend: Being) -> dict[str, str]:
    """What the slots of a plot stand for in one story."""
    asked = (topic or "").split(" ")[-1]
    weather = asked if asked in WEATHERS else rng.choice(list(WEATHERS))
    hidden, searched = rng.sample(HIDING_PLACES, 2)
    load, other_load = rng.sample(LOADS, 2)
    price = rng.randint(2, 6)
    left = rng.randint(2, 5)
    return {
        **PRONOUNS[hero.pronoun],
        **{f"f{key}": value for key, value in PRONOUNS[friend.pronoun].items()},
        "Name": hero.name,
        "Friend": friend.name,
        "a_hero": hero.a,
        "the": hero.the,
        "a_friend": friend.a,
        "the_friend": friend.the,
        "at": rng.choice(PLACES).at,
        "Morning": rng.choice(MORNINGS),
        "colour": rng.choice(COLOURS),
        "bloom": rng.choice(("red", "blue", "yellow", "white")),
        "thing": asked if asked in THINGS else rng.choice(THINGS),
        "instrument": rng.choice(INSTRUMENTS),
        "food": asked if asked in FOODS else rng.choice(FOODS),
        "hidden": hidden,
        "searched": searched,
        "load": load,
        "other_load": other_load,
        "weather": weather,
        "weather_begins": WEATHERS[weather][0],
        "weather_ends": WEATHERS[weather][1],
        "n_coins": NUMBERS[price + left],
        "n_price": NUMBERS[price],
        "n_left": NUMBERS[left],
    }


def _fill(line: str, slots: dict[str, str]) -> str:
    """The line with its slots filled; a slot with a capital gives a capital."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in slots:
            return slots[name]
        if name.startswith("F"):
            return slots["f" + name[1:].lower()].capitalize()
        return slots[name.lower()].capitalize()

    return _SLOT.sub(value, line)
