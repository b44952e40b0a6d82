"""The records of many runs, read and put together into one.

A record is what `entrack run --claims` leaves (`book.execution.run_record`). Here they are only
read: what is damaged or of another format is refused, so that no page draws from it."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from entrack.book.execution import RECORD_FORMAT
from entrack.errors import DataError, EntrackError
from entrack.store.digests import write_atomic

HEADS = ("circuit_heads", "own_heads")
"""What chapters glue of their circuits, as `tables.circuit.heads_by_name` words it."""

_NEEDED = {
    "chapter": str,
    "parameters": dict,
    "stamp": dict,
    "execution": dict,
    "claims": list,
    "numbers": dict,
}


def read_record(path: Path) -> dict:
    """The record of one run. Raises DataError when it is missing, damaged or of another format."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"no record of a run in {path}; `entrack run --claims {path}` writes one."
        ) from None
    except ValueError:
        raise DataError(f"{path} is not JSON, so no record of a run. Run it again.") from None
    found = record.get("format") if isinstance(record, dict) else None
    if found != RECORD_FORMAT:
        raise DataError(
            f"{path} has format {found}; this entrack reads {RECORD_FORMAT}. Run it again."
        )
    for name, kind in _NEEDED.items():
        if not isinstance(record.get(name), kind):
            raise DataError(f"{path} has no {name!r}, which a record of a run holds. Run it again.")
    return record


def collect(paths: Mapping[str, Path]) -> dict:
    """{"format", "runs": {name: record}} of the records, in the order given.

    paths: {name of the run: its file}. Raises DataError for one that cannot be read.
    """
    return {
        "format": RECORD_FORMAT,
        "runs": {name: read_record(path) for name, path in paths.items()},
    }


def stable(collected: Mapping) -> dict:
    """The part of `collect`'s answer that is committed: claims, with what made them and on what.

    Each run keeps chapter, parameters, claims, the circuits that it names (`HEADS`), the digest of
    all that went in, package versions, the date and the machine; digests of single modules and the
    other glued numbers are left out.
    """
    runs = {}
    for name, record in collected["runs"].items():
        execution = record["execution"]
        told = ("executed", "device", "device_name", "seconds", "seconds_from_nothing")
        runs[name] = {
            "chapter": record["chapter"],
            "parameters": record["parameters"],
            "made_by": {
                "inputs": execution["stamp"],
                "versions": record["stamp"]["versions"],
                **{key: execution[key] for key in told if key in execution},
            },
            "claims": record["claims"],
            "heads": {name: text for name, text in record["numbers"].items() if name in HEADS},
        }
    return {"format": collected["format"], "runs": runs}


def write_record(path: str | Path, record: Mapping) -> None:
    """A record as JSON in the order of its keys, so that two compare line by line."""
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomic(path, (text + "\n").encode())


def main(arguments: Sequence[str]) -> int:
    """`FOLDER OUT STABLE NAME...`: collect FOLDER/NAME.json of each name into OUT, small in STABLE.

    Returns 0, or 1 and a sentence on the error stream where a record cannot be read.
    """
    folder, out, small, *names = arguments
    try:
        collected = collect({name: Path(folder, f"{name}.json") for name in names})
        write_record(small, stable(collected))
        write_record(out, collected)
    except EntrackError as error:
        print(f"entrack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
