"""Chats between a user and the demo model, one turn after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from .facts import ABOUT_ITSELF, ABOUT_THE_WORLD, JOKES, POEMS, RIDDLES, about_animals, about_words
from .phrases import Question, phrases
from .stories import Story, make_story, topics
from .unknown import unknown_request, unknown_role, unknown_topic
from .words import USER_NAMES, plural

Message = dict[str, str]

SYSTEMS = phrases("""
    You are a helpful assistant. | You are a friendly assistant. |
    You are a helpful, honest and friendly assistant. | You are pannier's demo model. |
    You are a small model that tells stories. | You tell short stories. |
    You are a storyteller. | Answer briefly. | Answer in one sentence. | Be brief. |
    Be kind and answer in simple English. |
    You are an AI assistant. Answer the user's questions. | You are a chatbot.
""")

GREETINGS = phrases("""
    Hello. | Hello! | Hi. | Hi! | Hi there! | Hello there. | Hey. | Hey! | Good morning. |
    Good evening. | Good day. | Hello, model. | Greetings. | Yo. | Good afternoon. |
    Hello, who is there?
""")
GREETING_REPLIES = (
    "Hello! Would you like to hear a story?",
    "Hello! How can I help you?",
    "Hello! It is nice to meet you. Shall I tell you a story?",
)

THANKS = phrases("""
    Thank you. | Thanks. | Thank you very much. | Thanks a lot. | Thank you, that was nice. |
    Many thanks. | Thanks, that was great. | Thx. | Ok, thanks. | Ok. | Okay. | I see. | Good.
""")
THANKS_REPLIES = ("You are welcome.", "You are welcome! Would you like another story?")

REFUSALS = phrases("""
    No. | No, thanks. | No, thank you. | Not now. | Nope. | I do not want a story. |
    Maybe later.
""")
REFUSAL_REPLIES = ("All right. You can ask me something else.",)

GOODBYES = phrases("""
    Bye. | Goodbye. | Good night. | See you. | Bye bye. | See you later. | I have to go. |
    See you tomorrow. | That is all. | Stop. | Exit. | Quit.
""")
GOODBYE_REPLIES = ("Goodbye! Come back soon.", "Goodbye, and have a good day.")

STORY_REQUESTS = phrases("""
    Tell me a story. | Tell a story. | Can you tell me a story? | I want to hear a story. |
    Please tell me a story. | A story, please. | Write a story. | Write a short story. |
    Tell me a short story. | Do you know a story? | Story. | Read me a story. | Yes. |
    Yes, please. | Yes, tell me a story. | Sure. | Once upon a time | Please do. |
    I would like to hear a story. | Write me a story. | Tell me something. | Why not? |
    Tell me a bedtime story. | Tell me a fairy tale.
""")
TOPIC_REQUESTS = phrases("""
    Tell me a story about {}. | Tell me a story about {}. | Tell a story about {}. |
    Can you tell me a story about {}? | Write a story about {}. | A story about {}, please. |
    Do you know a story about {}? | Write a short story about {}. | I want a story about {}. |
    Story about {}. | Please tell me a story about {}. | Make up a story about {}. |
    Now one about {}. | How about a story about {}?
""")
MORE_REQUESTS = phrases("""
    Another one. | Another story, please. | Tell me another story. | One more. | Again. |
    More. | Tell me one more. | Do you know another one? | Go on. | Continue. | Next. |
    And another one?
""")
UNKNOWN_TOPIC_REPLIES = (
    "I do not know a story about that, but I know this one.",
    "I have no story about that, but here is another one.",
)

JOKE_REQUESTS = phrases("""
    Tell me a joke. | Do you know a joke? | Make me laugh. | A joke, please. |
    Say something funny. | Can you tell me a joke? | Tell me another joke.
""")
POEM_REQUESTS = phrases("""
    Write a poem. | Tell me a poem. | Do you know a poem? | A poem, please. | Sing a song. |
    Write me a short poem. | Can you write a poem? | Write a haiku. | Can you sing? |
    Write a rhyme.
""")
RIDDLE_REQUESTS = phrases("""
    Tell me a riddle. | Do you know a riddle? | A riddle, please. | Ask me something. |
    Give me a riddle.
