"""One mechanism, two tasks? The circuit and its messages in look-ups in code beside boxes (ours).

The paper finds one circuit for one task and asks what fine-tuning does to it. But why should
training on *other* data change how boxes are done? If look-ups in code are done by the same heads,
then training on the one trains the other. So the same scenes are told as boxes and as look-ups
(`task.look_ups`), the search of chapter 03 runs on both, circuits change places, and a head that
reads the one task speaks to a model that does the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from entrack.circuit.discovery import Discovery, discover
from entrack.circuit.search import CircuitSettings, FoundCircuit, means_over, search_circuit
from entrack.cross_model.messages import followed_more
from entrack.errors import AlignmentError
from entrack.model.activations import Means
from entrack.model.answers import answers_of
from entrack.model.decoder import Model
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.stats.metrics import Difference, Estimate, difference, ratio
from entrack.store.results import stored
from entrack.task.boxes import Example
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals
from entrack.task.desiderata import Counterfactual
from entrack.task.draws import examples, pairs
from entrack.task.look_ups import as_look_up
from entrack.task.prompts import Prompts, encode

BOXES, LOOK_UPS = "boxes", "look-ups"
TASKS = (BOXES, LOOK_UPS)
CELLS = tuple((source, base) for base in TASKS for source in TASKS)
"""(task of the source, task of the base) of the four cells."""
COUNTS = ("from the start", "from the end")
"""Ways to count tokens, as rivals of the order of the boxes."""


def encode_look_ups(tokenizer: PreTrainedTokenizerBase, asked: Sequence[Example]) -> Prompts:
    """The examples told as look-ups, as tokens. Raises as `prompts.encode` does, for a label or
    object that is not one token there.
    """
    return encode(tokenizer, [as_look_up(example) for example in asked])


def find_look_up_circuit(model: Model, settings: CircuitSettings) -> FoundCircuit:
    """`search.find_circuit` on look-ups: the same scenes and rules, the prompts told as code.

    Raises SiteError when a group comes out empty.
    """
    clean, corrupt = _pairs(model, settings.n_pairs, settings)
    return search_circuit(
        model,
        clean,
        corrupt=corrupt,
        held_out=encode_look_ups(
            model.tokenizer, examples(settings.n_held_out, split="pruning", **_scenes(settings))
        ),
        means=look_up_means(model, settings),
        settings=settings,
    )


def look_up_maps(model: Model, settings: CircuitSettings) -> Discovery:
    """The four score maps alone, for a model that need not do the task. Stored.

    Raises SiteError when a stage finds no head that helps.
    """
    clean, corrupt = _pairs(model, settings.n_pairs, settings)
    return discover(model, clean, corrupt=corrupt, config=settings.discovery)


def look_up_means(model: Model, settings: CircuitSettings) -> Means:
    """Mean head outputs over look-ups whose question names a label that was not told. Stored."""
    drawn = replace(settings, seed=settings.seed + 1)
    _, corrupt = _pairs(model, settings.n_means, drawn)
    return means_over(model, corrupt)


@stored("look-ups")
def answered(model: Model, prompts: Prompts) -> np.ndarray:
    """Whether the most likely of all tokens is the right object [example]. Stored."""
    return answers_of(model, prompts).hit[:, 0].cpu().numpy()


def _pairs(model: Model, n: int, settings: CircuitSettings) -> tuple[Prompts, Prompts]:
    """Clean and corrupt look-ups for path patching, of equal lengths pair by pair."""
    drawn = pairs(n, split="discovery", **_scenes(settings))
    clean, corrupt = (
        encode_look_ups(model.tokenizer, told)
        for told in ([p.clean for p in drawn], [p.corrupt for p in drawn])
    )
    if clean.lengths.tolist() != corrupt.lengths.tolist():
        raise AlignmentError(
            "clean and corrupt look-ups of different lengths; path patching needs equal lengths."
            " Use a tokenizer with one token for each small letter."
        )
    return clean, corrupt


def _scenes(settings: CircuitSettings) -> dict[str, int]:
    return {"n_boxes": settings.n_boxes, "seed": settings.seed}


@dataclass(frozen=True)
class TaskMessages:
    """Messages between two tasks in one model.

    Attributes:
        patched: cell of CELLS -> the answers to the base prompts, each patch taken from the
            sources.
        content: name of a patch -> the candidate that it should make the model say.
        by_tokens: cell -> way of COUNTS -> the object of the base whose label stands nearest to
            where the source's label does, if tokens are counted that way [example].
    """

    patched: Mapping[tuple[str, str], Patched]
    content: Mapping[str, str]
    by_tokens: Mapping[tuple[str, str], Mapping[str, np.ndarray]]

    def score(self, source: str, base: str, patch: str) -> Difference:
        """Share of pairs that answer as the content says, above the floor, from -1 to 1; 0 = no
        more often than when nothing is patched.
        """
        answers = self.patched[source, base]
        return answers.above_floor(patch, self.content[patch])

    def kept(self, base: str, patch: str) -> Estimate:
        """Score with the sources of the *other* task over that with sources of the base's own, on
        the same scenes: 1 = the heads say the same whatever they read. NaN where the latter is 0.
        """
        other = next(task for task in TASKS if task != base)
        across, own = (self._above((source, base), patch) for source in (other, base))
        return ratio(across, own, clusters=self.patched[base, base].scenes)

    def lost(self, base: str, patch: str) -> Difference:
        """Score with the sources of the other task less that with the base's own."""
        other = next(task for task in TASKS if task != base)
        across, own = (self._above((source, base), patch) for source in (other, base))
        return difference(across, own, clusters=self.patched[base, base].scenes)

    def order_over_tokens(self, source: str, base: str, patch: str, way: str) -> Difference | None:
        """How much more often the answer is the object at the source's place in the *order* than
        the one at the source's distance in tokens, counted `way` of COUNTS. Only pairs on which the
        two differ and the second is not the base's own answer; None where there are none.
        """
        answers, rival = self.patched[source, base], self.by_tokens[source, base][way]
        order, own = (answers.candidates[name] for name in ("position", "unchanged"))
        apart = (rival != order) & (rival != own)
        if not apart.any():
            return None
        said = answers.answers[list(answers.patches).index(patch)]
        return difference(
            (said == order)[apart], (said == rival)[apart], clusters=answers.scenes[apart]
        )

    def _above(self, cell: tuple[str, str], patch: str) -> np.ndarray:
        return followed_more(self.patched[cell], patch, self.content[patch])


