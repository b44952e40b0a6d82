"""Which families the record is read for."""

import json

import pytest

from entrack.errors import ModelError
from entrack.sweep.recorded import relatives


@pytest.fixture
def families(tmp_path, monkeypatch):
    monkeypatch.setenv("ENTRACK_MODELS", str(tmp_path))

    def write(**siblings):
        for family, named in siblings.items():
            text = json.dumps({"siblings": named} if named is not None else {})
            (tmp_path / f"{family}.json").write_text(text)

    return write


def test_those_that_a_file_names_come_before_those_that_name_it(families):
    families(zz=["yy"], yy=[], xx=["zz", "yy"], ww=["zz"], vv=["xx"])
    assert relatives("zz") == ["yy", "ww", "xx"]


def test_each_is_named_once_and_none_is_its_own(families):
    families(zz=["yy"], yy=["zz"], xx=None)
    assert relatives("zz") == ["yy"] and relatives("xx") == []


def test_an_unknown_family_is_refused(families):
    with pytest.raises(ModelError, match="no family 'z'; there are"):
        relatives("z")


def test_the_third_lineage_is_a_relative_of_the_default_one():
    assert relatives("smollm2-unprimed") == ["smollm2", "smollm2-unprimed-2", "smollm2-unprimed-3"]
