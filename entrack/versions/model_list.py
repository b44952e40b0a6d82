"""What `entrack models` prints: families, their versions, where the weights are, what they need."""

import torch

from entrack.versions.families import families, family_file, family_path, focus, reference
from entrack.versions.whereabouts import Needs, needs, whereabouts


def models_text() -> str:
    """All families, each with its versions and where their weights are."""
    return "\n\n".join(_family_lines(family) for family in families())


def family_text(family: str) -> str:
    """One family in detail. Raises ModelError for an unknown one."""
    described, found = family_file(family), needs(family)
    lines = [_family_lines(family), ""]
    lines.append(f"  file        {family_path(family).name}")
    lines.append(f"  reference   {reference(family)}, the version that others are compared with")
    lines.append(f"  focus       {focus(family)}, the version whose gain the chapters look into")
    lines.append(f"  structure   read at {described['structure_role']}")
    lines.append(f"  whole       {found.whole} of the versions; the others are adapters")
    lines.append(f"  download    {_size(found.download)} for a whole one")
    lines.append(f"  disk        {_size(found.disk)} for a whole one")
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        lines.append(f"  memory      {_size(found.memory(dtype))} a version in {name}")
    return "\n".join(lines)


def _family_lines(family: str) -> str:
    described = family_file(family)
    places = whereabouts(family)
    width = max(len(found.version) for found in places)
    return "\n".join(
        [
            f"{family}  {described['title']}",
            f"  terms: {described['licence']}; {_brief(needs(family))}",
            *(
                f"  {found.version:{width}}  {described['versions'][found.version]['title']}\n"
                f"  {'':{width}}  {found.place}"
                for found in places
            ),
        ]
    )


def _brief(found: Needs) -> str:
    if found.parameters is None:
        return "size unknown until its config is here"
    million = found.parameters >= 1e6
    count = f"{found.parameters / 1e6:,.0f} million" if million else f"{found.parameters:,}"
    memory = found.memory(torch.float32), found.memory(torch.bfloat16)
    return (
        f"{count} parameters, {_size(memory[0])} of memory in float32"
        f" and {_size(memory[1])} in bfloat16"
    )


def _size(count: int | None) -> str:
    if not count:
        return "unknown" if count is None else "nothing"
    return f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e9:.2f} GB"
