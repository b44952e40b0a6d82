"""The converted copy: made once, shared by families of one source, made again when damaged."""

import json
import os
import subprocess
import sys

import pytest
import torch
from tiny_family import logits, save_model

from entrack.errors import DataError, ModelError
from entrack.versions import weights
from entrack.versions.loading import load
from entrack.versions.weights import converted, copy_folder

pytestmark = pytest.mark.usefixtures("cache")


class TestConvertedCopy:
    def test_is_made_once(self, family):
        load("tiny/raw", device="cpu")
        load("tiny/raw", device="cpu")
        assert weights._convert.calls == 1

    def test_is_shared_by_families_of_one_source(self, family):
        (family / "twin.json").write_text((family / "tiny.json").read_text())
        first, second = load("tiny/raw", device="cpu"), load("twin/raw", device="cpu")
        assert weights._convert.calls == 1 and first.digest == second.digest

    def test_terms_are_shown_once_and_before_anything_is_fetched(self, family, monkeypatch, capsys):
        path = family / "tiny.json"
        described = json.loads(path.read_text())
        described["source"]["terms"] = "Tiny is subject to the terms of Tiny."
        path.write_text(json.dumps(described))
        fetched = weights.fetched

        def saying(source):
            print("fetching", file=sys.stderr)
            return fetched(source)

        monkeypatch.setattr(weights, "fetched", saying)
        load("tiny/raw", device="cpu")
        told = capsys.readouterr().err
        assert told.startswith("Tiny is subject to the terms of Tiny.\nfetching\n")
        load("tiny/raw", device="cpu")
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-200]
            ),
            lambda folder: (folder / "digest.json").unlink(),
            lambda folder: (folder / "digest.json").write_text("{"),
            lambda folder: (folder / "tokenizer.json").unlink(),
            lambda folder: (folder / "config.json").write_text("{}"),
        ],
    )
    def test_a_damaged_copy_is_made_again(self, tiny, family, cache, damage):
        load("tiny/raw", device="cpu")
        damage(copy_folder(json.loads((family / "tiny.json").read_text())["source"]))
        # Exactly: the same weights in the same pass.
        assert torch.equal(logits(load("tiny/raw", device="cpu")), logits(tiny))
        assert weights._convert.calls == 2

    def test_two_processes_at_once_convert_once(self, tiny, wheel, cache, tmp_path):
        """One converts, slowly; the other waits and finds it done."""
        made = save_model(tiny, tmp_path / "made")
        script = tmp_path / "ask.py"
        script.write_text(
            "import json, shutil, sys, time\n"
            "from pathlib import Path\n"
            "from entrack.versions import weights\n"
            "def convert(wheels, source, folder):\n"
            f"    with open({str(tmp_path / 'calls')!r}, 'a') as file:\n"
            "        file.write('x')\n"
            "    folder.mkdir()\n"
            f"    shutil.copytree({str(made)!r}, folder, dirs_exist_ok=True)\n"
            "    time.sleep(1)\n"
            "    digests = {p.name: weights.sha256_file(p) for p in folder.iterdir()}\n"
            "    (folder / 'digest.json').write_text(json.dumps(digests))\n"
            "weights._convert = convert\n"
            f"print(weights.converted(json.loads({json.dumps(json.dumps(wheel))})))\n"
        )
        both = [
            subprocess.Popen(
                [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        told = [process.communicate(timeout=60)[0].strip() for process in both]
        assert told == [str(copy_folder(wheel))] * 2
        assert (tmp_path / "calls").read_text() == "x"

    def test_an_interrupted_conversion_leaves_no_copy(self, wheel, cache, monkeypatch):
        def interrupted(wheels, source, folder):
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(weights, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            converted(wheel)
        assert not weights._intact(copy_folder(wheel))

    def test_a_corrupt_gguf(self, wheel):
        with pytest.raises(
            ModelError,
            match=(
                r"tiny.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted \(.*\); an"
                r" intact gguf of a 'llama' model is needed"
            ),
        ):
            converted(wheel)

    def test_a_wheel_without_the_gguf(self, wheel):
        with pytest.raises(
            ModelError, match="other.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted"
        ):
            converted(wheel | {"file": "other.gguf"})

    def test_a_full_disk(self, wheel, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(weights, "unpack", full)
        with pytest.raises(
            (ModelError, DataError),
            match=(
                "the cache .* cannot hold the converted model .*No space left on device.*about 3 GB"
            ),
        ):
            converted(wheel)
