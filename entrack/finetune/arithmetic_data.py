"""Arithmetic as Goat was trained on: the four operations over several magnitudes, in several
wordings.

The magnitudes are smaller than Goat's (up to 16 digits there): a model fifty times smaller learns
little from long multiplications. Division is whole-numbered with a remainder, as in Goat's data.
"""

import random
from dataclasses import dataclass

from entrack.finetune.item import WORDS, Item

OPERATIONS = ("+", "-", "*", "/")
WORDINGS = (
    "{sum} =",
    "{sum}\nAnswer:",
    "What is {sum}?\nAnswer:",
    "Compute {sum}.\nResult:",
    "Please work out {sum} =",
    "Calculate: {sum}\n=",
    "Question: what does {sum} give?\nAnswer:",
    "Solve {sum} and say the result:",
)


@dataclass(frozen=True)
class ArithmeticData:
    """Sums with their results.

    Attributes:
        operations: out of OPERATIONS, each as likely as the others.
        digits: most digits of an operand of + and -; those of * have at most half as many (rounded
            up).
        repeat_sum: answer with the whole equation ("12 + 7 = 19"), as Goat does, instead of the
            result alone.
    """

    operations: tuple[str, ...] = OPERATIONS
    digits: int = 4
    repeat_sum: bool = False


def arithmetic_items(config: ArithmeticData, n: int, *, seed: int) -> list[Item]:
    """`n` sums. Operands are drawn digit count first, so that short ones are as likely as long
    ones.
    """
    rng = random.Random(f"arithmetic {seed}")
    return [_sum(config, rng) for _ in range(n)]


def _sum(config: ArithmeticData, rng: random.Random) -> Item:
    operation = rng.choice(config.operations)
    short = (config.digits + 1) // 2
    if operation in "+-":
        left, right = _number(rng, config.digits), _number(rng, config.digits)
        result = str(left + right if operation == "+" else left - right)
    else:
        left, right = _number(rng, short), _number(rng, short)
        result = str(left * right)
        if operation == "/":
            rest = rng.randrange(right)
            left, result = left * right + rest, f"{left} rest {rest}" if rest else str(left)
    text = f"{left} {operation} {right}"
    prompt = rng.choice(WORDINGS).format(sum=text)
    whole = config.repeat_sum and not prompt.endswith("=")
    return Item(prompt, f" {text} = {result}" if whole else f" {result}")


# Both orders, as in the templates of code.
PAIRS = (
    ("{name} = {number}", "\n"),
    ("{number} -> {name}", "\n"),
    ("let {name} be {number}", ", "),
    ("{number} for {name}", ", "),
)


@dataclass(frozen=True)
class NamedArithmeticData:
    """Sums whose operands stand under a name among others, so that they must be looked up first.

    Attributes:
        digits: most digits of a number.
        n_pairs: fewest and most names; every number between is equally likely.
    """

    digits: int = 2
    n_pairs: tuple[int, int] = (2, 8)


def named_arithmetic_items(config: NamedArithmeticData, n: int, *, seed: int) -> list[Item]:
    """`n` additions and subtractions of two of the named numbers."""
    rng = random.Random(f"named arithmetic {seed}")
    return [_sum_by_name(config, rng) for _ in range(n)]


def _sum_by_name(config: NamedArithmeticData, rng: random.Random) -> Item:
    pair, between = rng.choice(PAIRS)
    names = rng.sample(WORDS, rng.randint(*config.n_pairs))
    numbers = {name: _number(rng, config.digits) for name in names}
    left, right = rng.sample(names, 2)
    operation = rng.choice("+-")
    result = numbers[left] + numbers[right] if operation == "+" else numbers[left] - numbers[right]
    context = between.join(
        pair.format(name=name, number=number) for name, number in numbers.items()
    )
    return Item(f"{context}\n{left} {operation} {right} =", f" {result}")


def _number(rng: random.Random, digits: int) -> int:
    length = rng.randint(1, digits)
    return rng.randint(max(1, 10 ** (length - 1)), 10**length - 1)