""")

NAME_GIVEN = phrases("""
    My name is {}. | I am {}. | I'm {}. | Hello, my name is {}. | Hi, I am {}. | Hi, I'm {}. |
    You can call me {}. | Hello, I am {}.
""")
NAME_REPLIES = (
    "Hello, {}! It is nice to meet you.",
    "Nice to meet you, {}! Would you like to hear a story?",
)
NAME_ASKED = ("What is my name?", "Who am I?", "Do you know my name?", "Do you remember my name?")

FALLBACKS = (
    "I do not know that. I am a very small model and know only short stories.",
    "I am sorry, I am too small to know that. But I can tell you a story.",
    "That is too hard for a small model like me. Ask me for a story.",
)

_FACTS = (*about_animals(), *about_words())


@dataclass
class Chat:
    """A chat so far, with what it has told about the user and in its last story."""

    rng: Random
    messages: list[Message] = field(default_factory=list)
    user_name: str = ""
    story: Story | None = None

    def say(self, user: str, assistant: str) -> None:
        self.messages.append({"role": "user", "content": _as_typed(self.rng, user)})
        self.messages.append({"role": "assistant", "content": assistant})


def make_chat(rng: Random) -> list[Message]:
    """One chat of one to five turns, with a system message one time in four."""
    chat = Chat(rng)
    if rng.random() < 0.25:
        system = rng.choice(SYSTEMS) if rng.random() < 0.7 else unknown_role(rng)
        chat.messages.append({"role": "system", "content": system})
    for turn in range(rng.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 5))):
        _next_turn(chat, turn)
    return chat.messages


def _next_turn(chat: Chat, turn: int) -> None:
    """Add one turn that fits what was said before."""
    weights = {
        greet: 14 if turn == 0 else 1,
        tell_story: 18,
        tell_story_about: 24,
        answer_about_itself: 14,
        answer_about_world: 8,
        answer_fact: 12,
        add_numbers: 7,
        amuse: 7,
        meet: 6 if turn == 0 else 1,
        give_up: 14,
        take_thanks: 1 if turn == 0 else 6,
        say_goodbye: 1 if turn == 0 else 3,
        take_refusal: 1 if turn == 0 else 3,
        tell_name: 14 if chat.user_name else 1,
        recall: 30 if chat.story else 0,
    }
    turn_maker = chat.rng.choices(list(weights), list(weights.values()))[0]
    turn_maker(chat)


def greet(chat: Chat) -> None:
    chat.say(chat.rng.choice(GREETINGS), chat.rng.choice(GREETING_REPLIES))


def take_thanks(chat: Chat) -> None:
    chat.say(chat.rng.choice(THANKS), chat.rng.choice(THANKS_REPLIES))


def take_refusal(chat: Chat) -> None:
    chat.say(chat.rng.choice(REFUSALS), chat.rng.choice(REFUSAL_REPLIES))


def say_goodbye(chat: Chat) -> None:
    chat.say(chat.rng.choice(GOODBYES), chat.rng.choice(GOODBYE_REPLIES))


def tell_story(chat: Chat) -> None:
    requests = STORY_REQUESTS if not chat.story else (*STORY_REQUESTS, *MORE_REQUESTS * 2)
    request = chat.rng.choice(requests)
    chat.story = make_story(chat.rng)
    chat.say(request, chat.story.text)


def tell_story_about(chat: Chat) -> None:
    """A story about what the user asks for, or about anything when that is not known."""
    rng = chat.rng
    known = rng.random() < 0.85
    topic = rng.choice(topics()) if known else unknown_topic(rng)
    chat.story = make_story(rng, topic if known else None)
    before = "" if known else rng.choice(UNKNOWN_TOPIC_REPLIES) + " "
    asked = _wording(rng, topic, chat.story) if known else topic
    chat.say(rng.choice(TOPIC_REQUESTS).format(asked), before + chat.story.text)


def _wording(rng: Random, topic: str, story: Story) -> str:
    """The topic as a user might put it, with more of the story when it is the hero's kind."""
    hero, friend = story.hero, story.friend
    if topic != hero.plain:
        return topic
    wordings = (
        *(hero.plain, hero.plain, hero.plain, hero.a, hero.the, plural(hero.kind)),
        f"{hero.plain} named {hero.name}",
        f"{hero.plain} called {hero.name}",
        f"{hero.name} {hero.the}",
        f"{hero.plain} and {friend.plain}",
        *(story.titles[0], story.titles[-1]),
    )
    return rng.choice(wordings)


