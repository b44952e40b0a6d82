"""Tables of the search for a circuit: tokens with live heads, heads by stage, groups, their depth.

"-" is "there is none"."""

from collections.abc import Mapping, Sequence

import numpy as np

from entrack.circuit.completeness import Completeness
from entrack.circuit.live_positions import LivePositions
from entrack.circuit.search import FoundCircuit, HeadAttention
from entrack.circuits import Circuit
from entrack.display.style import ROLE_WORDS
from entrack.display.tables import Table
from entrack.figures.circuit import target
from entrack.heads import fifth_group as rung
from entrack.heads.bounds import ALL_CIRCUITS, WithoutFetchers
from entrack.heads.segment_looks import KINDS, SegmentLooks
from entrack.heads.token_support import TokenSupport
from entrack.heads.wide_circuit import WideScores
from entrack.heads.writes import Writes
from entrack.patching.head_scores import HeadScores
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import rate


def live_tokens(live: LivePositions) -> Table:
    """Set of live tokens, accuracy, mean log probability of the answer in nats."""
    n = len(next(iter(live.hits.values())))
    return Table(
        [[name, live.accuracy(name), live.mean_log_prob(name)] for name in live.hits],
        ["tokens with live heads", "accuracy", "mean log probability of the answer, nats"],
        f"All heads live at these tokens and at their mean elsewhere; {n} prompts.",
    )


def strongest(scores: HeadScores) -> Table:
    """Head, its effect on the pair where it is most negative, on average, and where it is most
    positive, and on how many pairs it is negative; the five strongest heads.
    """
    rows = []
    for head in scores.ranked()[:5]:
        effects = scores.values[head.layer, head.head]
        mean = scores.estimate(head).value
        losses = int((effects < 0).sum())
        rows.append([str(head), float(effects.min()), mean, float(effects.max()), losses])
    return Table(
        rows,
        ["head", "most negative pair", "mean", "most positive pair", "pairs with a loss"],
        f"Direct effect of the five strongest heads, over {scores.values.shape[-1]} pairs.",
    )


def stages(found: FoundCircuit) -> Table:
    """Group and head, the token where it acts, its mean effect, and the path that was measured; the
    four strongest heads of each stage.
    """
    scores = found.discovery.scores
    return Table(
        [
            [
                f"{group.letter} {head}",
                ROLE_WORDS[found.circuit.role(name)],
                f"{scores[name].estimate(head):+.2f}",
                target(found.discovery, name),
            ]
            for name, group in GROUPS.items()
            for head in scores[name].ranked()[:4]
        ],
        ["group and head", "acts at", "mean effect", "measured through"],
        "The four strongest heads of each stage; the interval is over"
        f" {scores['value_fetcher'].values.shape[-1]} pairs.",
    )


def groups(found: FoundCircuit) -> Table:
    """Group, the token where it acts, number of candidates, number of heads kept, the kept heads,
    and those of the four strongest that pruning dropped.
    """
    return Table(
        [
            [
                f"{group.letter} {group.title}",
                ROLE_WORDS[found.circuit.role(name)],
                len(found.curve.circuit.groups[name]),
                len(found.circuit.groups[name]),
                _some(found.kept(name)),
                _some(found.dropped(name)),
            ]
            for name, group in GROUPS.items()
        ],
        [
            "group",
            "acts at",
            "candidates",
            "kept",
            "kept, strongest first",
            "dropped of the top four",
        ],
        "The circuit by group: how many heads before pruning and after, and which.",
    )


def heads_by_name(circuits: Mapping[str, Circuit]) -> str:
    """Every head of each circuit, in words that `sweep.heads` reads back: "base: A 23.2 29.1, B
    20.1, C -, D 16.5; code: ...", by layer; a head of two groups stands in both.
    """
    return "; ".join(
        f"{name}: "
        + ", ".join(
            f"{group.letter} {' '.join(map(str, sorted(circuit.groups[role]))) or '-'}"
            for role, group in GROUPS.items()
        )
        for name, circuit in circuits.items()
    )


def attention(looks: Sequence[HeadAttention], *, n_prompts: int) -> Table:
    """Group and head, the token from which it looks, the one that its group should read, and the
    share of attention that it gives to that one, over `n_prompts`.
    """
    return Table(
        [
            [look.name, ROLE_WORDS[look.role], ROLE_WORDS[look.wanted], look.to(look.wanted)]
            for look in looks
        ],
        ["group and head", "looks from", "should look at", "share of attention there"],
        f"The two strongest kept heads of each group, mean over {n_prompts} prompts.",
    )


def support(found: Mapping[str, TokenSupport]) -> Table:
    """A row per version: the kinds of tokens in the order in which they were added, accuracy with
    all of them, the whole version's, and the difference.
    """
    return Table(
        [
            [
                version,
                ", ".join(("last token", *s.order)),
                *(s.accuracy(i) for i in (0, len(s.order), -1)),
                s.short(len(s.order)),
            ]
            for version, s in found.items()
        ],
        ["version", "tokens", "last token alone", "all of these", "whole version", "short by"],
        "At which tokens heads must be alive: kinds of tokens in the order in which they were"
        " added, and accuracy with all heads alive there and none elsewhere.",
    )


