"""The log of models as HTML: families, and the cards and other training runs of their adapters.

Nothing is typed here: every number stands on a card beside an adapter, or in `runs.json`.
"""

from collections.abc import Mapping, Sequence

from entrack.display.tables import table_html
from entrack.versions.families import adapter_folder, families, family_file, family_path
from entrack.versions.weights import read_json
from entrack.versions.wheels import packages


def models_html() -> str:
    """For each family: its source and licence, and for each version how it was made and how well it
    does the task.
    """
    parts = []
    for family in families():
        described = family_file(family)
        source = described["source"]
        origin = (
            f"{source['file']} in {', '.join(packages(source))}"
            if source["kind"] == "wheel"
            else "the Hugging Face hub, or local folders"
        )
        cards = {version: _card(family, version) for version in described["versions"]}
        rows = [
            [
                version,
                about["title"],
                about["on"] or "-",
                *(_accuracies(cards[version]) if cards[version] else ["-", "-"]),
                "adapter in models/" if cards[version] else _origin(about, described),
            ]
            for version, about in described["versions"].items()
        ]
        asked = next(
            (card["accuracy"]["evaluation"]["alternative"] for card in cards.values() if card), None
        )
        scored = (
            f" Accuracy in the two text formats: {asked['n_prompts']} prompts of"
            f" {asked['n_scenes']} evaluation scenes, 95 % intervals over scenes."
            if asked
            else ""
        )
        parts.append(
            table_html(
                rows,
                [
                    "version",
                    "what it is",
                    "tuned from",
                    "alternative format",
                    "standard format",
                    "weights",
                ],
                caption=(
                    f"{described['title']} (family {family}). Terms: {described['licence']}."
                    f" Weights from {origin}.{scored} {described.get('note', '')}".strip()
                ),
            )
        )
        made = [[version, *_made(card)] for version, card in cards.items() if card]
        if made:
            parts.append(
                table_html(
                    made,
                    [
                        "version",
                        "data",
                        "steps",
                        "batch",
                        "rank, alpha",
                        "learning rate",
                        "seed",
                        "size",
                        "SHA-256, start",
                    ],
                    caption=(
                        f"How the adapters of {described['title']} were made: LoRA on q, k, v"
                        " and o."
                    ),
                )
            )
        runs = family_path(family).parent / family / "runs.json"
        parts += _other_runs(read_json(runs), cards) if runs.is_file() else []
    return "\n".join(parts)


def _other_runs(runs: Mapping[str, list[dict]], cards: Mapping[str, dict | None]) -> list[str]:
    """Tables of other seeds of the same recipes, and of what was tried; `models/README.md` tells
    about both.
    """
    seeds = [
        [
            version,
            f"{card['seed']}, kept" if card is cards[version] else str(card["seed"]),
            *_accuracies(card),
        ]
        for version, kept in cards.items()
        if kept
        for card in [kept, *(run for run in runs["seeds"] if run["name"] == version)]
        if runs["seeds"]
    ]
    tries = [
        [
            run["name"],
            run["changes"],
            *(
                f"{m['accuracy']:.2f},"
                f" {_interval(m['minus_on']['value'], m['minus_on']['interval_95'], '+.2f')}"
                for m in (
                    run["accuracy"]["validation"][format] for format in ("alternative", "standard")
                )
            ),
        ]
        for run in runs["tries"]
    ]
    asked = runs["tries"][0]["accuracy"]["validation"]["alternative"] if tries else {}
    return [
        *(
            [
                table_html(
                    seeds,
                    ["version", "seed", "alternative format", "standard format"],
                    caption=(
                        "The same recipes with other data and first weights: how far one training"
                        " run is from another. Prompts and intervals as above."
                    ),
                )
            ]
            if seeds
            else []
        ),
        *(
            [
                table_html(
                    tries,
                    [
                        "try",
                        "what it changes",
                        "alternative format, minus base",
                        "standard format, minus base",
                    ],
                    caption=(
                        "What was tried to explain the versions, each one thing away from its"
                        f" recipe: accuracy on {asked['n_prompts']} prompts of {asked['n_scenes']}"
                        " validation scenes, and the paired difference to base with its 95 %"
                        " interval over scenes."
                    ),
                )
            ]
            if tries
            else []
        ),
        *_full_tunes(runs["tries"]),
    ]


def _full_tunes(tries: Sequence[dict]) -> list[str]:
    """A table of the tries that trained every weight, which were asked on the evaluation scenes and
    held against the version of the same data that has an adapter.
    """
    rows = [
        [run["name"], format, _interval(m["accuracy"], m["interval_95"], ".2f")]
        + [
            _interval(m[key]["value"], m[key]["interval_95"], "+.2f")
            for key in ("minus_on", "minus_adapter")
        ]
        for run in tries
        for format, m in run["accuracy"].get("evaluation", {}).items()
        if "minus_adapter" in m
    ]
    if not rows:
        return []
    return [
        table_html(
            rows,
            ["try", "format", "accuracy", "minus the version it starts from", "minus the LoRA"],
            caption=(
                "Fine-tuned in every weight, without an adapter: accuracy on the evaluation scenes,"
                " and the paired differences to the version that it starts from and to the one"
                " that learnt from the same data by a LoRA, with 95 % intervals over scenes."
            ),
        )
    ]


def _card(family: str, version: str) -> dict | None:
    path = adapter_folder(family, version) / "card.json"
    return read_json(path) if path.is_file() else None


def _accuracies(card: dict) -> list[str]:
    measured = card["accuracy"]["evaluation"]
    return [
        _interval(m["accuracy"], m["interval_95"], ".2f")
        for m in (measured["alternative"], measured["standard"])
    ]


def _interval(value: float, interval: Sequence[float], spec: str) -> str:
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


def _made(card: dict) -> list[str]:
    recipe = card["recipe"]
    return [
        recipe["data"]["kind"],
        str(recipe["steps"]),
        str(recipe["batch"]),
        f"{recipe['rank']}, {recipe['alpha']}",
        f"{recipe['lr']:g}",
        str(recipe["seed"]),
        f"{card['adapter_bytes'] / 1e6:.1f} MB",
        card["adapter_sha256"][:12],
    ]


def _origin(about: dict, described: dict) -> str:
    if described["source"]["kind"] == "wheel":
        return "as shipped" if about["on"] is None else "its adapter is not here"
    revision = about.get("revision")
    return f"{about['hub']}" + (
        f" at revision {revision[:12]}" if revision else "; no revision is published: name one"
    )
