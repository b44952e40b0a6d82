"""What a person gets who installs, cites or copies this: versions, pins, licences, commands."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import plotly
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import entrack

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TRACKED_TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".txt",
    ".cff",
    ".json",
    ".ipynb",
    ".css",
    ".js",
    ".bib",
    "",
}


def pins() -> dict[str, str]:
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {
        canonicalize_name(name): version
        for name, version in (
            line.split("==") for line in lines if line and not line.startswith("#")
        )
    }


def requirements() -> list[Requirement]:
    return [
        Requirement(text)
        for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    ]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of the project's own files")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (
        PROJECT["version"]
        == entrack.__version__
        == citation["version"]
        == metadata.version("entrack")
    )


def test_every_dependency_is_pinned_within_its_range():
    pinned = pins()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement


def test_the_pins_are_what_is_installed():
    """The numbers of the book were made with these versions; a local label such as +cpu does not
    matter.
    """
    pinned = pins()
    installed = {
        canonicalize_name(d.metadata["Name"]): d.version.split("+")[0]
        for d in metadata.distributions()
    }
    differing = {
        name: (version, installed[name])
        for name, version in pinned.items()
        if name in installed and installed[name] != version
    }
    assert not differing


def test_every_imported_package_is_declared():
    """Relying on what another package happens to need breaks with that package's next version."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    sources = metadata.packages_distributions()
    undeclared = set()
    for path in [
        *ROOT.glob("entrack/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("notebooks/*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else (
                    [node.module]
                    if isinstance(node, ast.ImportFrom) and node.module and not node.level
                    else []
                )
            )
            for module in (
                {name.split(".")[0] for name in names}
                - set(sys.stdlib_module_names)
                - {"entrack", "baukit"}
            ):
                if module in sources and not declared & {
                    canonicalize_name(name) for name in sources[module]
                }:
                    undeclared.add((module, path.name))
    assert not undeclared


def test_the_pins_agree_with_each_other():
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def test_the_plotly_script_is_the_one_of_the_pinned_package():
    packaged = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    assert (ROOT / "book/vendor/plotly.min.js").read_bytes() == packaged.read_bytes()


@pytest.mark.parametrize(
    "name, words",
    [
        ("LICENSE", "MIT License"),
        ("book/LICENSE-text", "CC BY 4.0"),
        ("book/vendor/LICENSE-plotly", "MIT License"),
        ("book/vendor/LICENSE-mathjax", "Apache License"),
    ],
)
def test_licences_are_there(name, words):
    assert words in (ROOT / name).read_text()


def test_the_citation_names_the_paper():
    (reference,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert reference["title"].startswith("Fine-Tuning Enhances Existing Mechanisms")
    assert {"type": "other", "value": "arXiv:2402.14811"} in reference["identifiers"]


def test_conda_installs_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-c constraints.txt" in pip and "-e .[test]" in pip
    assert any("baukit" in line for line in pip)


def test_the_command_is_installed():
    (script,) = (e for e in metadata.entry_points(group="console_scripts") if e.name == "entrack")
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                f"import sys; sys.argv[0] = 'entrack'; from {script.module} import main; "
                "sys.exit(main(['--version']))"
            ),
        ],
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == f"entrack {PROJECT['version']}", run.stderr


def test_make_refuses_another_python(tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\ncase "$1" in -V) echo Python 3.8.1;; *) exit 1;; esac\n')
    old.chmod(0o755)
    run = subprocess.run(
        ["make", "html", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert (
        f"entrack needs Python 3.11 or 3.12; {old} is Python 3.8.1. Run: make"
        " PYTHON=/path/to/python3.11 html" in run.stderr
    )
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("command", ["make book", "make html", "make course", "make test"])
def test_readme_and_makefile_agree(command):
    assert command in (ROOT / "README.md").read_text()
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_no_file_names_a_place_of_one_machine():
    """Paths of the machine that made a result would mean nothing elsewhere."""
    here = re.compile(r"/(?:root|home|Users|work|tmp)/[\w.]")
    named = []
    for path in tracked():
        if path.suffix not in TRACKED_TEXT or "vendor" in path.parts or path == Path(__file__):
            continue
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            if here.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not named


def test_nothing_is_pickled():
    """Weights and results are safetensors, JSON or npz: loading one must never run code."""
    suffixes = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}
    assert not [path for path in tracked() if path.suffix in suffixes]
    loads = re.compile(r"pickle\.loads?\(|torch\.load\(|allow_pickle=True|trust_remote_code=True")
    assert not [
        path
        for path in tracked()
        if path.suffix == ".py"
        and path != Path(__file__)
        and loads.search(path.read_text(encoding="utf-8"))
    ]
