"""No stored result can be mistaken for another: every argument of every stored experiment counts.

The experiments are found by walking the package. One that takes a kind of argument which is not in
`SAMPLES` fails here until a pair of different samples is given."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from tiny_models import CIRCUIT, tiny_model
from torch import Tensor

import entrack
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.minimality import MinimalityConfig
from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell
from entrack.finetune.recipes import Recipe, recipe
from entrack.heads.wide_circuit import WideCircuit
from entrack.model.activations import Means, mean_z
from entrack.model.decoder import Model
from entrack.patching.group_patching import Prepared
from entrack.patching.patches import Patch
from entrack.patching.path_patching import PathConfig
from entrack.sites import Head
from entrack.store.results import Stored
from entrack.task.boxes import Scene
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import CounterfactualPrompts, encode_counterfactuals
from entrack.task.desiderata import Counterfactual
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import Prompts, encode

MODULES = [m.name for m in pkgutil.walk_packages(entrack.__path__, "entrack.") if not m.ispkg]


def stored_functions() -> dict[str, Stored]:
    return {
        f"{module}.{name}": value
        for module in MODULES
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, Stored) and value.__module__ == module
    }


STORED = stored_functions()


def changed(values: Tensor) -> Tensor:
    """The same with its first number one greater."""
    other = values.clone()
    other.view(-1)[0] += 1
    return other


def other_prompts(prompts: Prompts) -> list[Prompts]:
    """The same prompts, each time with one thing changed that a result may depend on."""
    plain = ("tokens", "lengths", "answers")
    return [
        *(dataclasses.replace(prompts, **{n: changed(getattr(prompts, n))}) for n in plain),
        *(
            dataclasses.replace(prompts, roles={**prompts.roles, role: changed(places)})
            for role, places in prompts.roles.items()
        ),
        *(
            dataclasses.replace(prompts, segments={**prompts.segments, kind: changed(places)})
            for kind, places in prompts.segments.items()
        ),
    ]


def other_counterfactuals(data: CounterfactualPrompts) -> list[CounterfactualPrompts]:
    return [
        *(dataclasses.replace(data, base=base) for base in other_prompts(data.base)),
        *(dataclasses.replace(data, source=source) for source in other_prompts(data.source)),
        dataclasses.replace(data, answers=changed(data.answers)),
        *(
            dataclasses.replace(data, alternatives={**data.alternatives, name: changed(tokens)})
            for name, tokens in data.alternatives.items()
        ),
    ]


def samples() -> dict[object, list]:
    """Kind of argument -> a value, and others that differ from it in one thing each."""
    model = tiny_model()
    asked = scenes(2, split="evaluation", n_boxes=3)
    prompts = encode(model.tokenizer, all_queries(asked))
    pairs = interchanges(2, split="evaluation", n_boxes=3)
    data = encode_counterfactuals(model.tokenizer, pairs)
    means = mean_z(model, prompts)
    smaller = CIRCUIT.without("value_fetcher", CIRCUIT.groups["value_fetcher"][:1])
    prepared = Prepared(model, data)
    tuned, named, typed = (
        dataclasses.replace(model, **change)
        for change in ({"digest": "other"}, {"name": "other"}, {"dtype": torch.bfloat16})
    )
    return {
        Model: [model, tuned, named, typed],
        Model | None: [None, model, tuned],
        Prompts: [prompts, *other_prompts(prompts)],
        CounterfactualPrompts: [data, *other_counterfactuals(data)],
        Prepared: [
            prepared,
            dataclasses.replace(prepared, model=tuned),
            dataclasses.replace(prepared, donor=tuned),
            dataclasses.replace(prepared, expected_candidate="object"),
            *(dataclasses.replace(prepared, data=d) for d in other_counterfactuals(data)),
        ],
        Means: [means, Means(z=changed(means.z), n=means.n)],
        Circuit: [CIRCUIT, smaller, dataclasses.replace(CIRCUIT, model="other")],
        Sequence[Circuit]: [[CIRCUIT], [smaller], [CIRCUIT, smaller]],
        Sequence[Scene]: [asked, asked[:1], asked[::-1]],
        Sequence[Counterfactual]: [
            pairs,
            pairs[::-1],
            [dataclasses.replace(pairs[0], answer="else"), *pairs[1:]],
        ],
        Mapping[str, WideCircuit]: [
            {"a": WideCircuit(CIRCUIT)},
            {"b": WideCircuit(CIRCUIT)},
            {"a": WideCircuit(smaller)},
            {"a": WideCircuit(CIRCUIT, (Head(1, 1),))},
            {"a": WideCircuit(CIRCUIT), "b": WideCircuit(smaller)},
        ],
        Sequence[Head]: [[Head(1, 1)], [Head(1, 2)], []],
        tuple[Head, ...]: [
            (Head(1, 1), Head(1, 2)),
            (Head(1, 2), Head(1, 1)),
            (Head(1, 1), Head(2, 2)),
            (Head(1, 1),),
            (),
        ],
        Patch: [Patch("last", (Head(1, 1),)), Patch("last", resid=1)],
        Sequence[Patch]: [[Patch("last")], [Patch("query_label")]],
        dict[str, Patch]: [
            {"a": Patch("last")},
            {"b": Patch("last")},
            {"a": Patch("last", resid=1)},
        ],
        tuple[Cell, ...]: [
            (Cell("a", {"last": (Head(1, 1),)}),),
            (Cell("b", {"last": (Head(1, 1),)}),),
            (Cell("a", {"last": (Head(1, 1),)}, "q"),),
        ],
        Mapping[str, Sequence[tuple[Head, ...]]]: [
            {"a": [(), (Head(1, 1),)]},
            {"b": [(), (Head(1, 1),)]},
            {"a": [(), (Head(1, 2),)]},
            {"a": [(Head(1, 1),), ()]},
        ],
        MinimalityConfig: [MinimalityConfig(), MinimalityConfig(threshold=0.0)],
        PathConfig: [PathConfig(), PathConfig(seed=1)],
        Recipe: [
            recipe("code", "smollm2"),
            recipe("math", "smollm2"),
            recipe("code", "smollm2").changed(seed=7),
            recipe("code", "smollm2").changed(steps=7),
        ],
        Mapping[tuple[str, str], Tensor]: [
            {("last", "query_label"): torch.tensor([1, 2])},
            {("last", "query_label"): torch.tensor([1, 3])},
            {("last", "random"): torch.tensor([1, 2])},
        ],
        Mapping[str, Sequence[str]]: [{"a": ["last"]}, {"a": ["last", "query_label"]}],
        tuple[Model, ...]: [(model,), (tuned,), (named,), (typed,), (model, tuned)],
        tuple[str, ...]: [("last",), ("query_label",)],
        tuple[int, ...]: [(0, 1), (0, 2)],
        Sequence[float]: [(0.1,), (0.2,)],
        str: ["last", "query_label"],
        int: [1, 2],
        float: [0.1, 0.2],
    }


@pytest.fixture(scope="module")
def kinds():
    return samples()


def test_the_walk_finds_every_stored_experiment():
    """By the text of the modules there are as many decorators as stored functions, and no stored
    call of another form.
    """
    written = [
        node
        for module in MODULES
        for node in ast.walk(ast.parse(Path(importlib.import_module(module).__file__).read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "stored"
    ]
    assert len(written) == len(STORED) > 15
    names = [function.name for function in STORED.values()]
    assert len(set(names)) == len(names), "two experiments of one name cannot be told apart"


@pytest.mark.parametrize("name", STORED)
def test_a_stored_experiment_depends_on_nothing_but_its_arguments(name):
    assert inspect.unwrap(STORED[name]).__closure__ is None
    assert "<locals>" not in STORED[name].__qualname__


@pytest.mark.parametrize("name", STORED)
def test_every_argument_of_a_stored_experiment_counts(name, kinds, own_cache):
    function, hints = STORED[name], get_type_hints(inspect.unwrap(STORED[name]))
    call = {
        argument: kinds[hints[argument]][0] for argument in inspect.signature(function).parameters
    }
    path = function.path(**call)
    assert path == function.path(**call)
    for argument in call:
        for other in kinds[hints[argument]][1:]:
            assert function.path(**{**call, argument: other}) != path, (argument, other)


def test_the_same_tokens_with_other_answers_are_scored_anew(own_cache):
    """What the paths say, on one experiment that runs."""
    model = tiny_model()
    prompts = encode(model.tokenizer, all_queries(scenes(2, split="evaluation", n_boxes=3)))
    options = {"circuits": [CIRCUIT], "means": mean_z(model, prompts)}
    first = measure_faithfulness(model, prompts, **options)
    with torch.no_grad():
        said = model.hf(prompts.tokens).logits[torch.arange(len(prompts)), prompts.at("last")]
    assert not first.full.all()
    right = measure_faithfulness(
        model, dataclasses.replace(prompts, answers=said.argmax(-1)), **options
    )
    assert right.full.all()
