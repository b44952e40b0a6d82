"""Families that cannot be used, given to the command as a user would: one sentence, an exit code
that is not 0, and nothing half-written."""

import json
import re
import struct

import pytest
from architectures import REFUSED, tiny_decoder
from peft import LoraConfig, get_peft_model
from random_family import write_family
from tiny_family import save_model
from tiny_models import tiny_model
from tokenizers_for_tests import SPACE
from transformers import ByT5Tokenizer

from entrack import cli
from entrack.book.chapters import project

pytestmark = pytest.mark.slow

SENTENCE = re.compile(r"^(Model|Task|Alignment)Error: [^\n]+$", re.MULTILINE)


def edit_json(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def another_architecture(kind):
    def break_it(folder):
        settings, _ = REFUSED[kind]
        save_model(tiny_decoder(kind, settings), folder / "random" / "plain")

    return break_it


def damaged_adapter(folder):
    place = folder / "random" / "tuned"
    for path in place.iterdir():
        path.unlink()
    base = tiny_model(n_layers=8, seed=32)
    get_peft_model(base.hf, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(place)
    weights = place / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def pickled_adapter(folder):
    damaged_adapter(folder)
    (folder / "random" / "tuned" / "adapter_model.safetensors").unlink()


def no_offsets(folder):
    place = folder / "random" / "plain"
    for path in place.glob("*token*"):
        path.unlink()
    ByT5Tokenizer().save_pretrained(place)


def words_of_two_tokens(folder):
    """The labels lose the last of the merges that made each of them one token."""

    def without(tokenizer):
        merges = tokenizer["model"]["merges"]
        tokenizer["model"]["merges"] = [m for m in merges if m[0] != SPACE]
        return tokenizer

    edit_json(folder / "random" / "plain" / "tokenizer.json", without)


def short_window(folder):
    edit_json(
        folder / "random" / "plain" / "config.json", lambda c: c | {"max_position_embeddings": 20}
    )


def too_large(folder):
    """Weights that a header declares; the file itself is a hole of the right length."""
    place = folder / "random" / "plain" / "model.safetensors"
    length = 10**7 * 10**6 * 2
    header = {"w": {"dtype": "F16", "shape": [10**7, 10**6], "data_offsets": [0, length]}}
    text = json.dumps(header).encode()
    place.write_bytes(struct.pack("<Q", len(text)) + text)


CASES = {
    "sinks": (another_architecture("gpt_oss"), "attention sinks.*Use another model"),
    "alibi": (another_architecture("bloom"), "argument: 'alibi'.*Use another model"),
    "damaged adapter": (damaged_adapter, "the adapter of random/tuned cannot be used"),
    "pickled adapter": (pickled_adapter, "pickled weights are never read"),
    "no offsets": (no_offsets, "ByT5Tokenizer gives no character positions.*Use a fast tokenizer"),
    "two tokens": (words_of_two_tokens, "is [2-9] tokens .*must be one. Use another word"),
    "window": (short_window, "tokens; this model reads at most 20. Use fewer boxes"),
    "memory": (too_large, r"needs 40000.0 GB for its weights; .* GB are free on cpu"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_a_sentence(case, tmp_path, monkeypatch, capsys):
    for name in ("models", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("ENTRACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ENTRACK_MODELS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    file = write_family(tmp_path / "models")
    break_it, words = CASES[case]
    break_it(tmp_path / "models")
    runs = project().runs
    before = set(runs.glob("*")) if runs.is_dir() else set()
    arguments = ["--family", str(file), "-p", "n_scenes=4", "-p", "n_scenes_sizes=2"]
    assert cli.main(["run", "01", *arguments]) == 1
    told = capsys.readouterr().err
    sentence = SENTENCE.search(told)
    assert sentence and re.search(words, sentence.group()), told
    assert "Traceback" not in told
    left = [path.name for path in set(runs.glob("*")) - before]
    assert all(name.endswith((".failed.ipynb", ".log")) for name in left), left
    half = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".zip"]
    assert not half, half
