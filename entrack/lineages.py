"""Lineages that repeat another one, with seeds further on.

The file of such a family says so: `"repeats": {"family": "smollm2-unprimed", "seeds_on": 2}`. Its
versions then have the recipes of that family, each with a seed so much higher. So another seed of a
lineage needs a file in `models/`, and no code."""

from entrack.errors import ModelError
from entrack.finetune.recipes import RECIPES, Recipe
from entrack.versions.families import family_file


def repeated(family: str) -> dict[str, Recipe]:
    """The recipes that the file of `family` takes from another family, by version, in its order;
    {} where it repeats none.

    Raises ModelError for an unknown family, and where what is repeated has no recipe or is no whole
    number of seeds further on.
    """
    described = family_file(family)
    if "repeats" not in described:
        return {}
    told = described["repeats"]
    source, further = (
        (told.get("family"), told.get("seeds_on")) if isinstance(told, dict) else (None, None)
    )
    if source not in RECIPES or source == family:
        raise ModelError(
            f"{family}.json repeats family {source!r}; there are recipes for"
            f" {', '.join(f for f in RECIPES if f != family)}. Name one of those."
        )
    if type(further) is not int or further < 1:
        raise ModelError(
            f'{family}.json repeats {source} with "seeds_on" {further!r}; it takes a whole number'
            " from 1. Write how much higher its seeds are."
        )
    made = [name for name, about in described["versions"].items() if about["on"] is not None]
    unknown = [name for name in made if name not in RECIPES[source]]
    if unknown:
        raise ModelError(
            f"{family}.json has a version {unknown[0]!r}, and {source}, which it repeats, has"
            f" recipes for {', '.join(RECIPES[source])}. Take it out."
        )
    return {
        name: RECIPES[source][name].changed(seed=RECIPES[source][name].seed + further)
        for name in made
    }


def add_repeated(family: str) -> None:
    """Give `recipes.RECIPES` the recipes of `family`, if it repeats another; else do nothing.

    Raises as `repeated` does.
    """
    if found := repeated(family):
        RECIPES[family] = found


def origin(family: str) -> tuple[str, int]:
    """The family whose recipes the versions of `family` have, and how much higher their seeds are:
    itself and 0 where its file repeats no other.

    Raises as `repeated` does.
    """
    if not repeated(family):
        return family, 0
    told = family_file(family)["repeats"]
    return told["family"], told["seeds_on"]
