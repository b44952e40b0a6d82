"""Claims as data: what chapters recorded is what is declared, and a chapter judges each of them."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from entrack.book.pages import claims
from entrack.errors import ConfigError
from entrack.paper.claims import CLAIMS, claim
from entrack.stats.metrics import Estimate
from entrack.stats.rules import NOT_RUN, Apart, Beyond

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9]*.py"))
RECORDS = {
    judged.record["slug"]: judged.record
    for judged in claims(
        {path.stem: nbformat.read(path, 4) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    )
}
WORDS = {
    "position_before_object": {"layer": 21},
    "circuit_exists": {"size": 33, "n_heads": 270},
    "circuit_sparse": {"half": 17, "n_heads": 270},
    "overlap": {"tests": 16},
    "incomplete": {"tests": 4, "group": "D"},
    "wide_circuit": {"n": 280},
    "order_of_readings": {"depths": "0.19, 0.64, 0.77"},
    "readings_in_better": {
        "readings": "query label reads earlier label, query label reads token after earlier label,"
        " last token reads query label and last token reads right object"
    },
    "same_roles_when_tuned": {"contents": "A's object, B's position and C's position"},
    "label_not_carried": {"groups": "A, B, C and D"},
    "position_in_other_format": {"format": "standard"},
    "improved_full": {"n": 140},
    **{f"carries_with_accuracy_{letter}": {"n": 5, "tests": 3} for letter in "ABC"},
    "lineage_circuit": {"n": 504},
    "task_circuit": {"n": 252},
    "task_circuit_back": {"n": 252},
    "stable_lineages": {"n": 250},
    "stable_prompts": {"n": 74},
    "stable_heads": {"tests": 4},
}
"""What the committed chapters fill in."""

NOT_GIVEN = {"task_circuit", "task_circuit_back"} | {f"task_before_{x}" for x in "ABC"}
"""Claims whose condition the committed chapters found not met."""


def again(record):
    """The declared claim with what a chapter recorded."""
    declared = CLAIMS[record["slug"]]
    in_order = sorted(  # a notebook sorts the keys of its outputs
        record["estimates"].items(), key=lambda item: record["measured"].find(f"({item[0]})")
    )
    here = {name: tuple(Estimate(*numbers) for numbers in listed) for name, listed in in_order}
    here = {name: each[0] if len(each) == 1 else each for name, each in here.items()}
    here = here.get("", here) or None
    given = {"given": record["slug"] not in NOT_GIVEN} if declared.given else {}
    return claim(record["slug"], here, **given, **WORDS.get(record["slug"], {}))


@pytest.mark.parametrize("slug", RECORDS)
def test_a_chapter_recorded_what_is_declared(slug):
    """Verdicts too, save of the two rules that need a p-value, which no record holds."""
    record, found = RECORDS[slug], again(RECORDS[slug])
    if record["verdict"] == NOT_RUN or isinstance(found.rule, Apart | Beyond):
        same = ("slug", "text", "finding", "ours", "paper", "source")
        assert {k: getattr(found, k) for k in same} == {k: record[k] for k in same}
        assert found.rule_words == record["rule"]
    else:
        assert found.record() == record


def slugs(source: str) -> list[str]:
    """The slugs that a chapter judges, as patterns: the first arguments of its calls of `claim`.
    Where one is no text, every text of the chapter that is a slug, or a pattern of some, counts.
    """
    nodes = list(ast.walk(ast.parse(source)))
    calls = [n.args[0] for n in nodes if getattr(getattr(n, "func", None), "id", "") == "claim"]
    texts = [n for n in nodes if isinstance(n, ast.JoinedStr) or is_text(n)]
    found = [pattern(argument) for argument in calls if argument in texts]
    if len(found) < len(calls):
        patterns = {pattern(text) for text in texts}
        found += [p for p in patterns if fixed(p) and judges([p], CLAIMS)]
    return found


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def pattern(argument: ast.expr) -> str:
    parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    return "".join(re.escape(p.value) if is_text(p) else r"\w+" for p in parts)


def fixed(pattern: str) -> bool:
    """Whether a pattern has letters of its own: one of blanks alone would match every slug."""
    return bool(re.search("[A-Za-z]", pattern.replace(r"\w+", "")))


def judges(patterns, slugs) -> list[str]:
    return [slug for slug in slugs if any(re.fullmatch(p, slug) for p in patterns)]


def test_every_claim_is_judged_by_a_chapter_and_declared():
    judged = [pattern for path in CHAPTERS for pattern in slugs(path.read_text())]
    assert judges(judged, CLAIMS) == list(CLAIMS)
    assert [p for p in judged if not judges([p], CLAIMS)] == []


def test_a_claim_that_no_chapter_judges_would_be_seen():
    source = """judge(claim("improved_values", 1), *(claim(s, x) for s in all_of_them))
all_of_them = [f"slip_{kind}", f"{letter}_carries_{what}", f"{anything}", "no_claim"]
"""
    judged = judges(slugs(source), CLAIMS)
    assert "improved_values" in judged and "slip_label" in judged and "A_carries_object" in judged
    assert "improved_full" not in judged, "a slug that is computed does not stand for all"


def test_no_chapter_declares_a_claim_of_its_own():
    for path in CHAPTERS:
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert "Claim" not in names, path.name


def test_an_unknown_slug_is_refused():
    with pytest.raises(ConfigError) as error:
        claim("slip_o_pro", None)
    assert str(error.value) == (
        "claim 'slip_o_pro' is not declared; those of entrack/paper/claims.py are (close:"
        " slip_o_proj, slip_position). Declare it there."
    )
    with pytest.raises(ConfigError, match="none is spelled like it"):
        claim("xyz", None)
