"""The jobs of a sweep, checked before anything runs."""

import io
import json

import pytest
from small_book import edit, small_book

from entrack.errors import ParameterError
from entrack.sweep import plan as planning
from entrack.sweep.plan import plan

TABLE = {"lineages": {"tiny": {"versions": ["base"]}}, "runs": [{"chapter": "02"}]}


@pytest.fixture
def book(tmp_path):
    made = small_book(tmp_path)
    edit(
        made.notebooks / "02_show.py",
        "\n\n# %%\n# figure",
        "\nseed: int = 0  # s [0, 9]\n\n# %%\n# figure",
    )
    return made


def test_each_run_is_a_job_on_each_lineage_with_each_seed(book):
    (book.root / "models/other.json").write_text('{"versions": {}}')
    table = {"lineages": {"tiny": {"versions": ["base"]}, "other": None}}
    jobs = plan(table | {"runs": [{"chapter": "02", "seeds": [0, 3]}]}, book)
    assert [(j["name"], j["versions"], j["parameters"]) for j in jobs] == [
        ("tiny/02_show-seed-0", ["base"], {"family": "tiny", "seed": "0"}),
        ("tiny/02_show-seed-3", ["base"], {"family": "tiny", "seed": "3"}),
        ("other/02_show-seed-0", [], {"family": "other", "seed": "0"}),
        ("other/02_show-seed-3", [], {"family": "other", "seed": "3"}),
    ]
    assert len({job["key"] for job in jobs}) == 4


def test_the_key_changes_with_code_and_not_with_a_comment(book):
    (before,) = plan(TABLE, book)
    path = book.root / "entrack/shapes.py"
    path.write_text("# A comment.\n" + path.read_text())
    assert plan(TABLE, book) == [before]
    edit(path, "<p>", "<b>")
    assert plan(TABLE, book)[0]["key"] != before["key"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": [{"chapter": "09"}]}, "no chapter '09'; there are 01_double, 02_show"),
        ({"runs": [{"chapter": "02", "parameters": {"m": 1}}]}, "has no parameter 'm'; it takes"),
        ({"runs": [{"chapter": "02", "seeds": [11]}]}, "seed=11 is out of range; allowed is"),
        ({"runs": [{"chapter": "02", "lineages": ["b"]}]}, "lineage 'b'; the sweep has tiny"),
        ({"runs": [{"chapter": "02", "seed": 1}]}, "run of the sweep has 'seed'; it takes chapter"),
        ({"lineages": {"tiny": {"seed": 1}}}, "lineage tiny of the sweep has 'seed'; it takes v"),
        ({"more": 1}, "table of the sweep has 'more'; it takes gpus, lineages, runs, threads"),
        ({"runs": [{"chapter": "02"}] * 2}, "two runs of the sweep are both tiny/02_show-seed-0"),
        ({"lineages": {"tinny": {}}}, "family=tinny is not known; there are tiny"),
    ],
)
def test_a_wrong_table_is_refused(book, change, message):
    with pytest.raises(ParameterError, match=message):
        plan(TABLE | change, book)


def test_the_engine_gets_jobs_or_a_sentence(book, monkeypatch, capsys):
    monkeypatch.setenv("ENTRACK_ROOT", str(book.root))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(TABLE)))
    assert planning.main() == 0
    assert json.loads(capsys.readouterr().out) == plan(TABLE, book)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(TABLE | {"runs": [{}]})))
    assert planning.main() == 2
    assert capsys.readouterr().err.startswith("entrack: no chapter ''")
