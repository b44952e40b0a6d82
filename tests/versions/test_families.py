"""What a family's file says, and which of its versions can be loaded."""

import json

import pytest

from entrack.errors import ModelError
from entrack.sites import STRUCTURE_ROLES
from entrack.versions.families import (
    DEFAULT,
    families,
    family_file,
    focus,
    lineage,
    looks,
    reference,
    structure_role,
    versions,
)

pytestmark = pytest.mark.usefixtures("cache")


def test_unknown_family_and_its_nearest():
    with pytest.raises(
        ModelError,
        match=(rf"no family 'smolm2'; there are {', '.join(families())}. Did you mean 'smollm2'\?"),
    ):
        versions("smolm2")


def test_unknown_family_that_is_like_none():
    with pytest.raises(
        ModelError,
        match=f"no family 'xyz'; there are {', '.join(families())}. Use one of those.",
    ):
        versions("xyz")


def test_the_default_family_comes_first():
    assert families()[0] == DEFAULT == "smollm2-unprimed" and "llama-7b" in families()


def test_lineage_starts_with_what_all_stands_on():
    assert lineage("smollm2", "code") == ("raw", "base", "code") and lineage("smollm2", "raw") == (
        "raw",
    )


def test_only_versions_that_can_be_loaded_are_listed(family):
    assert versions("tiny") == ("raw", "base")


def test_a_version_is_listed_once_its_card_is_there(family):
    (family / "tiny" / "base" / "card.json").unlink()
    assert versions("tiny") == ("raw",)


def describe(family, **changes):
    """Write `changes` into the file of the family `tiny`; None takes a key out."""
    path = family / "tiny.json"
    described = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in described.items() if v is not None}))


def test_the_file_says_what_the_chapters_compare(family):
    describe(family, reference="raw", focus="code", structure_role="query_label")
    assert (reference("tiny"), focus("tiny"), structure_role("tiny")) == (
        "raw",
        "code",
        "query_label",
    )
    described = json.loads((family / "tiny.json").read_text())["versions"]
    described["code"] |= {"colour": "#111111", "marker": "x"}
    described["raw"] |= {"colour": "#222222"}
    describe(family, versions=described)
    assert looks("tiny") == {"code": ("#111111", "x")}, "a colour alone is no look"


@pytest.mark.parametrize("ask, key", [(reference, "reference"), (focus, "focus")])
def test_a_version_that_the_file_names_and_does_not_have(family, ask, key):
    describe(family, **{key: "chat"})
    with pytest.raises(
        ModelError,
        match=f"{key} 'chat' in tiny.json is none of its versions; there are raw, base, code.",
    ):
        ask("tiny")


@pytest.mark.parametrize(
    "ask, key",
    [(reference, "reference"), (focus, "focus"), (structure_role, "structure_role")],
)
def test_a_file_that_does_not_say_it(family, ask, key):
    describe(family, **{key: None})
    with pytest.raises(
        ModelError, match=f"tiny.json has no '{key}'; .* Add it as in {DEFAULT}.json"
    ):
        ask("tiny")


@pytest.mark.parametrize("family", families())
def test_every_family_of_the_book_says_it_all(family):
    described = family_file(family)["versions"]
    assert {reference(family), focus(family)} <= set(described)
    assert reference(family) != focus(family)
    assert structure_role(family) in STRUCTURE_ROLES
    assert set(looks(family)) == set(described)
    assert len(set(looks(family).values())) == len(described), "versions must be told apart"


@pytest.mark.slow
def test_the_shape_in_the_file_is_that_of_the_weights(monkeypatch):
    monkeypatch.delenv("ENTRACK_CACHE")
    from transformers import AutoConfig

    from entrack.versions.loading import load
    from entrack.versions.needs import parameters

    told = family_file("smollm2")["config"]
    assert parameters(AutoConfig.for_model(**told)) == parameters(load("smollm2/raw").config)
