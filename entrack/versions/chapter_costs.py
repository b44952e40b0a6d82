"""What each chapter costs from nothing, by formula: the experiments that take the most of it, with
the chapter's own parameters.

What a search will find is not known before, so a circuit is taken to have `HEADS` candidates a
group, in `DEPTHS` of the model. Results that chapters share (the circuit, means) count in each of
them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from entrack.versions.costs import (
    Shape,
    Text,
    ablated,
    replayed,
    scene,
    stages,
    streams,
    whole,
)

HEADS = 11
"""Candidate heads of one group."""
DEPTHS = {"value_fetcher": 0.8, "position_transmitter": 0.65, "position_detector": 0.5}
"""Where a group's heads are, as a share of the layers; each is spread over three of them."""
MEANS, FOR_EACH_PAIR = 112, 4
"""Prompts of a search: behind the means where a chapter has no parameter for them, and for choosing
and pruning (`circuit.search.CircuitSettings`)."""
LATER = {
    "value_fetcher": 1,
    "position_transmitter": 1,
    "position_detector": 2,
    "structure_reader": 3,
}
"""Role tokens from a group's own on."""

TRAINED, CHECKPOINTS, FOR_EACH_STEP = 350, 9, 20
"""Steps of training and checkpoints of chapter 14 on the default family; passes of one step, which
goes forward and back through 16 texts that are shorter than the prompts."""


@dataclass(frozen=True)
class Chapter:
    """One chapter on one family.

    Attributes:
        shape, text: of the models and of the prompts.
        values: the chapter's parameters.
        compared: versions that it compares, the base one of them.
    """

    shape: Shape
    text: Text
    values: Mapping[str, float]
    compared: int

    def prompts(self, name: str) -> float:
        """Prompts of a parameter that counts scenes."""
        return self.values[name] * self.text.n_boxes

    def passes(self, n: float) -> float:
        return n * whole(self.shape, self.text)

    def again(self, role: str, share: float = 0.5) -> float:
        """The tokens from `role` on, through a share of the layers."""
        slots = self.text.slots[role]
        return replayed(self.shape, self.text, slots=slots, layers=share * self.shape.n_layers)

    def stages(self) -> dict[str, float]:
        """Each stage of a search, for one pair."""
        receivers = {
            name: [round(self.shape.n_layers * (depth + step)) for step in (-0.1, 0, 0.1)]
            for name, depth in DEPTHS.items()
        }
        return stages(self.shape, self.text, receivers)

    def search(self, pairs: str = "n_pairs") -> float:
        """The whole search for one circuit."""
        values = self.values
        return (
            values[pairs] * sum(self.stages().values())
            + self.passes(values.get("n_means", MEANS))
            + self.alone(FOR_EACH_PAIR * values[pairs], 8)
            + self.minimality(FOR_EACH_PAIR * values[pairs])
        )

    def minimality(self, n: float) -> float:
        """Every candidate head of a circuit judged on `n` prompts, its rivals found there."""
        return self.knocked_out(n, HEADS * (HEADS + 1) / 2 + 1) + self.knocked_out(n, 2 * HEADS)

    def knocked_out(self, n: float, sets: float) -> float:
        """A circuit less `sets` sets of heads of each group, on `n` prompts."""
        layers = self.shape.n_layers / 3
        return n * (
            ablated(self.shape, self.text, circuits=1)
            + sets
            * sum(
                replayed(self.shape, self.text, slots=slots, layers=layers)
                for slots in LATER.values()
            )
        )

    def alone(self, n: float, circuits: float) -> float:
        """Circuits alone beside the whole model, on `n` prompts."""
        return self.passes(n) + n * ablated(self.shape, self.text, circuits=circuits)

    def pairs(self, n: float, near: float, far: float = 0) -> float:
        """`n` pairs of prompts, each with patches that rerun the question, or the context."""
        return (
            self.passes(2 * n)
            + n * near * self.again("query_label", 0.4)
            + n * far * self.again("prev_query_label", 0.6)
        )


def _task(c: Chapter) -> float:
    asked = 2 * c.compared * c.values["n_scenes"] + 2 * 9 * c.values["n_scenes_sizes"]
    return asked * scene(c.shape, c.text)


