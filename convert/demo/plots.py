"""The plots of the demo model's stories: sentences with slots, two or three wordings of each.

Slots: `{Name}` and `{the}` (`the fox`) are the hero, `{he} {him} {his}` its pronouns; the same
with an f are the friend's. The others are bare phrases: a thing, a place, a colour and so on.
A capital makes a capital.
"""

from __future__ import annotations

OPENINGS = (
    "Once upon a time there was {a_hero} named {Name}.",
    "Once there was {a_hero} named {Name}.",
    "There once was {a_hero} named {Name}.",
)

HOMES = (
    "{He} lived {at}.",
    "{Name} lived {at} with {his} friend {Friend}, {a_friend}.",
    "{His} home was {at}.",
)

ENDINGS = (
    "It was a good day.",
    "That night they both slept well.",
    "From that day on they were good friends.",
    "And so the day ended well.",
    "They were very happy.",
    "{Name} never forgot that day.",
)

MORNINGS = ("One day", "One morning", "One fine morning", "One day in spring", "One cold morning")

PLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "load": (
        (
            "One morning {he} carried two panniers over the pass.",
            "One day {he} had to carry two panniers to the market.",
        ),
        ("The left bag was full of {load}, and the right bag was full of {other_load}.",),
        (
            "But the {load} was heavier, and {the} began to lean to the left.",
            "The left bag was too heavy, and soon {Name} leaned to one side and stopped.",
        ),
        (
            '"It is not the weight," said {Friend}, {the_friend}. "It is where the weight is."',
            '"We must balance the bags," said {Friend}, {the_friend}.',
        ),
        (
            "So {Friend} moved some of the {load} from the left bag to the right bag.",
            "Then {Friend} moved some {load} to the other side, a little at a time.",
        ),
        (
            "Now the load was level, and they crossed the pass before the sun went down.",
            "Now both bags were the same, and the road felt easy.",
        ),
    ),
    "lost": (
        (
            "{Morning} {he} lost {his} {colour} {thing}.",
            "{Morning} {his} {colour} {thing} was gone.",
        ),
        (
            "{Name} looked {searched}, but the {thing} was not there.",
            "{He} looked everywhere, even {searched}, but {he} did not find it.",
        ),
        (
            '"Can you help me?" {he} asked {Friend}, {the_friend}.',
            "So {he} asked {Friend}, {the_friend}, for help.",
        ),
        (
            'They looked together. "Here it is!" said {Friend}.',
            '"I will help you," said {Friend}, and they looked together.',
        ),
        ("The {thing} was {hidden}.", "They found the {thing} {hidden}."),
        (
            '"Thank you," said {Name}, and gave {Friend} a hug.',
            '"Thank you, {Friend}," said {the}.',
        ),
    ),
    "share": (
        (
            "{Morning} {Name} had some {food} for lunch.",
            "{Morning} {he} went out with some {food} in a bag.",
        ),
        (
            "On the road {he} met {Friend}, {a_friend}.",
            "Then {Friend}, {a_friend}, came down the road.",
        ),
        (
            '{Friend} looked sad. "I am so hungry," {fhe} said.',
            '"I have not eaten today," said {Friend}.',
        ),
        (
            '"Then we will share," said {Name}, and gave {fhim} half of the {food}.',
            '{Name} gave {fhim} half of the {food}. "There is enough for two," {he} said.',
        ),
        (
            "They sat {at} and ate the {food} together.",
            "They sat down in the sun and ate the {food}.",
        ),
        ("Food tastes better with a friend.", '"It tastes better with you," said {Friend}.'),
    ),
    "weather": (
        (
            "{Morning} {Name} and {his} friend {Friend}, {a_friend}, walked over the pass.",
            "{Morning} {he} went over the pass with {Friend}, {a_friend}.",
        ),
        (
            "{weather_begins} They could not see the road.",
            "{weather_begins} They were cold and tired.",
        ),
        (
            '"Look, there is a hut!" said {Friend}.',
            "Then {Name} saw a small hut beside the road.",
        ),
        (
            "They went in, made a fire and waited.",
            "Inside it was warm and dry, and they made a fire.",
        ),
        ("In the morning {weather_ends}.", "They slept, and when they woke up, {weather_ends}."),
        (
            "They walked down to the valley and told everyone about the {weather}.",
            "They thanked the little hut and walked home, and nobody was afraid of the {weather}.",
        ),
    ),
    "market": (
        (
            "{Morning} {he} went to the market with {n_coins} coins.",
            "{Morning} {Name} took {n_coins} coins and walked to the market.",
        ),
        ("{He} wanted to buy a {colour} {thing}.", "There {he} saw a {colour} {thing}."),
        (
            "The {thing} cost {n_price} coins.",
            '"It costs {n_price} coins," said {Friend}, {the_friend}.',
        ),
        (
            "{Name} paid {n_price} coins and had {n_left} left.",
            "{He} paid for the {thing}, and {n_left} coins were left.",
        ),
        (
            "With the other coins {he} bought some {food}.",
            "On the way home {he} bought some {food} too.",
        ),
        ("In the evening {he} showed everyone the {thing}.", "{He} went home with a smile."),
    ),
    "shy": (
        (
            "{Morning} {Friend}, {a_friend}, came to live {at}.",
            "{Morning} somebody new came. It was {Friend}, {a_friend}.",
        ),
        (
            "{Friend} was shy and did not say a word.",
            "{Friend} stood alone and looked at the ground.",
        ),
        (
            '"Hello," said {Name}. "Do you want to play with me?"',
            '{Name} went to {fhim} and said, "Hello, do you want to play?"',
        ),
        (
            "{Friend} thought about it. Then {fhe} nodded.",
            '"Yes, please," said {Friend} in a small voice.',
        ),
        (
            "They played with a {colour} {thing} until it was dark.",
            "They played all day and laughed a lot.",
        ),
        ("Now {Friend} was not shy any more.", '"I like it here," said {Friend}.'),
    ),
    "light": (
        (
            "{Morning} {Friend}, {a_friend}, went into the hills and did not come back.",
            "One night {Friend}, {a_friend}, lost the way in the hills.",
        ),
        ("It was very dark, and there was no moon.", "The night was dark, and the road was long."),
        (
            "{Name} lit the {colour} lamp and put it in the window.",
            "So {Name} took a {colour} lamp and climbed up to the bell tower.",
        ),
        (
            "Far away, {Friend} saw the light.",
            '"A light!" said {Friend}, far away in the hills.',
        ),
        ("{FHe} walked and walked until {fhe} was home.", "Step by step {fhe} came home."),
        (
            '"Your lamp showed me the way," said {Friend}.',
            '"A small light can be a big help," said {Friend}.',
        ),
    ),
    "race": (
        (
            "{Morning} {he} ran a race with {Friend}, {a_friend}.",
            '{Morning} {Friend}, {a_friend}, said, "Let us run a race!"',
        ),
        ("The race went from the mill to the bridge.", "They wanted to see who was faster."),
        (
            "{Friend} was fast, but then {fhe} fell over a stone.",
            "{Friend} was in front, but then {fhe} hurt {fhis} foot.",
        ),
        (
            "{Name} stopped. {He} helped {fhim} to stand up.",
            '{Name} did not run on. "Are you all right?" {he} asked.',
        ),
        ("They walked to the bridge together, side by side.",),
        (
            '"We both won," said {Friend}.',
            '"A friend is better than a race," said {Name}.',
        ),
    ),
    "garden": (
        (
            "{Morning} {he} put a small seed into the ground.",
            "{Morning} {Friend}, {a_friend}, gave {him} a small seed.",
        ),
        ("{Name} gave it water every day.", "Every day {he} gave it water and waited."),
        (
            '"Nothing is happening," {he} said to {his} friend {Friend}.',
            "For a long time nothing happened.",
        ),
        (
            '"Be patient," said {Friend}, {the_friend}.',
            '{Friend}, {the_friend}, said, "Good things take time."',
        ),
        (
            "Then, after a night of rain, a green leaf came up.",
            "One morning there was a green leaf.",
        ),
        (
            "In summer there was a big {bloom} flower, and everyone came to see it.",
            "By summer it was a tall plant with {bloom} flowers.",
        ),
    ),
    "river": (
        (
            "{Morning} {he} wanted to visit {Friend}, {a_friend}, on the other side of the river.",
            "{Morning} {he} had to bring a {thing} to {Friend}, {a_friend}, across the river.",
        ),
        (
            "But the river was high, and the bridge was gone.",
            "But there was too much water in the river.",
        ),
        ('"What can I do?" said {Name}.', "{Name} sat down and thought."),
        (
            "Then {he} saw a long tree near the water.",
            '{Friend} called from the other side, "There is a long tree behind you!"',
        ),
        (
            "{He} pushed the tree with all {his} strength, and it fell across the river.",
            "{He} pushed and pushed until the tree lay across the water.",
        ),
        ("Now everyone had a new bridge.", "Then {he} walked over it, slowly and carefully."),
    ),
    "dark": (
        (
            "At night {he} was afraid of the dark.",
            "{Name} could not sleep, because the night was dark.",
        ),
        (
            '"What is it?" asked {Friend}, {the_friend}.',
            "{Friend}, {the_friend}, heard {him} and came.",
        ),
        ('"It is so dark," said {Name}.', '"I am afraid," said {Name}.'),
        (
            '"Look up," said {Friend}. "Can you see the stars?"',
            '{Friend} opened the window. "Look at the stars," {fhe} said.',
        ),
        (
            "There were so many stars that {he} could not count them.",
            "{He} counted ten stars, and then ten more.",
        ),
        (
            "Before {he} could count them all, {he} was asleep.",
            "Soon {Name} was not afraid any more and fell asleep.",
        ),
    ),
    "gift": (
        (
            "{Morning} {Name} wanted to make a present for {Friend}, {a_friend}.",
            "It was the birthday of {Friend}, {a_friend}, and {Name} had no present.",
        ),
        ("{He} worked all day and made a {colour} {thing}.", "So {he} made a {colour} {thing}."),
        (
            "It was not perfect, but it was beautiful.",
            "It was a little crooked, but {he} liked it.",
        ),
        (
            '"Happy birthday!" {he} said, and gave {fhim} the {thing}.',
            "In the evening {he} gave {fhim} the {thing}.",
        ),
        (
            '"It is the best {thing} in the world," said {Friend}.',
            '"You made it for me?" said {Friend}. "Thank you!"',
        ),
        (
            "Then they ate some {food} and sang a song.",
            "Then they danced, and everyone had some {food}.",
        ),
    ),
    "together": (
        (
            "{Morning} {he} had to bring a big bag of {load} to the mill.",
            "{Morning} {he} wanted to carry a big bag of {load} up the hill.",
        ),
        ("{Name} pulled and pulled, but the bag was too heavy.",),
        ('"May I help?" asked {Friend}, {a_friend}.', "Then {Friend}, {a_friend}, came by."),
        (
            '"No, I can do it alone," said {Name}. But the bag did not move.',
            '{Name} said, "It is too heavy for one."',
        ),
        (
            '"Two can carry what one cannot," said {Friend}.',
            '"Then let us do it together," said {Friend}.',
        ),
        (
            "They took the bag between them, and it was easy.",
            "Together they carried the {load}, and soon the work was done.",
        ),
    ),
    "music": (
        (
            "{Morning} {he} found an old {colour} {instrument} {hidden}.",
            "{Morning} {Friend}, {a_friend}, gave {him} an old {colour} {instrument}.",
        ),
        ("At first it only made a bad noise.", "{Name} tried it, but it did not sound nice."),
        ("But {he} played every day, and every day it was a little better.",),
        (
            "One evening {Friend}, {the_friend}, heard the music and began to dance.",
            "Then one day {Friend}, {the_friend}, stopped and listened.",
        ),
        ("Soon everyone {at} came to listen.", "More and more people came to hear the song."),
        ('"Play it again!" they said, and {Name} played until the moon came up.',),
    ),
}
