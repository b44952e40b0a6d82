"""The recipe of every fine-tuned version, lineage by lineage, and nothing else about them.

A lineage is a base and the versions made from it, and is a family of its own: `smollm2`, whose base
was primed on the boxes task, and `smollm2-unprimed`, whose base never saw it.

How each number was arrived at, with what did not work, is in `models/README.md`.
"""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from entrack.errors import ConfigError
from entrack.finetune.arithmetic_data import ArithmeticData, NamedArithmeticData
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.code_data import PYTHON, SHELL, CodeData
from entrack.finetune.data import DataConfig, MixedData
from entrack.finetune.instructions_data import InstructionData


@dataclass(frozen=True)
class Recipe:
    """Everything that determines what training makes, but the weights it stands on.

    Attributes:
        name: of the version it makes.
        on: the version of the same family it is trained on top of.
        data: what it is trained on.
        steps: optimiser steps, of `batch` examples each.
        horizon: the step at which the learning rate would reach 0; at least `steps`.
        lr: the highest learning rate, reached after `warmup` steps.
        rank, alpha: of the LoRA on the q, k, v and o projections; the update is scaled by alpha /
            rank. Both None: a full fine-tune. Every weight is trained, those of the MLPs, the norms
            and the embeddings too, and there is no adapter.
        clip: largest norm of the gradient.
        seed: of the data and of the adapter's first weights.
        dtype: of the frozen weights and the matrix products while training. What is trained is
            float32.
        validate_every: steps between two measurements on the validation split.
    """

    name: str
    on: str
    data: DataConfig
    steps: int
    horizon: int
    lr: float = 4e-4
    warmup: int = 20
    batch: int = 16
    rank: int | None = 16
    alpha: int | None = 32
    clip: float = 1.0
    seed: int = 0
    dtype: str = "bfloat16"
    validate_every: int = 25

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= self.horizon:
            raise ConfigError(
                f"{self.steps} steps; recipe {self.name!r} takes 1 to {self.horizon}. "
                "Choose a number in that range."
            )
        if self.dtype not in ("bfloat16", "float32"):
            raise ConfigError(
                f"dtype {self.dtype!r}; allowed are bfloat16 and float32. Use one of them."
            )
        if (self.rank is None) != (self.alpha is None):
            raise ConfigError(
                f"rank {self.rank} with alpha {self.alpha}; recipe {self.name!r} needs a number for"
                " both, or None for both to train every weight. Give both."
            )

    @property
    def full(self) -> bool:
        """Whether every weight is trained, rather than an adapter."""
        return self.rank is None

    def changed(self, *, steps: int | None = None, seed: int | None = None) -> "Recipe":
        """This recipe with another number of steps or another seed; None leaves it as it is."""
        given = {k: v for k, v in {"steps": steps, "seed": seed}.items() if v is not None}
        return dataclasses.replace(self, **given)

    def schedule(self, step: int) -> float:
        """Share of `lr` at `step` (0 = the first): a linear rise over `warmup` steps, then down to
        0 at `horizon`.
        """
        rise = (step + 1) / self.warmup if self.warmup else 1.0
        fall = (self.horizon - step) / max(1, self.horizon - self.warmup)
        return min(rise, fall, 1.0)

    def record(self) -> dict[str, Any]:
        """The recipe as plain values for a card; every kind of data is named by its class."""
        return {**dataclasses.asdict(self), "data": _record(self.data)}

    def lora(self) -> Any:
        """peft's configuration of the adapter. ConfigError for a full fine-tune, which has none."""
        if self.full:
            raise ConfigError(
                f"recipe {self.name!r} trains every weight and has no adapter; an adapter has a"
                " rank. Choose a recipe with one."
            )
        from peft import LoraConfig

        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
        )


def _record(data: DataConfig) -> dict[str, Any]:
    values = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    if "parts" in values:
        values["parts"] = [_record(part) for part in values["parts"]]
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
    return {"kind": type(data).__name__, **plain}


