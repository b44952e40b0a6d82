"""Parameters are read from the source without executing it, and what does not fit them is refused
by name.
"""

import pytest

from entrack.book.parameters import Parameter, parse, read_all
from entrack.errors import ChapterError, ParameterError

CELL = """
n_prompts: int = 140        # prompts per model [14, 7000]
format: str = "alternative"  # text format {alternative, standard}
rate: float = 0.5  # learning rate [0, 1.5]
exact: bool = False  # as published
layers: tuple[int, ...] = (2, 3)  # which [0, 29]
limit: int | None = None
"""


@pytest.fixture(scope="module")
def parameters():
    return {parameter.name: parameter for parameter in parse(CELL)}


def test_a_declaration_holds_name_type_default_help_and_range(parameters):
    assert list(parameters) == ["n_prompts", "format", "rate", "exact", "layers", "limit"]
    assert parameters["n_prompts"] == Parameter(
        "n_prompts", "int", 140, "prompts per model", low=14, high=7000
    )
    assert parameters["format"].choices == ("alternative", "standard")
    assert parameters["layers"] == Parameter(
        "layers", "int", (2, 3), "which", low=0, high=29, many=True
    )
    assert parameters["limit"] == Parameter("limit", "int", None, optional=True)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n_prompts", "14", 14),
        ("n_prompts", "7000", 7000),
        ("format", "standard", "standard"),
        ("rate", "1e-3", 0.001),
        ("rate", "1", 1.0),
        ("exact", "true", True),
        ("exact", "False", False),
        ("layers", "4,5", (4, 5)),
        ("layers", "[7]", (7,)),
        ("limit", "None", None),
        ("limit", "3", 3),
    ],
)
def test_a_text_becomes_a_value_of_the_declared_type(parameters, name, text, value):
    read = parameters[name].read(text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "n_prompts",
            "many",
            (
                "n_prompts=many is not an integer; allowed is an integer in [14, 7000]. Try"
                " n_prompts=140."
            ),
        ),
        (
            "n_prompts",
            "1.5",
            (
                "n_prompts=1.5 is not an integer; allowed is an integer in [14, 7000]. Try"
                " n_prompts=140."
            ),
        ),
        (
            "n_prompts",
            "13",
            "n_prompts=13 is out of range; allowed is an integer in [14, 7000]. Try n_prompts=140.",
        ),
        (
            "format",
            "std",
            (
                "format=std is not a choice; allowed is one of alternative, standard. Try"
                " format=alternative."
            ),
        ),
        (
            "rate",
            "nan",
            "rate=nan is not a finite number; allowed is a number in [0, 1.5]. Try rate=0.5.",
        ),
        (
            "exact",
            "maybe",
            "exact=maybe is not true or false; allowed is true or false. Try exact=False.",
        ),
        (
            "layers",
            "3,30",
            (
                "layers=3,30 is out of range; allowed is several, with commas between, each an"
                " integer in [0, 29]. Try layers=2,3."
            ),
        ),
        (
            "limit",
            "none",
            "limit=none is not an integer; allowed is an integer, or None. Try limit=None.",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(parameters, name, text, message):
    with pytest.raises(ParameterError) as caught:
        parameters[name].read(text)
    assert str(caught.value) == message


def test_an_unknown_name_is_refused_with_the_nearest(parameters):
    with pytest.raises(ParameterError) as caught:
        read_all(tuple(parameters.values()), {"n_promts": "20"}, chapter="01_task")
    assert (
        str(caught.value)
        == "chapter 01_task has no parameter 'n_promts'; it takes n_prompts, format, rate, exact,"
        " layers, limit. Did you mean 'n_prompts'?"
    )


def test_values_equal_to_their_defaults_are_left_out(parameters):
    texts = {"n_prompts": "140", "layers": "2,3", "rate": "0.25"}
    assert read_all(tuple(parameters.values()), texts, chapter="01_task") == {"rate": 0.25}


def test_the_cell_is_never_executed(tmp_path):
    with pytest.raises(
        ChapterError,
        match=r"the parameters cell holds `open\(.*only `name: type = literal` may stand",
    ):
        parse(f"open({str(tmp_path / 'made')!r}, 'w')")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "line", ["n = 3", "n: int = f()", "n: dict = {}", "n: int", "a.b: int = 3"]
)
def test_only_annotated_literals_may_be_declared(line):
    with pytest.raises(ChapterError, match="only `name: type = literal` may stand there"):
        parse(line)


@pytest.mark.parametrize(
    "line", ["n: int = 3  # few [4, 5]", "n: int = 'a'", "n: str = 'c'  # {a, b}", "n: int = True"]
)
def test_a_default_that_contradicts_its_declaration_is_refused(line):
    with pytest.raises(ChapterError, match="contradicts its declaration"):
        parse(line)


def test_a_range_of_another_type_is_refused():
    with pytest.raises(
        ChapterError, match=r"parameter n: '\[0.5, 4\]' does not fit its type; an integer is needed"
    ):
        parse("n: int = 3  # few [0.5, 4]")


def test_no_cell_means_no_parameters():
    assert parse("") == ()
