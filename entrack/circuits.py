"""A circuit: which heads of a model belong to which group, and at which token each group acts.

The type stands apart from how circuits are found (`entrack.circuit.discovery`), so that patching
can take one without knowing about the search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from entrack.errors import ConfigError, SiteError
from entrack.sites import GROUPS, STRUCTURE_ROLES, Head


def role_of(group: str, structure_role: str) -> str:
    """The token role at which a group acts, given where structure readers do."""
    return structure_role if group == "structure_reader" else GROUPS[group].role


def reads_from(group: str, structure_role: str) -> str:
    """The token role that a group should attend to if it does its job (paper, section 5): A the
    right object, B the query label, C where structure readers act, D the earlier label, or the
    object of its own segment where it acts at that label itself.
    """
    segment = {"prev_query_label": "correct_object"}
    return {
        "value_fetcher": "correct_object",
        "position_transmitter": "query_label",
        "position_detector": structure_role,
        "structure_reader": segment.get(structure_role, "prev_query_label"),
    }[group]


def check_structure_role(role: str) -> None:
    """Raise ConfigError unless structure readers may act at `role`."""
    if role not in STRUCTURE_ROLES:
        raise ConfigError(
            f"structure readers at {role!r}; allowed are {' and '.join(STRUCTURE_ROLES)}. Use one"
            " of them."
        )


@dataclass(frozen=True)
class Circuit:
    """Heads of each group of a model.

    Attributes:
        groups: group name -> heads, all four groups, sorted.
        model: name of the model it was found in.
        structure_role: where its structure readers act, one of `sites.STRUCTURE_ROLES`.
    """

    groups: Mapping[str, tuple[Head, ...]]
    model: str
    structure_role: str = GROUPS["structure_reader"].role

    def __post_init__(self) -> None:
        check_structure_role(self.structure_role)
        if set(self.groups) != set(GROUPS):
            raise SiteError(
                f"a circuit of groups {', '.join(self.groups) or 'none'}; it has exactly"
                f" {', '.join(GROUPS)}. Name all four."
            )

    @property
    def size(self) -> int:
        """Number of (group, head) items."""
        return sum(map(len, self.groups.values()))

    def role(self, group: str) -> str:
        """The token role at which a group of this circuit acts."""
        return role_of(group, self.structure_role)

    def at(self, role: str) -> frozenset[Head]:
        """Heads that are kept at a token role."""
        return frozenset(
            h for name, heads in self.groups.items() if self.role(name) == role for h in heads
        )

    def median_layer(self, group: str) -> float:
        """Median layer of a group's heads; NaN for a group without heads."""
        layers = [head.layer for head in self.groups[group]]
        return float(median(layers)) if layers else float("nan")

    def without(self, group: str, heads: Sequence[Head]) -> "Circuit":
        """This circuit less some heads of one group."""
        return replace(
            self,
            groups={
                **self.groups,
                group: tuple(h for h in self.groups[group] if h not in set(heads)),
            },
        )

    def only(self, group: str) -> "Circuit":
        """One group alone; the others empty."""
        return replace(
            self,
            groups={name: heads if name == group else () for name, heads in self.groups.items()},
        )
