"""Tables of what head groups carry: the pairs, learned masks, scores above their floor.

Intervals are 95 %, over scenes. "-" is "there is none"."""

from collections.abc import Mapping

from entrack.circuit.contents import CONTENT, TARGETS, Contents
from entrack.display.tables import Table
from entrack.heads import carried
from entrack.heads.own_masks import ALL, GIVEN, OwnMasks
from entrack.paper import findings
from entrack.patching.masks import Masks
from entrack.sites import GROUPS
from entrack.stats.metrics import Difference, difference
from entrack.task.desiderata import DESIDERATA, Counterfactual


def pair(pair: Counterfactual) -> Table:
    """One pair, and what each desideratum expects of the patched base."""
    answers = {"label": pair.answer, **pair.alternatives}
    return Table(
        [
            ["base", pair.base.text, pair.base.answer],
            ["source", pair.source.text, pair.source.answer],
            *[[f"if patched: {name}", DESIDERATA[name].rule, answers[name]] for name in TARGETS],
        ],
        ["prompt or desideratum", "text or rule", "answer"],
        "One pair, and what each desideratum expects of the patched base.",
    )


def masks(contents: Contents) -> Table:
    """What DCM selected, and what it does on the test pairs."""
    rows, answers = [], contents.tested[contents.base]
    for (group, target), learned in contents.masks.items():
        selected, whole = (answers.hits(f"{group} {w}", target) for w in (target, "all"))
        taken = taken_words(learned)
        rows.append(
            [
                f"{GROUPS[group].letter} {target}",
                taken,
                _overlap(learned),
                answers.score(f"{group} {target}", target),
                "the same"
                if taken.startswith("all")
                else difference(selected, whole, clusters=answers.scenes),
                answers.floor(target).value,
                contents.ceiling(group, target) or "-",
                findings.dcm_words(group, target),
            ]
        )
    return Table(
        rows,
        [
            "group and desideratum",
            "heads selected",
            "overlap of seeds",
            "test score",
            "less all heads",
            "floor",
            "ceiling",
            "paper's Llama (heads)",
        ],
        f"DCM on {len(answers.unpatched)} test pairs; 95 % intervals over scenes. With no head"
        " selected the score is the floor; less all heads: paired. Overlap: heads that two seeds"
        " share, of those that either selects; - where each seed takes all heads or none, or there"
        " is one seed. Ceiling: the residual stream of the same token at its best layer (-: not"
        f" measured for D). The paper's position floor is {findings.position_floor():.2f}.",
    )


def taken_words(masks: Masks) -> str:
    """How many heads most seeds select: "all 7", "none of 7", "5 of 7"."""
    taken, n = len(masks.agreed()), len(masks.heads)
    return f"all {n}" if taken == n else f"{taken or 'none'} of {n}"


def _overlap(masks: Masks) -> float | str:
    """The overlap of seeds; "-" where it says nothing of which heads matter."""
    sizes = {len(masks.selected(seed)) for seed in range(len(masks.paths))}
    return "-" if len(masks.paths) < 2 or sizes <= {0, len(masks.heads)} else masks.stability()


def changes(contents: Contents) -> Table:
    """Version, its accuracy, and for every group how much more it carries than in base."""
    return Table(
        [
            [
                version,
                carried.accuracy(contents, version),
                *[
                    "-" if version == contents.base else carried.change(contents, version, group)
                    for group in contents.groups
                ],
            ]
            for version in contents.tested
        ],
        ["version", "accuracy", *(f"{_content(g)}, less {contents.base}" for g in contents.groups)],
        "Score above floor with all heads of a group patched, less the same in"
        f" {contents.base}; paired on the same pairs, 95 % intervals over scenes. Accuracy: on"
        " their base prompts.",
    )


def with_accuracy(contents: Contents) -> Table:
    """For every group, how many versions carry more or less than base, and whether it goes with
    their accuracy.
    """
    rows = []
    for group in contents.groups:
        found = carried.with_accuracy(contents, group)
        changed = [carried.change(contents, version, group) for version in contents.tuned]
        chance = "-" if found is None else f"{found.p_value:.2g}"
        rows.append([_content(group), carried.counted(changed), found or "-", chance])
    return Table(
        rows,
        ["group and content", "versions, less base", "rank correlation with accuracy", "p"],
        f"Whether what a group carries goes with accuracy, over {len(contents.tested)} versions,"
        f" {contents.base} among them. p: chance of such a correlation or a larger one if all"
        " orders are equally likely, for one group.",
    )


def own_masks(found: Mapping[str, OwnMasks]) -> Table:
    """Version and group: heads that the version's own mask takes, its score above floor, and that
    less the score of base's heads and of all.
    """
    return Table(
        [
            [
                version,
                _content(group),
                taken_words(own.masks[group]),
                own.above(group),
                own.beyond(group, GIVEN),
                own.beyond(group, ALL),
            ]
            for version, own in found.items()
            for group in own.groups
        ],
        [
            "version",
            "group and content",
            "heads selected",
            "score above floor",
            "less base's heads",
            "less all heads",
        ],
        "Masks that each version learned for itself, on test pairs; differences are paired, 95 %"
        " intervals over scenes. 0 without width: the same heads.",
    )


def _content(group: str) -> str:
    return f"{GROUPS[group].letter} {carried.content(group)}"


def versions(contents: Contents) -> Table:
    """Version, and its scores above floor of what the paper says each group carries; of D its
    position.
    """
    columns = {group: CONTENT.get(group, "position") for group in contents.groups}
    drawn = {version: contents.drawn(version) for version in contents.tested}
    return Table(
        [
            [version, *[scores[key] or "no head selected" for key in columns.items()]]
            for version, scores in drawn.items()
        ],
        ["version", *(f"{GROUPS[g].letter} {target}" for g, target in columns.items())],
        "Score above floor of what the paper says each group carries (D: its position score),"
        " paired on the same prompts, with 95 % intervals over scenes.",
    )


def fetching(gains: Mapping[str, Difference], *, base: str) -> Table:
    """Version -> how much more often than in `base` the source's object is named."""
    return Table(
        [[version, gain] for version, gain in gains.items()],
        ["version", f"source's object named, less {base}"],
        "How much more often the source's object is named with the same value fetchers patched;"
        " paired, 95 % intervals over scenes.",
    )


def answers(contents: Contents) -> Table:
    """Nothing patched, then all heads of every group: share of unchanged answers, share of none of
    the four words, label's score above floor.
    """
    found = contents.tested[contents.base]
    plain = found.shares(None)
    rows = [["nothing patched", plain["unchanged"], plain["other"], "-"]]
    for group in contents.groups:
        shares = found.shares(f"{group} all")
        label = found.above_floor(f"{group} all", "label")
        rows.append([GROUPS[group].title, shares["unchanged"], shares["other"], label])
    return Table(
        rows,
        ["patched", "unchanged", "none of the four", "label above floor"],
        "With all heads of a group patched: the share of answers that stay right, the share that is"
        " none of the four words, and how much more often than unpatched the label's object is"
        " named.",
    )
