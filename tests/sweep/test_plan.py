"""The jobs of a sweep, checked before anything runs."""

import io
import json

import pytest
import yaml
from small_book import edit, small_book

from entrack.book.chapters import project
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


def test_a_run_has_the_sizes_of_an_edition_where_it_gives_no_other(book):
    (book.notebooks / "quick.toml").write_text("[02_show]\nseed = 4\n")
    runs = [{"chapter": "02", "sizes": "quick"}, {"chapter": "02", "sizes": "quick", "seeds": [5]}]
    jobs = plan(TABLE | {"runs": runs}, book)
    assert [job["parameters"]["seed"] for job in jobs] == ["4", "5"]


def test_the_committed_tables_can_be_planned():
    for path in sorted((project().root / "workflow").glob("*.yaml")):
        jobs = plan(yaml.safe_load(path.read_text()), project())
        assert jobs and len({job["name"] for job in jobs}) == len(jobs), path.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": [{"chapter": "09"}]}, "no chapter '09'; there are 01_double, 02_show"),
        ({"runs": [{"chapter": "02", "parameters": {"m": 1}}]}, "has no parameter 'm'; it takes"),
        ({"runs": [{"chapter": "02", "seeds": [11]}]}, "seed=11 is out of range; allowed is"),
        ({"runs": [{"chapter": "02", "lineages": ["b"]}]}, "lineage 'b'; the sweep has tiny"),
        ({"runs": [{"chapter": "02", "seed": 1}]}, "run of the sweep has 'seed'; it takes chapter"),
        ({"lineages": {"tiny": {"seed": 1}}}, "lineage tiny of the sweep has 'seed'; it takes v"),
        (
            {"runs": [{"chapter": "02", "sizes": "big"}]},
            "in the sizes of 'big'; the book's editions",
        ),
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
