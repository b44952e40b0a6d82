"""Every claim that a chapter judges, as data: words, the paper's number with its source, rule.

A chapter says what it measured, `claim("improved_values", gains)`, and `judge` shows the verdict.
No claim is declared anywhere else, and none stands here that no chapter judges.
"""

from difflib import get_close_matches
from functools import partial

from entrack.errors import ConfigError
from entrack.paper import circuit_claims, findings, mechanism_claims, published
from entrack.sites import GROUPS
from entrack.stats.claims import Claim, Here
from entrack.stats.declarations import Declaration
from entrack.stats.rules import AtLeast, Every, Graded, Nothing, Order, Sign

HIGHER, LOWER = Sign(+1), Sign(-1)


def claim(slug: str, here: Here, *, given: bool | None = None, **words) -> Claim:
    """A declared claim with what was measured for it.

    Args:
        slug: one of CLAIMS.
        here: the numbers, or None where nothing could be measured; see `stats.claims.Here`.
        given: whether what the claim presupposes is met; for claims that presuppose something.
        words: what its text, note or rule takes by name.

    Raises ConfigError for a slug that is not declared, and for words that the claim does not take
    or that are missing."""
    if slug not in CLAIMS:
        near = ", ".join(get_close_matches(slug, CLAIMS)) or "none is spelled like it"
        raise ConfigError(
            f"claim {slug!r} is not declared; those of entrack/paper/claims.py are (close: {near})."
            " Declare it there."
        )
    return CLAIMS[slug].measured(here, given=given, **words)


def _flow() -> list[Declaration]:
    """Chapter 05: finding (ii), which token reads which."""
    declare = partial(Declaration, finding="ii")
    fetch, pass_on, recall, direct = (
        ("last", "correct_object"),
        ("last", "query_label"),
        ("query_label", "prev_query_label"),
        ("last", "prev_query_label"),
    )
    change = {e: f"{findings.knockout_change(e):+.2f}" for e in (fetch, pass_on, recall, direct)}
    depths = [f"{findings.knockout_half_way(edge):.2f}" for edge in (recall, pass_on, fetch)]
    return [
        declare(slug, text, LOWER, change[edge])
        for slug, text, edge in (
            ("last_reads_object", "the last token must read the right object", fetch),
            ("last_reads_query_label", "the last token must read the query label", pass_on),
            (
                "query_label_reads_earlier_label",
                "the query label must read the earlier label",
                recall,
            ),
        )
    ] + [
        declare(
            "last_skips_earlier_label",
            "the last token does not read the earlier label",
            Nothing(),
            change[direct],
        ),
        declare(
            "order_of_readings",
            "these three happen in this order: earlier label, query label, right object",
            Order("half-way depths"),
            ", ".join(depths),
            given="each of the three costs accuracy",
            note="from depths {depths}",
        ),
        declare(
            "query_label_reads_after",
            "the query label must read the token after the earlier label",
            LOWER,
            ours=True,
        ),
        declare(
            "readings_in_better",
            "the readings that the reference needs, every better version needs too",
            lambda readings: Every(LOWER, readings),
            ours=True,
        ),
    ]


def _carried() -> list[Declaration]:
    """Chapter 06: finding (ii), what each group carries."""
    declare = partial(Declaration, finding="ii", source=published.dcm().where)
    own = Graded((HIGHER, HIGHER), ("score above its floor", "lead over its closer rival"))
    carry = (
        ("A_carries_object", "Value fetchers carry the object", "value_fetcher", "object"),
        (
            "B_carries_position",
            "Position transmitters carry the position",
            "position_transmitter",
            "position",
        ),
        (
            "C_carries_position",
            "Position detectors carry the position",
            "position_detector",
            "position",
        ),
    )
    return [
        *(declare(slug, text, own, findings.dcm_score(*key)) for slug, text, *key in carry),
        declare(
            "D_carries_nothing_seen",
            "Structure readers carry none of the three alone",
            Every(Nothing(), "object, position and label"),
            " and ".join(findings.dcm_score("structure_reader", t) for t in ("object", "position")),
        ),
        declare(
            "same_roles_when_tuned",
            "A, B and C carry the same in every fine-tuned version",
            lambda contents: Every(HIGHER, contents),
            f"yes, in {len(published.activation_patching().values['llama'])} models",
        ),
        declare(
            "better_fetching",
            "Better versions give the source's object more often with the same value fetchers"
            " patched",
            HIGHER,
            f"{findings.fetching_gain('goat'):+.2f} (Goat)",
        ),
        Declaration(
            "label_not_carried",
            "No group carries the label",
            lambda groups: Every(Nothing(0.1), groups),
            ours=True,
            finding="ii",
        ),
    ]


