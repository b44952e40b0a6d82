"""What a cross-model patch puts in: heads at token roles, whole groups of a circuit or controls."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.model.decoder import Model
from entrack.model.edits import Edit
from entrack.patching.group_patching import selection
from entrack.sites import ACTING_ROLES, GROUPS, Head, all_heads, check_heads
from entrack.sites import group as group_named
from entrack.task.prompts import Prompts

INPUTS = ("z", "q", "k", "v", "qk", "qv", "kv", "qkv")


@dataclass(frozen=True)
class Cell:
    """One thing to hand over from donor to receiver.

    Attributes:
        label: what it is, for tables and figures.
        heads: role -> heads that are patched there.
        inputs: "z" for the heads' outputs, or which of their inputs, such as "q" or "qk".
    """

    label: str
    heads: Mapping[str, tuple[Head, ...]]
    inputs: str = "z"

    def __post_init__(self) -> None:
        if self.inputs not in INPUTS:
            raise ConfigError(
                f"inputs {self.inputs!r}; allowed are {', '.join(INPUTS)}. Use one of them."
            )
        if not any(self.heads.values()):
            raise SiteError(
                f"no heads in the cell {self.label!r}; something must be patched. Name heads that"
                " the models have."
            )
        if self.inputs != "z" and len(self.heads) > 1:
            raise ConfigError(
                f"inputs at {len(self.heads)} roles in the cell {self.label!r}; inputs are patched"
                " at one role. Make a cell for each."
            )


def group_cell(circuit: Circuit, *groups: str, inputs: str = "z") -> Cell:
    """A cell of whole groups of a circuit, by name or letter; no groups = the full circuit.

    Raises SiteError for a group that does not exist, or that has no heads in this circuit.
    """
    chosen = [group_named(name) for name in groups] or [
        g for g in GROUPS.values() if circuit.groups[g.name]
    ]
    heads: dict[str, tuple[Head, ...]] = {}
    for g in chosen:
        if not circuit.groups[g.name]:
            raise SiteError(
                f"the circuit of {circuit.model} has no heads in group {g.letter} {g.name}; a group"
                " that is patched needs some. Take another circuit, or leave this group out."
            )
        role = circuit.role(g.name)
        heads[role] = tuple(sorted({*heads.get(role, ()), *circuit.groups[g.name]}))
    name = "full circuit" if not groups else " and ".join(g.letter for g in chosen)
    return Cell(name if inputs == "z" else f"{inputs} of {name}", heads, inputs)


def other_cells(
    model: Model, circuit: Circuit, group: str, *, n_random: int = 3, seed: int = 0
) -> list[Cell]:
    """Controls for one group: `n_random` cells of as many heads outside the circuit at its role,
    then all of those.

    Raises SiteError when fewer heads are outside than in the group.
    """
    g = group_named(group)
    role = circuit.role(g.name)
    inside = circuit.at(role)
    outside = [h for h in all_heads(model.n_layers, model.n_heads) if h not in inside]
    size = len(circuit.groups[g.name])
    if size > len(outside):
        raise SiteError(
            f"{len(outside)} heads outside the circuit at {role}; a random group needs {size}. Take"
            " a smaller circuit."
        )
    generator = np.random.default_rng([seed, list(GROUPS).index(g.name)])
    drawn = [
        sorted(outside[int(i)] for i in generator.choice(len(outside), size=size, replace=False))
        for _ in range(n_random)
    ]
    cells = [
        Cell(f"random {g.letter} {i + 1}", {role: tuple(heads)}) for i, heads in enumerate(drawn)
    ]
    return [*cells, Cell(f"all others at {g.letter}", {role: tuple(outside)})]


def combinations_of(circuit: Circuit, strongest: Mapping[str, Head]) -> list[Cell]:
    """Every set of the circuit's groups as a cell labelled by their letters ("BC"), then each of
    the single heads `strongest` (group -> head) at its group's role ("B 19.1").

    Raises SiteError when the circuit has no heads at all.
    """
    letters = [g.letter for name, g in GROUPS.items() if circuit.groups[name]]
    sets = [chosen for n in range(len(letters)) for chosen in combinations(letters, n + 1)]
    cells = [replace(group_cell(circuit, *chosen), label="".join(chosen)) for chosen in sets]
    if not cells:
        raise SiteError(
            f"the circuit of {circuit.model} has no heads; there is nothing to replace. Take the"
            " circuit of a version that does the task."
        )
    return cells + [
        Cell(f"{GROUPS[name].letter} {head}", {circuit.role(name): (head,)})
        for name, head in strongest.items()
    ]


def check_cells(cells: Sequence[Cell], model: Model) -> None:
    """Raise ConfigError for no cells or two of one label, SiteError for a head that `model` does
    not have.
    """
    labels = [cell.label for cell in cells]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if not cells or twice:
        raise ConfigError(
            f"cells {', '.join(labels)}: {', '.join(twice)} twice; each needs its own label."
            " Leave the second out."
            if twice
            else "no cells; at least one is needed. Make one with group_cell."
        )
    for cell in cells:
        for heads in cell.heads.values():
            check_heads(heads, model.n_layers, model.n_heads)


def roles(cell: Cell) -> list[str]:
    """The token roles at which a cell patches, in the order of the text."""
    return [role for role in ACTING_ROLES if cell.heads.get(role)]


def together(cells: Sequence[Cell]) -> Iterator[list[int]]:
    """Indices of the cells that go through one replay as variants: those with the same earliest
    role, outputs and inputs apart.
    """
    for outputs in (True, False):
        for role in ACTING_ROLES:
            same = [
                i
                for i, cell in enumerate(cells)
                if (cell.inputs == "z") == outputs and roles(cell)[0] == role
            ]
            if same:
                yield same


def output_edits(
    model: Model,
    prompts: Prompts,
    cells: Sequence[Cell],
    *,
    values: Mapping[str, Tensor],
    positions: Tensor,
) -> list[Edit]:
    """Edits that put `values` into the heads of each cell, one variant per cell.

    Args:
        values: role -> what heads give there [layer example variant head d_head].
        positions: the replayed positions [example slot]; each role stands in one slot for all.
    """
    edits = []
    for role in ACTING_ROLES:
        masks = torch.stack([selection(model, cell.heads.get(role, ())) for cell in cells]).to(
            model.device
        )  # [variant layer head]
        for layer in masks.any(2).any(0).nonzero()[:, 0].tolist():
            slot = int((prompts.at(role) - positions[:, 0])[0])
            edits.append(Edit("z", layer, slot, values[role][layer], masks[None, :, layer]))
    return edits
