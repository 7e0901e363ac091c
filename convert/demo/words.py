"""The words of the demo model's world: who lives in it, where, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from .phrases import phrases

_HIS_NAMES = """
Otto Ben Hugo Leo Max Tom Sam Felix Paul Jack Anton Karl Theo Noah Emil Oscar Bob Tim Peter David
"""
_HER_NAMES = """
Mila Nora Rosa Ida Lena Clara Greta Lucy Anna Emma Ella Vera Olga Hanna Maya Tilda Alice Sara Julia
Maria
"""
NAMES = {"he": _HIS_NAMES.split(), "she": _HER_NAMES.split()}
"""Names in stories, by pronoun."""

_OTHER_NAMES = """
Alex Amir Andrea Carlos Chris Daniel Diego Elena Eva Fatima Frank George Grace Hana Harry Helen
Ivan James Jane Jin John Kate Kim Laura Lee Linda Luca Mark Martin Mary Mei Michael Nina Oliver
Omar Priya Robert Simon Sofia Steve Wei Yuki Zoe
"""
USER_NAMES = (*NAMES["he"], *NAMES["she"], *_OTHER_NAMES.split())
"""What people who chat are called."""

PRONOUNS = {
    "he": {"he": "he", "him": "him", "his": "his"},
    "she": {"he": "she", "him": "her", "his": "her"},
}


@dataclass(frozen=True)
class Animal:
    """An animal, with what can be asked about it."""

    name: str
    says: str
    """A sentence about the sound that it makes."""
    eats: str
    lives: str
    colour: str
    legs: int = 4
    carries: bool = False
    """Whether it carries panniers in stories."""


ANIMALS = (
    Animal("mule", "A mule brays.", "hay and oats", "in a stable", "brown", 4, True),
    Animal("donkey", "A donkey says hee-haw.", "hay and grass", "in a stable", "grey", 4, True),
    Animal("horse", "A horse neighs.", "hay and oats", "in a stable", "brown", 4, True),
    Animal("pony", "A pony neighs.", "grass and apples", "in a meadow", "white", 4, True),
    Animal("fox", "A fox barks.", "mice and berries", "in a den", "red"),
    Animal("owl", "An owl says hoo.", "mice", "in an old tree", "brown", legs=2),
    Animal("goat", "A goat bleats.", "grass and leaves", "on the hill", "white"),
    Animal("sheep", "A sheep says baa.", "grass", "in a meadow", "white"),
    Animal("dog", "A dog says woof.", "meat and bones", "in a house", "brown"),
    Animal("cat", "A cat says meow.", "fish and mice", "in a house", "black"),
    Animal("hen", "A hen clucks.", "corn and seeds", "in a hen house", "white", legs=2),
    Animal("duck", "A duck says quack.", "bread and small plants", "by the pond", "white", legs=2),
    Animal("mouse", "A mouse squeaks.", "cheese and seeds", "in a hole", "grey"),
    Animal("rabbit", "A rabbit is very quiet.", "grass and carrots", "in a burrow", "grey"),
    Animal("bear", "A bear growls.", "honey and berries", "in a cave", "brown"),
    Animal("crow", "A crow says caw.", "seeds and worms", "in a tall tree", "black", legs=2),
    Animal("cow", "A cow says moo.", "grass", "in a meadow", "brown"),
    Animal("pig", "A pig says oink.", "corn and apples", "in a sty", "pink"),
    Animal("frog", "A frog croaks.", "flies", "by the pond", "green"),
    Animal("hedgehog", "A hedgehog is very quiet.", "worms and beetles", "under a hedge", "brown"),
    Animal("squirrel", "A squirrel chatters.", "nuts", "in an old tree", "red"),
)

PEOPLE = phrases("""
    girl | boy | baker | miller | driver | shepherd | farmer | weaver | smith | gardener |
    traveller | painter
""")
"""Who else can be the hero. Girls and boys get fitting pronouns."""

ADJECTIVES = phrases("small | young | kind | clever | brave | quiet | old | happy | patient | shy")

COLOURS = phrases("red | blue | green | yellow | white | black | grey | brown")

THINGS = phrases("""
    lamp | scarf | bell | basket | book | drum | kite | key | hat | cup | blanket | ball | boat |
    coat | ribbon | whistle
""")
"""What can be lost, made and given."""

FOODS = phrases("bread | cheese | apples | soup | honey | pears | cake | nuts | berries | carrots")
"""Each fits after `some`."""


@dataclass(frozen=True)
class Place:
    """A place, with the phrases that stories need."""

    name: str
    at: str


_PLACES = {
    "in": "village valley forest garden orchard town",
    "by": "river lake sea pond mill bridge",
    "on": "hill mountain farm island",
    "at": "market inn",
}
PLACES = tuple(
    Place(name, f"{preposition} the {name}")
    for preposition, names in _PLACES.items()
    for name in names.split()
)

HIDING_PLACES = phrases("""
    under the bed | behind the door | in the kitchen | under the old tree | in the barn |
    near the well | beside the road | under the bench | in the hay | behind the mill
""")

LOADS = phrases("flour | salt | wool | wood | corn | hay")

WEATHERS = {
    "rain": ("It began to rain.", "the rain stopped"),
    "snow": ("It began to snow.", "the snow stopped"),
    "wind": ("A cold wind began to blow.", "the wind was still"),
    "storm": ("A storm came over the hills.", "the storm was over"),
    "fog": ("A thick fog came down from the hills.", "the fog was gone"),
}
"""How a weather begins, and how it is over (after `Then` or `when`)."""

NUMBERS = phrases("""
    zero | one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve
""")


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    irregular = {"sheep": "sheep", "mouse": "mice", "fox": "foxes", "pony": "ponies"}
    return irregular.get(noun, f"{noun}s")


def animal(name: str) -> Animal:
    """The animal of this name."""
    return next(each for each in ANIMALS if each.name == name)