def _hooks(c: Chapter) -> float:
    roles = sum(streams(c.shape, c.text, role=role) for role in ("last", "query_label"))
    return c.passes(2 * 3 * c.values["n_prompts"]) + 3 * c.values["n_prompts"] * roles


def _circuit(c: Chapter) -> float:
    live = 3 * whole(c.shape, c.text) * FOR_EACH_PAIR * c.values["n_pairs"]
    looks = c.passes(3 * c.values["n_evaluation"])
    return c.search() + live + c.alone(c.values["n_evaluation"], 12) + looks


def _same_circuit(c: Chapter) -> float:
    versions = c.passes(c.compared * c.values["n_means"])
    kept = c.compared + 1 + 2 * c.values["n_random"]
    versions += c.compared * c.alone(c.values["n_evaluation"], kept)
    without = c.again("prev_query_label", 1.0) + c.again("query_label", 1.0)
    complete = (
        c.values["n_complete"] * (c.compared * 4 + 3) + c.values["n_choosing"] * 18
    ) * without
    wide = replayed(c.shape, c.text, slots=c.text.n_boxes + 3, layers=c.shape.n_layers)
    fifth = (c.values["n_support"] * (4 * 3 + 2 * 7) + c.values["n_judged"] * 7) * wide
    complete += 3 * fifth + c.passes(2 * c.values["n_judged"])
    return c.search() + c.compared * c.search("n_pairs_own") + versions + complete


def _flow(c: Chapter) -> float:
    edges = 4 * streams(c.shape, c.text, role="last", step=2)
    edges += 3 * streams(c.shape, c.text, role="query_label", step=2)
    once = 3 * (c.again("last", 1.0) + c.again("query_label", 1.0))
    versions = c.compared * c.prompts("n_others") * (whole(c.shape, c.text) + once)
    return c.search() + c.prompts("n_scenes") * (4 * whole(c.shape, c.text) + edges) + versions


def _contents(c: Chapter) -> float:
    learned = 3 * c.values["n_seeds"] * 16 * 14 * 3 * 3 * 2 * c.again("last", 0.3)
    learned += 3 * c.values["n_seeds"] * 16 * 14 * 3 * 3 * c.again("query_label", 0.5)
    readers = 3 * 2 * 8 * 7 * 2 * 3 * c.again("prev_query_label", 0.8)
    chosen = c.pairs(c.prompts("n_train") + c.prompts("n_validation"), 36)
    tested = c.pairs(c.compared * c.prompts("n_test"), 12, 4)
    layers = c.prompts("n_validation") * streams(c.shape, c.text, role="query_label", step=2)
    own = (c.compared - 1) * (learned / 3 + chosen / 3 + c.pairs(c.prompts("n_own"), 9))
    return c.search() + learned + readers + chosen + tested + layers + own


def _position(c: Chapter) -> float:
    worded = 12 * c.prompts("n_scenes") + 3 * c.prompts("n_rivals") + 2 * c.prompts("n_scenes")
    steps = 16 * 14 * 3 * (c.again("last", 0.3) + c.again("query_label", 0.5))
    masks = steps + c.pairs(2 * c.prompts("n_learn"), 4) + c.pairs(c.prompts("n_masked"), 2)
    rivals = c.passes(3 * 2 * c.prompts("n_rivals"))
    return c.search() + c.pairs(worded, 2) + rivals + c.values["n_worded"] * masks


def _improved(c: Chapter) -> float:
    tuned = c.compared - 1
    shared = scene(c.shape, c.text) / c.text.n_boxes
    near = 2 * shared + (4 + 3 * c.values["n_random"] + 3) * c.again("query_label", 0.4)
    both_ways = (2 * tuned + 1) * c.prompts("n_scenes") * near
    far = tuned * c.prompts("n_far") * 3 * c.again("prev_query_label", 0.7)
    carried = c.compared * c.pairs(c.prompts("n_desiderata"), 3)
    grafts = tuned * 12 * c.values["n_graft"] * scene(c.shape, c.text)
    return c.search() + c.search("n_pairs_own") + both_ways + far + carried + grafts


