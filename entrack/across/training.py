"""A mechanism along the training that made a version: how well each checkpoint does the task, which
heads matter in it, and what the groups of one fixed circuit carry in it (ours).

Three things may happen to a circuit while its model gets better: it may appear, move to other
heads, or stay where it is and work better. Accuracy, the effects of all heads, and what the groups
carry tell these apart, if they are measured at the same steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from entrack.across.checkpoints import adapter_at, distance, model_at, recipe_of
from entrack.circuit.contents import CONTENT, content_of_groups
from entrack.circuit.discovery import Discovery, DiscoveryConfig, stage_scores
from entrack.circuit.overlap import Likeness, likeness
from entrack.circuits import Circuit, role_of
from entrack.errors import SiteError
from entrack.finetune.recipes import Recipe
from entrack.model.decoder import Model
from entrack.patching.accuracy import TaskScores, score_task
from entrack.patching.head_scores import HeadScores
from entrack.patching.patches import Patched
from entrack.sites import GROUPS, Head, group
from entrack.stats.metrics import Difference, Estimate, difference, ratio
from entrack.task.draws import pairs, scenes
from entrack.task.prompts import encode_pairs
from entrack.versions.families import versions
from entrack.versions.loading import load

FOLLOWED = tuple(CONTENT)
"""The groups whose heads are followed: A, B and C. The stage of the structure readers takes three
quarters of a search, and they carry none of the contents that are asked for."""


@dataclass(frozen=True)
class CourseSettings:
    """What is measured at every checkpoint.

    Attributes:
        n_scenes: scenes of seven prompts behind the accuracy.
        n_pairs: clean and corrupt pairs behind the effects of heads.
        n_contents: scenes of seven pairs behind what the groups carry.
        seed: of all prompts.
        discovery: how receivers are chosen, and how paths are patched.
    """

    n_scenes: int = 36
    n_pairs: int = 21
    n_contents: int = 14
    seed: int = 0
    discovery: DiscoveryConfig = DiscoveryConfig()


@dataclass(frozen=True)
class Course:
    """One recipe from its first to its last step; every mapping is step -> measurement, ascending.

    Attributes:
        version: the version that it makes, such as "code".
        start: the version that it starts from, such as "base".
        scores: answers to the task, the same prompts at every step.
        maps: effects of all heads, by the stages of `FOLLOWED`; the same pairs.
        carried: answers with the groups of one circuit patched, named by letter; the same pairs.
        apart: how far the last adapter is from that of the version in `models/`
            (`checkpoints.distance`); None where there is none.
    """

    version: str
    start: str
    scores: Mapping[int, TaskScores]
    maps: Mapping[int, Discovery]
    carried: Mapping[int, Patched]
    apart: float | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that were measured, 0 the model that it starts from."""
        return tuple(self.scores)

    @property
    def first(self) -> int:
        return self.steps[0]

    @property
    def last(self) -> int:
        return self.steps[-1]

    @property
    def gain(self) -> Difference:
        """Accuracy at the last step less that at the first, prompt by prompt."""
        return self.scores[self.last].minus(self.scores[self.first])

    def way(self, step: int) -> float:
        """Share of the gain in accuracy that is made by `step`; 0 where nothing is gained."""
        whole = self.gain.value
        done = self.scores[step].minus(self.scores[self.first]).value
        return done / whole if whole > 0 else 0.0

    @property
    def before_half(self) -> int:
        """The last step up to which less than half of the gain is made at every step."""
        return self.steps[max(self.steps.index(self.half) - 1, 0)]

    @property
    def half(self) -> int:
        """The first step at which half of the gain is made; the last where nothing is gained."""
        return next((step for step in self.steps if self.way(step) >= 0.5), self.last)

    def alike(
        self, reference: Discovery, *, seed: int = 0
    ) -> dict[int, dict[str, Likeness | None]]:
        """step -> group -> how alike its effects are to those of `reference`, which was searched
        on other prompts.
        """
        return {
            step: {name: likeness(reference, one, group=name, seed=seed) for name in FOLLOWED}
            for step, one in self.maps.items()
        }

    def carries(self, letter: str, step: int) -> Difference:
        """How often the answer is what a group's message says, above the checkpoint's floor."""
        return self.carried[step].above_floor(letter, _content(letter))

    def rise(self, letter: str) -> Difference:
        """`carries` at the last step less that at the first, pair by pair."""
        last, first = self._above(letter, self.last), self._above(letter, self.first)
        return difference(last, first, clusters=self.carried[self.first].scenes)

    def made(self, letter: str, step: int) -> Estimate:
        """Share of the `rise` that is made by `step`; NaN where what is carried does not change."""
        first = self._above(letter, self.first)
        done, whole = self._above(letter, step) - first, self._above(letter, self.last) - first
        return ratio(done, whole, clusters=self.carried[self.first].scenes)

    def letters(self) -> list[str]:
        """The groups that were patched, which are those that have heads."""
        return list(self.carried[self.first].patches)

    def _above(self, letter: str, step: int):
        """1, 0 or -1: whether the patched answer is what the message says, less the same with
        nothing patched [example].
        """
        found, content = self.carried[step], _content(letter)
        floor = found.unpatched == found.candidates[content]
        return found.hits(letter, content).astype(float) - floor


def _content(letter: str) -> str:
    return CONTENT[group(letter).name]


