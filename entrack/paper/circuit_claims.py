"""Claims about the task, about what tokens carry, and about circuits (the paper's finding (i)):
chapters 01 to 04, as data.
"""

from functools import partial

from entrack.paper import findings, published
from entrack.stats.declarations import Declaration
from entrack.stats.rules import WORKS, Apart, AtLeast, AtMost, Beyond, Graded, Nothing, Order, Sign

HIGHER = Sign(+1)


def declared() -> list[Declaration]:
    """All of them, in the order of the book."""
    return [*_task(), *_patching(), *_circuit(), *_same_circuit(), *_fifth_group()]


def _task() -> list[Declaration]:
    """Chapter 01: the task itself."""
    declare = partial(Declaration, source="Table 1")
    llama, *_ = (entry["title"] for entry in published.models().values.values())
    first, last = findings.ends_over_middle()
    return [
        declare(
            "base_above_chance",
            "The base does the task better than chance",
            HIGHER,
            f"{llama} {published.table1().values['llama'].full:.2f}"
            f" (chance {findings.chance():.2f})",
            note="minus chance",
        ),
        declare(
            "arithmetic_helps",
            "Fine-tuning on arithmetic helps",
            HIGHER,
            findings.gains("goat", "float"),
        ),
        declare(
            "instructions_do_not_matter",
            "Fine-tuning on instructions makes no difference",
            Nothing(),
            findings.gains("vicuna"),
        ),
        declare(
            "something_else_helps",
            "Fine-tuning on something else than the task can help",
            HIGHER,
            findings.gains("vicuna", "goat", "float"),
        ),
        Declaration(
            "u_shape",
            "The first and the last box are easier than those between",
            Graded((HIGHER, HIGHER), ("the first box minus those between", "the last")),
            f"{llama} (earlier set) {first:+.2f} and {last:+.2f}",
        ),
    ]


def _patching() -> list[Declaration]:
    """Chapter 02: what is carried where."""
    llama = published.activation_patching().values["llama"]["llama"]
    b, c = (llama[g]["position"].mean for g in ("position_transmitter", "position_detector"))
    return [
        Declaration(
            "position_at_last",
            "The last token carries the position",
            HIGHER,
            f"B heads: {b:.0f} % of prompts",
        ),
        Declaration(
            "position_at_query_label",
            "The query label carries the position",
            HIGHER,
            f"C heads: {c:.0f} % of prompts",
        ),
        Declaration(
            "position_before_object",
            "The last token has the position before the object",
            HIGHER,
            "no number: position transmitters feed value fetchers",
            note="position minus object, layer {layer}",
        ),
        Declaration("label_at_query_label", "The query label carries the label", HIGHER, ours=True),
    ]


def _circuit() -> list[Declaration]:
    """Chapter 03: finding (i), one circuit."""
    declare = partial(Declaration, finding="i")
    return [
        declare(
            "circuit_exists",
            "A circuit of few heads does the task alone",
            Graded(
                (HIGHER, AtLeast(0.8)), ("accuracy minus that of random circuits", "faithfulness")
            ),
            "faithfulness 1.00 with 72 of 1,024 heads",
            "Table 1",
            note="with {size} of {n_heads} heads",
        ),
        declare(
            "circuit_sparse",
            "Few heads carry each stage",
            AtMost(0.1),
            "20, 5 and 10 receivers chosen, of 1,024 heads",
            "released code",
            spec=".2f",
            note="{half} of {n_heads} heads make half the helpful effect of the four stages",
        ),
        declare(
            "circuit_order",
            "Position detectors, position transmitters and value fetchers follow each other in"
            " depth",
            Order("median layers of C, B and A"),
            "layers 9, 13 and 19",
            "released circuit",
            spec="+.1f",
            note="layers from C to B and from B to A",
        ),
        declare(
            "structure_place",
            "The segment is read at the earlier label",
            HIGHER,
            "structure readers act there",
            "section 4.1",
            note="accuracy with heads live at the label minus one token later",
        ),
    ]


def _same_circuit() -> list[Declaration]:
    """Chapter 04: finding (i), the circuit in other versions."""
    declare = partial(Declaration, finding="i")
    return [
        declare(
            "same_circuit",
            "the circuit of the reference does the task in fine-tuned versions",
            Graded((HIGHER, AtLeast(0.8)), ("more accurate than random circuits", "faithfulness")),
            "faithfulness 0.97, 0.89, 0.88",
            "Table 1",
            spec=".2f",
        ),
        declare(
            "circuit_over_base",
            "the circuit of the reference, alone in fine-tuned versions, does better than the whole"
            " reference",
            HIGHER,
            findings.circuit_over_base(),
            "abstract, Table 1",
        ),
        declare(
            "overlap",
            "fine-tuned versions' own circuits share heads with it, beyond chance",
            lambda tests: Beyond(tests=tests),
            "54 of 72 heads in Goat and in FLoat",
            "released circuits",
            spec="+.1f",
            given=f"each own circuit has a faithfulness of {WORKS:g} or more",
            each="group",
        ),
        declare(
            "same_heads",
            "head by head, effects in fine-tuned versions are those in the reference",
            Graded(
                (HIGHER, AtLeast(0.8)),
                (
                    "correlation beyond that of heads shuffled in their layers",
                    "share of the ceiling",
                ),
            ),
            ours=True,
            each="group and version",
        ),
        declare(
            "incomplete",
            "the circuit is not perfectly complete",
            lambda tests: Apart(tests=tests),
            "gaps up to 0.21 in Llama",
            "completeness.ipynb",
            note="without {group}",
        ),
        declare(
            "stand_ins",
            "without the value fetchers of all circuits, fine-tuned versions are right more often"
            " than the reference",
            HIGHER,
            ours=True,
        ),
    ]


def _fifth_group() -> list[Declaration]:
    """Chapter 04: finding (i), heads at tokens where none of the four groups acts."""
    ours = partial(Declaration, finding="i", ours=True)
    return [
        ours(
            "readers_at_further_tokens",
            "A circuit is more accurate with its structure readers alive at the further tokens too",
            HIGHER,
        ),
        ours(
            "fifth_group",
            "A fifth group of heads, at the further tokens, makes a circuit more accurate",
            Graded(
                (HIGHER, HIGHER),
                ("more than the four groups", "more than random heads of the same layers"),
            ),
        ),
        ours(
            "wide_circuit",
            "With the fifth group a circuit does the task as well as the whole version",
            AtLeast(0.9, partly=0.8),
            spec=".2f",
            note="accuracy alone over that of the whole version, of {n} prompts",
        ),
    ]