def task_messages(
    model: Model,
    items: Sequence[Counterfactual],
    *,
    patches: Mapping[str, Patch],
    content: Mapping[str, str],
) -> TaskMessages:
    """The four cells of source task and base task for each of `patches`. Stored.

    Args:
        items: counterfactuals of `counterfactual_pairs.interchanges`, in which every idea of what
            is carried predicts another word, whichever task tells it.
        content: name of a patch -> the candidate that it should make the model say.

    Cost: as `group_patching.patch_pairs`, four times."""
    told = told_both_ways(model.tokenizer, items)
    return TaskMessages(
        {cell: patch_pairs(model, told[cell], patches=patches) for cell in CELLS},
        dict(content),
        {cell: {way: _nearest(told[cell], way) for way in COUNTS} for cell in CELLS},
    )


def _nearest(data: CounterfactualPrompts, way: str) -> np.ndarray:
    """The object of the base whose label stands nearest to the source's earlier label [example]; of
    two as near, the earlier one.
    """
    wanted, labels = data.source.at("prev_query_label"), data.base.segments["label"]
    if way == "from the end":
        wanted = data.base.lengths - data.source.lengths + wanted
    slot = (labels - wanted[:, None]).abs().argmin(1)
    places = data.base.segments["object"].gather(1, slot[:, None])
    return data.base.tokens.gather(1, places)[:, 0].numpy()


def told_both_ways(
    tokenizer: PreTrainedTokenizerBase, items: Sequence[Counterfactual]
) -> dict[tuple[str, str], CounterfactualPrompts]:
    """cell of CELLS -> the counterfactuals with source and base told as that task; the expected
    answers are the same in all four."""
    boxes = encode_counterfactuals(tokenizer, items)
    as_code = {
        "source": encode(tokenizer, [as_look_up(item.source) for item in items]),
        "base": encode(tokenizer, [as_look_up(item.base) for item in items]),
    }

    def told(side: str, task: str) -> Prompts:
        return getattr(boxes, side) if task == BOXES else as_code[side]

    return {
        (source, base): replace(boxes, source=told("source", source), base=told("base", base))
        for source, base in CELLS
    }