def standing(one: Likeness | None, ceiling: Likeness | None) -> tuple[Estimate, Estimate] | None:
    """What a claim about likeness is judged by: the correlation beyond that of heads shuffled in
    their layers, and its share of the ceiling; None where too few heads have a path.
    """
    if one is None or ceiling is None:
        return None
    return one.beyond, one.share_of(ceiling)


def least_alike(alike: Mapping[int, Mapping[str, Likeness | None]], name: str) -> Likeness | None:
    """Of all checkpoints, the one whose effects of a group are least like the reference's; None
    where none can be compared.
    """
    found = [one[name] for one in alike.values() if one[name] is not None]
    return min(found, key=lambda one: one.correlation.value, default=None)


def wanted_steps(steps: Sequence[int], recipe: Recipe) -> tuple[int, ...]:
    """The steps at which a course of `recipe` is looked at, ascending: those that are asked for,
    its start (0) and its end. What lies beyond the end is left out, so that one list serves the
    longer and the shorter recipes.
    """
    return tuple(sorted({0, recipe.steps, *(s for s in steps if 0 < s < recipe.steps)}))


def follow(
    family: str,
    version: str,
    *,
    steps: Sequence[int],
    circuit: Circuit,
    settings: CourseSettings,
    to_the_end: bool = True,
) -> Course | None:
    """Train a version of `family` once more and measure it on its way. None for a version without
    a recipe.

    The first checkpoint is the version that it starts from. The last need not be the version that
    stands in `models/`: another processor rounds in another way. `kept` measures that one.

    Args:
        steps: where to look, beside the first and the last (`wanted_steps`).
        circuit: whose groups are patched at every step.
        to_the_end: whether to train up to the last step; if not, the last checkpoint is the version
            that stands in `models/`, and training ends at the last of `steps`.

    Raises:
        ModelError: the version that it starts from is missing or damaged, or, without `to_the_end`,
            the one that it ends at.
        SiteError: no head of a stage helps at some step, so that the next has no receivers.

    Cost: the training (`checkpoints.adapter_at`), then for each checkpoint with the default
    settings some 50 s on one core for the default model. All of it is stored as it is finished.
    """
    recipe = recipe_of(family, version)
    if recipe is None:
        return None
    parent = load(f"{family}/{recipe.on}")
    plain = parent.device.type == "cpu" and parent.dtype == torch.float32
    trained = parent if plain else load(parent.name, device="cpu", dtype=torch.float32)
    scores, maps, carried, apart = {}, {}, {}, None
    for step in wanted_steps(steps, recipe):
        model = parent
        if step == recipe.steps and not to_the_end:
            model, apart = load(f"{family}/{version}"), None
        elif step:
            adapter = adapter_at(trained, recipe, step)
            model = model_at(parent, recipe, adapter)
            apart = distance(adapter, family, version)
        scores[step], maps[step], carried[step] = measure(model, circuit, settings)
    return Course(version, recipe.on, scores, maps, carried, apart)


def kept(
    family: str, version: str, *, settings: CourseSettings
) -> tuple[TaskScores, Discovery] | None:
    """Accuracy and effects of heads of a version as it stands in `models/`, to hold against the
    last checkpoint of its course. None where it is not there. Stored.
    """
    if version not in versions(family):
        return None
    model = load(f"{family}/{version}")
    drawn = scenes(settings.n_scenes, split="evaluation", seed=settings.seed)
    found = effects(model, n_pairs=settings.n_pairs, seed=settings.seed, config=settings.discovery)
    return score_task(model, drawn), found


def measure(
    model: Model, circuit: Circuit, settings: CourseSettings
) -> tuple[TaskScores, Discovery, Patched]:
    """What a `Course` holds of one checkpoint: accuracy, effects of heads, and what the groups of
    `circuit` carry. Each is stored.
    """
    drawn = scenes(settings.n_scenes, split="evaluation", seed=settings.seed)
    return (
        score_task(model, drawn),
        effects(model, n_pairs=settings.n_pairs, seed=settings.seed, config=settings.discovery),
        content_of_groups(model, circuit, n_scenes=settings.n_contents, seed=settings.seed),
    )


def effects(model: Model, *, n_pairs: int, seed: int, config: DiscoveryConfig) -> Discovery:
    """The stages of `discovery.discover` up to the last of `FOLLOWED`, the receivers of each being
    the model's own heads of the stage before. Each stage is stored, and shared with `discover`.

    Raises SiteError when a stage finds no head that helps, so that the next has no receivers.
    """
    drawn = pairs(n_pairs, split="discovery", seed=seed)
    clean, corrupt = encode_pairs(model.tokenizer, drawn)
    scores: dict[str, HeadScores] = {}
    receivers: dict[str, tuple[Head, ...]] = {}
    found = Discovery(scores, receivers, model.name, config.structure_role)
    for name in FOLLOWED:
        above = GROUPS[name].receivers
        receivers[name] = () if above is None else found.top(above, config.receiver_share)
        if above is not None and not receivers[name]:
            raise SiteError(
                f"no head of {above} helps {model.name}, so {name} has no receivers; each stage"
                " needs some. Use more pairs, or begin the course at a later step."
            )
        scores[name] = stage_scores(
            model,
            clean,
            corrupt=corrupt,
            role=role_of(name, config.structure_role),
            receivers=receivers[name],
            via=GROUPS[name].composition,
            config=config.path,
        )
    return found