def _as_published(c: Chapter) -> float:
    slips = c.search() * c.values["n_noisy"] / c.values["n_pairs"] / 2
    scored = c.alone(c.values["n_evaluation"], 4) + c.alone(
        FOR_EACH_PAIR * c.values["n_pairs"], 2 * c.values["n_random"]
    )
    learned = 2 * c.values["n_steps"] * 7 * 4 * 3 * 3 * c.again("prev_query_label", 0.8) / 2
    return c.search() + slips + scored + learned + c.pairs(12 * c.values["n_desiderata"], 2)


def _messages(c: Chapter) -> float:
    cells = 3 * (c.compared - 1) + 1
    shared = 2 * scene(c.shape, c.text) / c.text.n_boxes
    return c.search() + cells * c.prompts("n_scenes") * (shared + 4 * c.again("query_label", 0.4))


def _explorer(c: Chapter) -> float:
    sources = c.compared + 1 + 3 * (c.compared - 1)
    replaced = 10 * c.again("query_label", 0.4) + 9 * c.again("prev_query_label", 0.7)
    asked = c.prompts("n_scenes") + 2 * sources * c.values["n_prompts"]
    means = c.passes(c.compared * MEANS)
    return c.search() + means + c.passes(asked) + sources * c.values["n_prompts"] * replaced


def _lineages(c: Chapter) -> float:
    searches = c.search() + 4 * c.search("n_pairs_own")
    cells = 3 * 3 + 1
    shared = 2 * scene(c.shape, c.text) / c.text.n_boxes
    spoken = cells * c.prompts("n_scenes") * (shared + 3 * c.again("query_label", 0.4))
    return searches + 4 * c.alone(c.values["n_evaluation"], 5) + spoken


def _two_tasks(c: Chapter) -> float:
    searches = c.search() + 2 * c.search("n_pairs_own") + 3 * c.search("n_pairs_own") / 2
    circuits = 3 + c.values["n_random"]
    spoken = 3 * 4 * c.pairs(c.prompts("n_scenes"), 4)
    return searches + 3 * 2 * c.alone(c.values["n_evaluation"], circuits) + spoken


def _along(c: Chapter) -> float:
    found = c.stages()
    effects = c.values["n_pairs_own"] * (sum(found.values()) - found["structure_reader"])
    asked = c.values["n_scenes"] * scene(c.shape, c.text)
    carried = c.pairs(c.prompts("n_contents"), 3)
    trained = c.passes(TRAINED * FOR_EACH_STEP)
    return c.search() + trained + (CHECKPOINTS + 1) * effects + CHECKPOINTS * (asked + carried)


def _stability(c: Chapter) -> float:
    """It reads the record of a sweep."""
    return 0.0


def _own_circuits(c: Chapter) -> float:
    n, others = c.values["n_evaluation"], c.compared - 1
    searches = c.search() + (others + 1) * c.search("n_pairs_own") + c.search("n_pairs_more")
    fetchers = c.passes(n) + n * (6 + c.values["n_random"]) * c.again("query_label", 1.0)
    scored = c.compared * c.alone(n, 2) + c.alone(n, 4) + fetchers
    return searches + c.compared * c.knocked_out(n, 2 * HEADS) + scored


CHAPTERS: Mapping[str, Callable[[Chapter], float]] = {
    "01": _task,
    "02": _hooks,
    "03": _circuit,
    "04": _same_circuit,
    "05": _flow,
    "06": _contents,
    "07": _position,
    "08": _improved,
    "09": _as_published,
    "10": _messages,
    "11": _explorer,
    "12": _lineages,
    "13": _two_tasks,
    "14": _along,
    "15": _stability,
    "A2": _own_circuits,
}
"""Number of a chapter -> its operations."""


def operations(
    number: str, values: Mapping[str, float], *, shape: Shape, text: Text, compared: int = 5
) -> float:
    """Operations of chapter `number` ("01", ..., "A2") with its parameters `values`, comparing
    `compared` versions, with no stored result to go on."""
    return CHAPTERS[number](Chapter(shape, text, values, compared))
