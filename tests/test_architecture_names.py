"""No experiment and no figure knows an architecture: `model/layers` alone does."""

import ast
import re

import pytest
from architectures import PROVED, REFUSED
from test_imports import MODULES

ROOMS = ("patching", "circuit", "cross_model", "figures")
KINDS = sorted({re.sub(r"[\d_].*$", "", kind) for kind in {*PROVED, *REFUSED} - {"llama"}})
NAMES = re.compile(
    rf"(?<![a-z])({'|'.join(KINDS)})(?![a-z])"
    r"|Llama\w+|model_type|architectures|self_attn|\bmlp\b|rotary|\btransformers\b"
)
PAPERS_MODEL = re.compile(r"(?<![a-z])llama(?![a-z])", re.IGNORECASE)
"""The name of an architecture, and of the paper's base model, whose published numbers are drawn."""


def code_words(source: str) -> list[str]:
    """Identifiers, and texts that are no docstring, of a module."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [] if id(node) in docstrings else [node.value]
        elif isinstance(node, ast.alias):
            found.append(node.name)
        else:
            found += [
                getattr(node, key)
                for key in ("id", "attr", "arg", "name", "module")
                if isinstance(getattr(node, key, None), str)
            ]
    return found


def named(source: str, *, papers: bool) -> list[str]:
    """Words of `source` that name an architecture; with `papers`, Llama is the paper's model."""
    words = code_words(source)
    return [
        word for word in words if NAMES.search(word) or (not papers and PAPERS_MODEL.search(word))
    ]


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.split(".")[1:2] and m.split(".")[1] in ROOMS]
)
def test_no_experiment_names_an_architecture(module):
    drawn_beside_the_paper = module.split(".")[1] == "figures"
    assert not named(MODULES[module].read_text(), papers=drawn_beside_the_paper)


@pytest.mark.parametrize(
    "line",
    [
        'if model.config.model_type == "qwen3": pass',
        "from transformers import LlamaConfig",
        "is_gemma2 = True",
        "weights = layer.self_attn",
        'kind = "llama"',
    ],
)
def test_a_name_would_be_seen(line):
    assert named(line, papers=False)


def test_a_published_number_of_the_papers_model_is_none():
    assert not named('values["llama"], "Llama-7B"', papers=True)
    assert named("LlamaConfig", papers=True)