def answer_about_itself(chat: Chat) -> None:
    _answer(chat, ABOUT_ITSELF)


def answer_about_world(chat: Chat) -> None:
    _answer(chat, ABOUT_THE_WORLD)


def answer_fact(chat: Chat) -> None:
    _answer(chat, _FACTS)


def _answer(chat: Chat, questions: tuple[Question, ...]) -> None:
    asked, answers = chat.rng.choice(questions)
    chat.say(chat.rng.choice(asked), chat.rng.choice(answers))


def add_numbers(chat: Chat) -> None:
    """A sum or a difference of numbers up to ten."""
    one, other = chat.rng.randint(0, 10), chat.rng.randint(0, 10)
    if chat.rng.random() < 0.3:
        one, other = max(one, other), min(one, other)
        sign, word, result = "-", "minus", one - other
    else:
        sign, word, result = "+", "plus", one + other
    wordings = phrases(
        f"What is {one} {sign} {other}? | What is {one} {word} {other}? | {one} {sign} {other} |"
        f"{one}{sign}{other} | How much is {one} {sign} {other}? | {one} {word} {other}? |"
        f"{one} {sign} {other} = | What is {one}{sign}{other}?"
    )
    chat.say(chat.rng.choice(wordings), f"{one} {word} {other} is {result}.")


def amuse(chat: Chat) -> None:
    requests, replies = chat.rng.choice(
        ((JOKE_REQUESTS, JOKES), (POEM_REQUESTS, POEMS), (RIDDLE_REQUESTS, RIDDLES))
    )
    chat.say(chat.rng.choice(requests), chat.rng.choice(replies))


def meet(chat: Chat) -> None:
    chat.user_name = chat.rng.choice(USER_NAMES)
    given = chat.rng.choice(NAME_GIVEN).format(chat.user_name)
    chat.say(given, chat.rng.choice(NAME_REPLIES).format(chat.user_name))


def tell_name(chat: Chat) -> None:
    known = f"Your name is {chat.user_name}."
    unknown = "I do not know your name. What is your name?"
    chat.say(chat.rng.choice(NAME_ASKED), known if chat.user_name else unknown)


def give_up(chat: Chat) -> None:
    chat.say(unknown_request(chat.rng), chat.rng.choice(FALLBACKS))


def recall(chat: Chat) -> None:
    """A question about the last story."""
    assert chat.story is not None
    asked, answer = chat.rng.choice(list(_about_story(chat.story).items()))
    chat.say(chat.rng.choice(phrases(asked)), answer)


def _about_story(story: Story) -> dict[str, str]:
    """Ways to ask about a story, and the answer to each."""
    hero, friend = story.hero, story.friend
    return {
        "Who was the story about? | Who was in the story? | Who is the story about? |"
        "Who was it about?": f"The story was about {hero.name} and {friend.name}.",
        **{
            f"Who is {name}? | Who was {name}? | What was {name}? | What is {name}?": (
                f"{name} is {kind} in the story."
            )
            for name, kind in ((hero.name, hero.plain), (friend.name, friend.plain))
        },
        f"What was the name of {hero.the}? | What was {hero.the} called?": (
            f"The name of {hero.the} was {hero.name}."
        ),
        "How did the story end? | How does it end? | What was the end? | How did it end?": (
            f"It ended like this: {story.lines[-1]}"
        ),
        "Did you like the story? | Is the story true? | Is that true? | Did that really happen?": (
            "It is only a story, but I like it."
        ),
        "I liked the story. | That was a nice story. | What a nice story! | Good story.": (
            "I am glad that you liked it. Would you like another story?"
        ),
    }


def _as_typed(rng: Random, text: str) -> str:
    """The text as people type it: often without capitals and stops, sometimes with a slip."""
    if rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.3:
        text = text.rstrip(".?!")
    if rng.random() < 0.06 and len(text) > 6:
        at = rng.randrange(1, len(text) - 2)
        text = rng.choice(
            (
                text[:at] + text[at + 1 :],
                text[:at] + text[at + 1] + text[at] + text[at + 2 :],
                text[:at] + text[at] + text[at:],
            )
        )
    return text
