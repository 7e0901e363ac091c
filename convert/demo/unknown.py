"""What the demo model does not know: requests and topics outside its little world."""

from __future__ import annotations

from random import Random

from .phrases import phrases

TOPICS = phrases("""
quantum physics | the stock market | football | the war | history | politics | chemistry |
computers | a spaceship | a dragon | a robot | a dinosaur | a wizard | the president | an elephant
| a lion | a tiger | a car | a train | a plane | a doctor | a teacher | a princess | a king | a
queen | a pirate | the internet | Paris | London | Berlin | New York | Tokyo | Africa | Mars | a
vampire | a ghost | the ocean | a shark | a whale | a monkey | a giraffe | a penguin | Python |
Rust | machine learning | deep learning | GPUs | economics | philosophy | religion | climate
change | the Roman empire | Napoleon | Einstein | Shakespeare | a detective | a murder | love |
money | school | chess | basketball | tennis | coffee | pizza | tea | wine | an astronaut | a
unicorn | a snake | a spider | a bus | a bicycle | a phone | a hospital | a castle | black holes |
evolution | DNA | vaccines | taxes | law | music theory | opera | yoga | a zombie | an alien | a
superhero | a submarine | Linux | Windows | the moon landing | the Titanic | World War Two |
Bitcoin
""")

_ENTITIES = """
France Germany Italy Spain China India Japan Brazil Canada Russia Mexico Egypt Australia Sweden
Poland Greece Turkey Kenya Norway Portugal America England Iceland Peru Chile Korea Vietnam
"""

REQUESTS = phrases("""
    What is the capital of {entity}? | How many people live in {entity}? | Where is {entity}? |
    Who is the president of {entity}? | What is the population of {entity}? | Explain {topic}. |
    What is {topic}? | How does {topic} work? | Tell me about {topic}. |
    Write an essay about {topic}. | Write a function about {topic}. |
    What do you think about {topic}? | Who invented {topic}? | Why is {topic} important? |
    Give me five facts about {topic}. | What is the difference between {topic} and {topic2}? |
    Who won the world cup in {year}? | What happened in {year}? | What is {big} * {big2}? |
    What is {big} + {big2}? | What is the square root of {big}? |
    What is {big} divided by {big2}? | {big} * {big2} |
    Write a Python program that prints {big}. | Write code for {topic}. | Debug this code. |
    Write a program. | Write a function that sorts a list. | Translate this into {language}. |
    Translate {topic} into {language}. | How do you say hello in {language}? |
    Summarize this text. | Summarize {topic}. | Write an email to my boss. |
    Plan a trip to {entity}. | How do I cook {topic}? | Give me a recipe for {topic}. |
    How tall is {topic}? | When did {topic} begin? | Who wrote {topic}? |
    Can you play {topic}? | What is the best {topic}? | Which is better, {topic} or {topic2}? |
    How far is it from {entity} to {entity2}? | How do I install {topic}? |
    What is the speed of light? | What is the chemical formula of water? |
    Make a list of {topic}. | Give me some advice about {topic}. | Solve this equation. |
    How do I get rich? | What should I do today? | Recommend a book about {topic}. |
    Recommend a movie. | What is the news? | Who are the Beatles? | Define {topic}. | {words} |
    {words} | {words}? | What is {words}? | Why {words}? | How {words}? | Is {words} good? |
    Can you {words}? | Who is {words}?
""")

_LANGUAGES = "German French Spanish Italian Chinese Japanese Russian Latin Greek Polish"

_COMMON = """
able accept account act address adult age agree air allow amount angle answer army art attack
author bank bar battle beauty benefit bill blood board body bottle brain brother budget build
business camera cancer career cause cell central century chair chance change chapter charge cheap
child choose church citizen city class client coach collect college common company compare concert
control copy cost country course court cover crime culture customer data daughter deal death
debate decide defence degree demand depend describe design desk detail develop device disease
drive drug economy edge effect effort election employ energy engine event evidence exist expect
explain factor fail family fear field figure film final finger floor force foreign former forward
freedom future game general glass goal government ground group growth guess hair health heart
hotel image impact improve industry inside interest island issue join judge kill kitchen knee
knowledge labour law lawyer leader league learn leg legal level line list local machine magazine
manager market matter measure media medical member memory method military mind minute mission
model modern moment mother movie muscle nation nature network nothing notice number object office
oil order organ origin owner page paper parent party patient peace people percent period phone
photo plan player police policy power practice present pressure price prison process product
profit program project protect public quality radio range rate reach reason record region
relate report research resource result risk role rule safe scale science score season second
secret section security sense series service sex share shoot shop sign site skill skin social
society soldier source space speech sport staff stage standard state station stock street strong
structure student study style subject success suffer support surface system table task tax
teacher team technology television term theory threat ticket title total trade treat trial trouble
truth type union unit value version victim video violence visit voice vote wage war watch weapon
website weight window worker world writer xylophone yard zone
"""

COMMON, ENTITIES, LANGUAGES = _COMMON.split(), _ENTITIES.split(), _LANGUAGES.split()
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def unknown_topic(rng: Random) -> str:
    """Something that no story tells about."""
    return rng.choice(TOPICS) if rng.random() < 0.7 else f"a {_words(rng, 1)}"


def unknown_request(rng: Random) -> str:
    """Something to which the only answer is that the model does not know."""
    entity, entity2 = rng.sample(ENTITIES, 2)
    topic, topic2 = rng.sample(TOPICS, 2)
    text = rng.choice(REQUESTS).format(
        entity=entity,
        entity2=entity2,
        topic=topic,
        topic2=topic2,
        year=rng.randint(1500, 2030),
        big=rng.randint(21, 999),
        big2=rng.randint(11, 99),
        language=rng.choice(LANGUAGES),
        words=_words(rng, rng.choice((1, 1, 2, 3, 4))),
    )
    return text[0].upper() + text[1:]


def unknown_role(rng: Random) -> str:
    """A system message that asks for what the model cannot be."""
    topic = rng.choice(TOPICS)
    roles = (
        f"You are {topic}.",
        f"You know everything about {topic}.",
        f"You love {topic}.",
        f"Always answer in {rng.choice(LANGUAGES)}.",
        f"You are an expert on {topic}. Be brief.",
        f"You are a helpful assistant. Never talk about {topic}.",
        f"You work for {_words(rng, 2)}. Answer politely and do not make things up.",
    )
    return rng.choice(roles)


def _words(rng: Random, n_words: int) -> str:
    """Words in no order; now and then a made-up one."""
    return " ".join(
        rng.choice(COMMON) if rng.random() < 0.8 else _gibberish(rng) for _ in range(n_words)
    )


def _gibberish(rng: Random) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randint(3, 8)))