def _position() -> list[Declaration]:
    """Chapter 07: finding (ii), what position means."""
    declare = partial(Declaration, finding="ii", source=published.variations().where)
    ours = partial(Declaration, finding="ii", ours=True)
    control = "incorrect_segment"
    reworded = [n for n in published.variations().values if n not in ("position", control)]
    rivals = {
        "token_from_start": "tokens from the start",
        "token_from_end": "tokens from the end",
        "label": "the label",
    }
    return [
        declare(
            "position_survives_rewording",
            "Transmitters carry the position however the source is worded: wordings that keep half",
            AtLeast(6, partly=3),
            f"{findings.kept_wordings(reworded)} of {len(reworded)} keep half of the plain score",
            spec=".0f",
            note=f"of {len(reworded)}: by value, by the whole interval and by its upper end",
        ),
        declare(
            "next_position_is_not_carried",
            "Transmitters do not point one position too far",
            Nothing(),
            f"{findings.wordings_above_floor([control])[control]:+.2f}",
        ),
        ours(
            "same_wordings_hurt",
            "The same wordings hurt here as in Llama: rank correlation of comparable wordings",
            HIGHER,
        ),
        *(
            ours(
                f"order_over_{rival}_{letter}",
                f"What {group} carry is the order of the boxes rather than {what}",
                HIGHER,
            )
            for rival, what in rivals.items()
            for letter, group in (("B", "position transmitters"), ("C", "position detectors"))
        ),
        ours(
            "position_in_other_format",
            "The same transmitters carry the position in the {format} format",
            HIGHER,
        ),
    ]


def _improved() -> list[Declaration]:
    """Chapter 08: finding (iii), what improved."""
    declare = partial(Declaration, finding="iii", source=published.cmap().where)
    ours = partial(Declaration, finding="iii", ours=True)
    a, b, c, d = (findings.in_words(findings.cmap_gains(group)) for group in GROUPS)
    return [
        declare("improved_values", "The donor's value fetchers (A) make base better", HIGHER, a),
        declare(
            "improved_positions",
            "The donor's position transmitters (B) make base better",
            HIGHER,
            b,
        ),
        declare("improved_not_cd", "C and D alone bring no gain", Nothing(), f"C {c}; D {d}"),
        declare(
            "improved_full",
            "The full circuit closes the gap to the donor",
            AtLeast(0.8, partly=0.5),
            findings.in_words(findings.gap_closed(), ".0%"),
            spec=".0%",
            note="of {n} prompts",
        ),
        ours(
            "improved_specific",
            "A's gain is not what any heads at the last token bring: with A less with random heads",
            HIGHER,
        ),
        *(
            ours(
                f"improved_over_others_{letter}",
                f"{letter} brings more than all heads outside the circuit at its token together",
                HIGHER,
            )
            for letter in "ABC"
        ),
        ours(
            "improved_share",
            "The circuit's heads at the last token (A and B) bring most of what all heads there do",
            Graded((AtLeast(0.5), HIGHER), ("share of that gain", "A and B less all the others")),
        ),
        ours(
            "improved_reverse",
            "base's A takes the gain away from the fine-tuned version",
            Graded((LOWER, AtLeast(0.5)), ("change of accuracy", "share of the gain that goes")),
        ),
        ours(
            "improved_weights",
            "The update in the circuit's heads brings more than in random heads",
            HIGHER,
        ),
        ours(
            "improved_raw",
            "The value fetchers of the version below base can fetch, once told where to look",
            Graded((HIGHER, HIGHER), ("accuracy less guessing an object", "gain from base's q")),
        ),
    ]


def _messages() -> list[Declaration]:
    """Chapter 10: finding (iii), better messages or better reading."""
    ours = partial(Declaration, finding="iii", ours=True)
    return [
        ours(
            f"{slug}_{group.letter}",
            f"{text.format(group=group.title.lower())} ({group.letter})",
            HIGHER,
        )
        for slug, text in (
            ("message", "base follows a better version's {group}s more often than its own"),
            ("reading", "better versions follow base's {group}s more often than base does"),
        )
        for name, group in GROUPS.items()
        if name != "structure_reader"
    ]


def _slips() -> list[Declaration]:
    """Chapter 09: what we say of the slips of the released code."""
    effects = findings.slip_effects()
    return [
        Declaration(slug, text, rule, ours=True, note=effects.get(slug, ""))
        for slug, text, rule in (
            ("slip_label", "scored without its space, the label desideratum is void", LOWER),
            ("slip_position", "drawn as released, position has a floor of about a seventh", HIGHER),
            ("slip_padded", "read behind its end, an altered source scores lower", LOWER),
            ("slip_threshold", "pruning at 0 % keeps more heads than at 1 %", HIGHER),
            ("slip_dcm_batch", "validated elsewhere, patching D changes fewer answers", HIGHER),
            ("slip_o_proj", "without its o_proj update a version does the task worse", LOWER),
        )
    ]


CLAIMS: dict[str, Declaration] = {
    declaration.slug: declaration
    for part in (
        circuit_claims.declared,
        _flow,
        _carried,
        _position,
        _improved,
        _slips,
        _messages,
        mechanism_claims.declared,
    )
    for declaration in part()
}
"""Every claim by its slug, in the order of the book."""
