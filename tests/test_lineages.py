"""A lineage that repeats another has its recipes, with seeds further on."""

import json

import pytest

from entrack import cli
from entrack.errors import ModelError
from entrack.finetune import train as trainer
from entrack.finetune.recipes import RECIPES
from entrack.lineages import add_repeated, origin, repeated

OF = "smollm2-unprimed"
TWO = {"raw": {"on": None}, "base": {"on": "raw"}, "code": {"on": "base"}}


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Writes the file of a family `again`, and forgets its recipes afterwards."""
    monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path))

    def write(repeats, versions=TWO):
        told = {} if repeats is None else {"repeats": repeats}
        text = json.dumps({"source": {"kind": "wheel"}, "versions": versions} | told)
        (tmp_path / "again.json").write_text(text)

    yield write
    RECIPES.pop("again", None)


def test_recipes_are_those_of_the_other_but_for_their_seeds(described):
    described({"family": OF, "seeds_on": 3})
    assert repeated("again") == {
        name: RECIPES[OF][name].changed(seed=RECIPES[OF][name].seed + 3)
        for name in ("base", "code")
    }
    assert [one.seed for one in repeated("again").values()] == [3, 4]


def test_its_origin_is_the_family_that_it_repeats(described):
    described({"family": OF, "seeds_on": 3})
    assert origin("again") == (OF, 3) and origin(OF) == (OF, 0)
    described({"family": "llama-7b", "seeds_on": 3})
    with pytest.raises(ModelError, match=r"again\.json repeats family 'llama-7b'"):
        origin("again")


def test_a_family_that_repeats_none_has_what_it_had(described):
    described(None)
    before = dict(RECIPES)
    assert repeated("again") == {}
    add_repeated("again")
    add_repeated("smollm2")
    assert before == RECIPES


def test_the_second_lineage_is_what_its_file_says():
    assert repeated("smollm2-unprimed-2") == RECIPES["smollm2-unprimed-2"]


@pytest.mark.parametrize(
    ("repeats", "told"),
    [
        ({"family": "llama-7b", "seeds_on": 1}, "again.json repeats family 'llama-7b'; there are"),
        ({"family": "again", "seeds_on": 1}, "again.json repeats family 'again'; there are"),
        ("smollm2", "again.json repeats family None; there are recipes for smollm2, "),
        ({"family": OF}, f'again.json repeats {OF} with "seeds_on" None; it takes a whole number'),
        ({"family": OF, "seeds_on": 0}, f'again.json repeats {OF} with "seeds_on" 0; it takes'),
        ({"family": OF, "seeds_on": True}, f'again.json repeats {OF} with "seeds_on" True;'),
        ({"family": OF, "seeds_on": 1.5}, f'again.json repeats {OF} with "seeds_on" 1.5;'),
    ],
)
def test_what_cannot_be_repeated_is_named(described, repeats, told):
    described(repeats)
    with pytest.raises(ModelError) as error:
        repeated("again")
    assert str(error.value).startswith(told)


def test_a_version_without_a_recipe_is_named(described):
    described({"family": OF, "seeds_on": 1}, TWO | {"codes": {"on": "base"}})
    with pytest.raises(ModelError, match=rf"again.json has a version 'codes', and {OF}, which"):
        repeated("again")


def test_the_command_trains_by_them(described, tmp_path, monkeypatch, capsys):
    described({"family": OF, "seeds_on": 2})
    asked = []
    monkeypatch.setattr(
        trainer, "train", lambda name, **given: asked.append((name, RECIPES[given["family"]])) or {}
    )
    assert cli.main(["train", "code", "--family", "again"]) == 0
    ((name, recipes),) = asked
    assert name == "code" and recipes["code"].seed == 3 and recipes["code"].on == "base"
    assert cli.main(["train", "code", "--family", "agains"]) == 1
    assert "no family 'agains'; there are" in capsys.readouterr().err
