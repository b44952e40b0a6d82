"""Tiny Llamas with random weights, built in a second, that the tests share."""

from pathlib import Path

import pytest
import torch
from rendered_book import rendered
from tiny_models import KV_HEADS, tiny_model

from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that is empty and gone afterwards."""
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path))


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The committed book, rendered once: the folder of its pages."""
    return rendered(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session", params=list(KV_HEADS))
def any_model(request):
    """The same tiny model with multi-head, grouped-query and multi-query attention."""
    return tiny_model(request.param)


@pytest.fixture(scope="session")
def model():
    """The grouped-query one."""
    return tiny_model("gqa")


@pytest.fixture(scope="session")
def prompts(model):
    """14 prompts of 7 boxes, every position queried twice."""
    return encode(model.tokenizer, examples(14, split="evaluation"))


@pytest.fixture(scope="session")
def pair_prompts(model):
    """14 clean and corrupt prompts."""
    return encode_pairs(model.tokenizer, pairs(14, split="discovery"))


@pytest.fixture(autouse=True)
def _models_left_as_they_were(request):
    """After every test the shared models carry no hooks, are in eval mode and need no gradients."""
    yield
    for name in ("model", "any_model"):
        if name in request.fixturenames:
            hf = request.getfixturevalue(name).hf
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())
            assert not hf.training and not any(p.requires_grad for p in hf.parameters())
            assert next(hf.parameters()).dtype == torch.float32