def _later(
    name: str,
    data: DataConfig,
    on: str = "base",
    steps: int = 250,
    horizon: int | None = None,
    validate_every: int = 50,
    **changes: Any,
) -> Recipe:
    """A recipe that starts from `base` and goes to its horizon, if nothing else is said."""
    return Recipe(
        name,
        on=on,
        data=data,
        steps=steps,
        horizon=horizon or steps,
        seed=1,
        validate_every=validate_every,
        **changes,
    )


def _named(*made: Recipe) -> dict[str, Recipe]:
    return {one.name: one for one in made}


_SINCE = (
    _later("math", ArithmeticData()),
    _later("instruct", InstructionData()),
    _later("boxes", BoxesData(), steps=150),
)

RECIPES = {
    "smollm2": _named(
        Recipe("base", on="raw", data=BoxesData(), steps=32, horizon=150, validate_every=8),
        _later("code", CodeData(), validate_every=25),
        *_SINCE,
    ),
    "smollm2-unprimed": _named(
        Recipe("base", on="raw", data=CodeData(SHELL), steps=100, horizon=250, validate_every=10),
        _later("code", CodeData(PYTHON)),
        *_SINCE,
        _later("code-from-raw", CodeData(), on="raw", validate_every=25),
    ),
    # The recipes of the default family, but those of 250 steps stop at 150 of the same course: the
    # machine had no time for more.
    "gemma3": _named(
        Recipe("base", on="raw", data=BoxesData(), steps=21, horizon=150, validate_every=7),
        _later("code", CodeData(), steps=150, horizon=250, validate_every=25),
        _later("math", ArithmeticData(), steps=150, horizon=250),
        # Gemma does not know SmolLM2's chat markers, and was never fine-tuned on its own.
        _later("instruct", InstructionData(chat=False), steps=150, horizon=250),
        _later("boxes", BoxesData(), steps=150),
    ),
}
"""{family: {version: its recipe}}. `code-from-raw` is `code` of the default family but for what it
stands on: what it can do needs neither boxes nor a base.
"""

# A second lineage of the unprimed family: the same recipes, one seed on.
RECIPES["smollm2-unprimed-2"] = {
    name: made.changed(seed=made.seed + 1)
    for name, made in RECIPES["smollm2-unprimed"].items()
    if name in ("base", "code")
}

TRIES = {
    "smollm2": _named(
        _later("math-small", ArithmeticData(digits=2)),
        _later("math-repeat", ArithmeticData(repeat_sum=True)),
        _later("math-named", NamedArithmeticData()),
        _later("math-long", ArithmeticData(), steps=750, validate_every=250),
        _later("math-mixed", MixedData((ArithmeticData(), BoxesData()), (0.95, 0.05))),
        _later("instruct-mixed", MixedData((InstructionData(), BoxesData()), (0.95, 0.05))),
        _later("instruct-gentle", InstructionData(), lr=1e-4),
        _later("code-rank-4", CodeData(), rank=4, alpha=8),
        _later("code-rank-1", CodeData(), rank=1, alpha=2),
    ),
    # The paper's third fine-tuned model was trained without a LoRA. All weights of this one are too
    # large to lie in `models/`, so it is made anew where it is wanted.
    "smollm2-unprimed": _named(
        _later("code-full", CodeData(PYTHON), rank=None, alpha=None, lr=5e-5),
    ),
}
"""{family: {try: its recipe}}: what may explain a family; each changes one thing, where what is
trained counts as one thing with the learning rate that goes with it.
`models/README.md` tells which were run, and what came of them.
"""


def recipe(name: str, family: str) -> Recipe:
    """The recipe or the try of `family` called `name`; ConfigError names those there are."""
    if family not in RECIPES:
        raise ConfigError(
            f"no recipes for family {family!r}; there are some for {', '.join(RECIPES)}. Use one of"
            " those."
        )
    made, tried = RECIPES[family], TRIES.get(family, {})
    every = made | tried
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Use one of them."
        to_try = f", and to try {', '.join(tried)}" if tried else ""
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(made)}{to_try}. {hint}")
    return every[name]
