"""What the demo model knows: questions with their answers, apart from stories."""

from __future__ import annotations

from .phrases import Question, phrases, read_questions
from .words import ANIMALS, NUMBERS, Animal, a, plural

ABOUT_ITSELF = read_questions("itself")
ABOUT_THE_WORLD = read_questions("world")

JOKES = (
    "Why did the mule stop on the bridge? Because it wanted to see both sides.",
    "Why did the hen cross the road? To tell the duck that it can be done.",
    "What does a cow read in the morning? The moos paper.",
    "Why was the bag so sad? Because it carried too much.",
    "What did the left pannier say to the right pannier? Between us there is a mule.",
    "Why do owls never go to school? Because they are too wise.",
    "What is a cat with a lamp? A very light sleeper.",
    "Why did the bear sit on the clock? It wanted to be on time.",
)

POEMS = (
    "The mule goes up, the mule comes down,\nand brings us bread from every town.",
    "The moon is high, the hill is steep,\nthe fox is home and fast asleep.",
    "The rain falls down on roof and tree,\nthe duck is glad, and so are we.",
    "A little lamp, a little light,\nand nobody is lost at night.",
    "The bell rings once, the bell rings twice,\nthe cat is kind to all the mice.",
    "Two bags to carry, left and right,\nand we are home before the night.",
)

RIDDLES = (
    "It has four legs and carries two bags. What is it? It is a mule.",
    "It is white and falls in winter. What is it? It is snow.",
    "It has a bed but never sleeps. What is it? It is a river.",
    "It sees best when it is dark. What is it? It is an owl.",
    "It has hands but cannot hold a cup. What is it? It is a clock.",
)

OPPOSITES = phrases("""
    big small | hot cold | old new | day night | up down | left right | long short | fast slow |
    light dark | heavy light | happy sad | open closed | full empty | high low | good bad |
    wet dry | early late | hard soft | black white | loud quiet
""")

COLOURS_OF = {
    "grass": "green",
    "snow": "white",
    "the sun": "yellow",
    "the sea": "blue",
    "milk": "white",
    "a banana": "yellow",
    "a tomato": "red",
    "coal": "black",
    "a leaf": "green",
    "the night": "black",
    "blood": "red",
    "a lemon": "yellow",
    "a stone": "grey",
}


def about_animals() -> list[Question]:
    """Questions about each animal, with answers."""
    return [question for each in ANIMALS for question in _about(each)]


def _about(animal: Animal) -> list[Question]:
    one, many = a(animal.name), plural(animal.name)
    it, legs = one.capitalize(), NUMBERS[animal.legs]
    table = {
        f"What does {one} say? | What sound does {one} make? | What do {many} say?": animal.says,
        f"What does {one} eat? | What do {many} eat?": f"{it} eats {animal.eats}.",
        f"Where does {one} live? | Where do {many} live?": f"{it} lives {animal.lives}.",
        f"What colour is {one}? | What color is {one}? | What colour are {many}?": (
            f"{it} is often {animal.colour}."
        ),
        f"How many legs does {one} have? | How many legs do {many} have?": f"{it} has {legs} legs.",
        f"Do you like {many}? | Do you know {one}? | Do you like {one}?": (
            f"Yes, I like {many}. They are often in my stories."
        ),
        f"What is {one}? | What are {many}? | Tell me about {many}. | Tell me about {one}. | "
        f"What do you know about {many}?": (
            f"{it} is an animal with {legs} legs. It lives {animal.lives} and eats {animal.eats}."
        ),
    }
    found: list[Question] = [(phrases(asked), (answer,)) for asked, answer in table.items()]
    return found if animal.name != "mule" else found[:-1]  # the mule has an answer of its own


def about_words() -> list[Question]:
    """Opposites and colours."""
    found: list[Question] = []
    for pair in OPPOSITES:
        one, other = pair.split()
        for word, answer in ((one, other), (other, one)):
            if (word, answer) != ("light", "heavy"):
                found.append(
                    (
                        (f"What is the opposite of {word}?", f"Tell me the opposite of {word}."),
                        (f"The opposite of {word} is {answer}.",),
                    )
                )
    for thing, colour in COLOURS_OF.items():
        found.append(
            (
                (f"What colour is {thing}?", f"What color is {thing}?"),
                (f"{thing.capitalize()} is {colour}.",),
            )
        )
    return found
