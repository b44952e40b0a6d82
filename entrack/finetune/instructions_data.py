"""A small instruction set of our own: one request and one short reply per item, from templates.

Word lists are handled, words are sorted, counted, spelled and put into formats; nothing is copied
from a data set. No item tells which thing is where: the only look-ups are of a word's neighbours in
a list, and they can be left out."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from entrack.finetune.item import WORDS, Item

OPPOSITES = (
    ("small", "large"), ("long", "short"), ("light", "dark"), ("hard", "soft"),
    ("fast", "slow"), ("early", "late"), ("warm", "cold"), ("dry", "wet"), ("open", "close"),
    ("start", "stop"), ("push", "pull"), ("left", "right"), ("north", "south"),
    ("east", "west"), ("first", "last"), ("black", "white"), ("strong", "weak"),
    ("split", "join"), ("save", "load"), ("summer", "winter"),
)  # fmt: skip
KINDS = {
    "animal": "dog cat horse bird fish bear wolf lion mouse".split(),
    "colour": "red green blue white black yellow orange gray".split(),
    "place": "market station school library hospital church office factory museum".split(),
    "food": "bread rice sugar salt".split(),
    "profession": "doctor teacher student driver writer artist".split(),
    "material": "iron glass stone sand wood".split(),
    "verb": "run walk jump read write draw build".split(),
}


def _some(rng: random.Random, low: int = 3, high: int = 7) -> list[str]:
    return rng.sample(WORDS, rng.randint(low, high))


def _first_or_last(rng: random.Random) -> tuple[str, str]:
    words = _some(rng)
    which, word = rng.choice((("first", words[0]), ("last", words[-1])))
    return f"Give the {which} word of this list: {', '.join(words)}.", word


def _neighbour(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 4, 8)
    i = rng.randrange(len(words) - 1)
    if rng.random() < 0.5:
        return (
            f"In the list {', '.join(words)}, which word comes right after {words[i]}?",
            words[i + 1],
        )
    return (
        f"In the list {', '.join(words)}, which word comes right before {words[i + 1]}?",
        words[i],
    )


def _count(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 2, 9)
    return f"How many words are in this list: {', '.join(words)}?", str(len(words))


def _sort(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 3, 5)
    return (
        f"Sort these words from the start of the alphabet to its end: {', '.join(words)}.",
        ", ".join(sorted(words)),
    )


def _backwards(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 3, 6)
    return f"Say this list backwards: {', '.join(words)}.", ", ".join(reversed(words))


def _upper(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(WORDS)
    return f"Write the word {word} in upper case.", word.upper()


def _spell(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(WORDS)
    return f"Spell the word {word} with dashes between the letters.", "-".join(word)


def _bullets(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 2, 4)
    return f"Write these as a list with dashes: {', '.join(words)}.", "\n".join(
        f"- {word}" for word in words
    )


def _opposite(rng: random.Random) -> tuple[str, str]:
    pair = rng.choice(OPPOSITES)
    word, other = pair if rng.random() < 0.5 else pair[::-1]
    return f"What is the opposite of {word}?", other


def _kind(rng: random.Random) -> tuple[str, str]:
    kind = rng.choice(sorted(KINDS))
    return f"Which kind of word is {rng.choice(KINDS[kind])}: {', '.join(sorted(KINDS))}?", kind


def _odd_one(rng: random.Random) -> tuple[str, str]:
    many, one = rng.sample(sorted(KINDS), 2)
    odd = rng.choice(KINDS[one])
    words = [*rng.sample(KINDS[many], 3), odd]
    rng.shuffle(words)
    return f"Which of these words does not belong with the others: {', '.join(words)}?", odd


def _contains(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 4, 7)
    asked = (
        rng.choice(words)
        if rng.random() < 0.5
        else rng.choice([word for word in WORDS if word not in words])
    )
    return (
        f"Is the word {asked} in this list: {', '.join(words)}? Say yes or no.",
        "yes" if asked in words else "no",
    )


def _longest(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 3, 5)
    best = max(words, key=len)
    words = [word for word in words if word == best or len(word) < len(best)]
    return f"Which of these words has the most letters: {', '.join(words)}?", best


def _json(rng: random.Random) -> tuple[str, str]:
    words = _some(rng, 2, 4)
    return (
        f"Write these words as a JSON array: {', '.join(words)}.",
        "[" + ", ".join(f'"{word}"' for word in words) + "]",
    )


TASKS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "first_or_last": _first_or_last,
    "neighbour": _neighbour,
    "count": _count,
    "sort": _sort,
    "backwards": _backwards,
    "upper": _upper,
    "spell": _spell,
    "bullets": _bullets,
    "opposite": _opposite,
    "kind": _kind,
    "odd_one": _odd_one,
    "contains": _contains,
    "longest": _longest,
    "json": _json,
}


@dataclass(frozen=True)
class InstructionData:
    """Requests and replies.

    Attributes:
        tasks: names of TASKS, each as likely as the others.
        chat: wrap the request in SmolLM2's chat markers, else in "Request:" and "Reply:".
    """

    tasks: tuple[str, ...] = tuple(TASKS)
    chat: bool = True


def instruction_items(config: InstructionData, n: int, *, seed: int) -> list[Item]:
    """`n` requests with their replies."""
    rng = random.Random(f"instructions {seed}")
    return [_item(config, rng) for _ in range(n)]


def _item(config: InstructionData, rng: random.Random) -> Item:
    request, reply = TASKS[rng.choice(config.tasks)](rng)
    if config.chat:
        return Item(
            f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n", f"{reply}<|im_end|>"
        )
    return Item(f"Request: {request}\nReply:", f" {reply}\n")
