"""Tables of what head groups carry: the pairs, learned masks, scores above their floor.

Intervals are 95 %, over scenes. "-" is "there is none"."""

from collections.abc import Mapping

from entrack.circuit.contents import CONTENT, TARGETS, Contents
from entrack.display.tables import Table
from entrack.paper import findings
from entrack.sites import GROUPS
from entrack.stats.metrics import Difference
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
        rows.append(
            [
                f"{GROUPS[group].letter} {target}",
                f"{contents.n_selected(group, target)} of {len(learned.heads)}",
                learned.stability() if len(learned.paths) > 1 else "-",
                answers.score(f"{group} {target}", target),
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
            "floor",
            "ceiling",
            "paper's Llama (heads)",
        ],
        f"DCM on {len(answers.unpatched)} test pairs; 95 % intervals over scenes. With no head"
        " selected the score is the floor. Overlap: heads that two seeds share, of those that"
        " either selects. Ceiling: the residual stream of the same token at its best layer (-: not"
        f" measured for D). The paper's position floor is {findings.position_floor():.2f}.",
    )


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
