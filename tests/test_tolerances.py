"""No test compares floating point numbers within an absolute constant: `closeness` scales it."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
OWN = {"closeness.py", "test_closeness.py", "test_tolerances.py"}
NAMES = {"atol", "abs", "abs_tol"}


def absolute_tolerances(source: str) -> list[str]:
    """Calls with an absolute tolerance other than zero, as "line: source"."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in NAMES
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value == 0)
    ]


def files() -> list[Path]:
    return [path for path in sorted(TESTS.rglob("*.py")) if path.name not in OWN]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_absolute_tolerance_outside_the_helper(path):
    assert absolute_tolerances(path.read_text()) == []


def test_the_walk_sees_what_it_refuses():
    refused = ("approx(1, abs=1e-3)", "np.allclose(a, b, atol=x)", "f(g(a, abs_tol=2))")
    for call in refused:
        assert len(absolute_tolerances(call)) == 1, call
    assert absolute_tolerances("close(a, b, rtol=1e-7, atol=0); abs(x)") == []
    assert len(files()) > 40