def fifth_group_rungs(found: Mapping[str, WideScores], whole: Mapping[str, np.ndarray]) -> Table:
    """A row per set of live heads of `fifth_group.rungs`, and the whole version: its accuracy in
    each version, a column each.

    whole: whether each version answers right as it is, on the same prompts [example].
    """
    names = dict.fromkeys(name for scores in found.values() for name in scores.hits)
    rows = [[name, *(scores.accuracy(name) for scores in found.values())] for name in names]
    rows.append(["whole version", *(rate(whole[version]) for version in found)])
    return Table(
        rows,
        ["heads alive", *(f"in {version}" for version in found)],
        "Accuracy with a fifth group of heads at further tokens, and with others in its place",
    )


def fifth_group_gains(found: Mapping[str, WideScores], whole: Mapping[str, np.ndarray]) -> Table:
    """A row per version, all on the same prompts: what D at the further tokens adds to the four
    groups, what E adds to them, and E beside random heads and beside all heads; then the share of
    the whole version's accuracy that the four groups have, and with E.
    """
    pairs = (
        (rung.READERS, rung.FOUR),
        (rung.WITH_E, rung.FOUR),
        (rung.WITH_E, rung.RANDOM),
        (rung.WITH_E, rung.ALL_E),
    )
    rows = []
    for version, scores in found.items():
        gains, right = (scores.gain(*pair) for pair in pairs), whole[version]
        shares = (scores.share(name, right) for name in (rung.FOUR, rung.WITH_E))
        rows.append([version, *gains, *(shares if right.any() else ["undefined"] * 2)])
    return Table(
        rows,
        [
            "version",
            "D there too, more",
            "E, more",
            "E less random heads",
            "E less all heads",
            "four groups, share of whole",
            "with E, share of whole",
        ],
        "What heads at further tokens add to the four groups: differences in accuracy, and shares"
        " of the whole version's",
    )


def attention_in_segments(looks: SegmentLooks, groups: Mapping[str, Sequence[Head]]) -> Table:
    """A row per group or head: its mean attention, from one token of a segment that is not asked
    for, to each kind of token. A group without heads has no row.
    """
    return Table(
        [[name, *looks.of(heads).values()] for name, heads in groups.items() if heads],
        ["heads", *KINDS],
        f"Attention in segments that are not asked for; {looks.mass.shape[-1]} prompts.",
    )


def own_completeness(found: Mapping[str, Completeness]) -> Table:
    """A row per version whose own circuit was searched: accuracy of its circuit without a group
    less that of the version without it, and the mean size of this gap over the random K.
    """
    rows = []
    for version, complete in found.items():
        gaps = (complete.gap(i) for i in complete.of("group"))
        rows.append([version, *gaps, complete.mean_gap("random")])
    return Table(
        rows,
        ["version", *(f"without {g.letter}" for g in GROUPS.values()), "random halves, mean size"],
        "The gap of each version's own circuit: circuit less version, both without K",
    )


def without_fetchers(found: Mapping[str, WithoutFetchers], *, base: str) -> Table:
    """A row per version: its accuracy less the value fetchers of the circuit of `base`, of its own,
    of all circuits together, and less random heads of their layers; "-" where none was searched.
    """
    rows = []
    for version, one in found.items():
        own = one.accuracy(version) if version in one.hits else "-"
        rows.append(
            [
                version,
                *(one.accuracy(name) for name in ("nothing", base)),
                own,
                one.accuracy(ALL_CIRCUITS),
                one.random_accuracy(),
            ]
        )
    n = max((one.n_heads[ALL_CIRCUITS] for one in found.values()), default=0)
    return Table(
        rows,
        ["version", "whole", f"without A of {base}", "of its own", f"of all, {n} heads", "random"],
        "Accuracy of each version without value fetchers",
    )


def writes(found: Sequence[Writes]) -> Table:
    """A row per head: what it adds to the logit of the right object and of the others."""
    return Table(
        [[str(one.head), one.of_right, one.of_others, one.lead] for one in found],
        ["head", "right object", "other objects", "right minus others"],
        "What each value fetcher adds to the logits of the scene's objects, directly",
    )


def medians(circuits: Mapping[str, tuple[Circuit, int]]) -> Table:
    """Model, its number of layers, and the median layer of the heads of D, C, B and A; "-" for a
    group without heads.
    """
    return Table(
        [
            [title, n_layers, *(_median(circuit, name) for name in reversed(GROUPS))]
            for title, (circuit, n_layers) in circuits.items()
        ],
        ["circuit", "layers", "D", "C", "B", "A"],
        "Median layer of the heads of each group, counted from 0.",
    )


def _median(circuit: Circuit, group: str) -> str:
    return f"{circuit.median_layer(group):g}" if circuit.groups[group] else "-"


def _some(heads: Sequence) -> str:
    """The first twelve heads in words; "-" for none."""
    told = " ".join(map(str, heads[:12])) or "-"
    return f"{told} …" if len(heads) > 12 else told
