"""The entity-tracking circuit: four groups of heads, found by path patching from the answer backwards.

Stage A finds the heads that write the answer, B those that A's queries listen to, C those that B's values
listen to, D those that C's values listen to (paper, section 4.1). A *candidate* circuit keeps, per group, the
fewest heads that make up a given share of the group's helpful effect; the share is chosen on held-out prompts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from entrack.errors import ConfigError, SiteError
from entrack.models import Model
from entrack.path_patching import PathConfig, path_patching
from entrack.prompts import Prompts
from entrack.provenance import write_atomic
from entrack.results import HeadScores, stored
from entrack.sites import GROUPS, STRUCTURE_ROLES, Group, Head, check_heads


def role_of(group: str, structure_role: str) -> str:
    """The token role at which a group acts, given where structure readers do."""
    return structure_role if group == "structure_reader" else GROUPS[group].role


def check_structure_role(role: str) -> None:
    """Raise ConfigError unless structure readers may act at `role`."""
    if role not in STRUCTURE_ROLES:
        raise ConfigError(f"structure readers at {role!r}; allowed are {' and '.join(STRUCTURE_ROLES)}. Use one of them.")


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
            raise SiteError(f"a circuit of groups {', '.join(self.groups) or 'none'}; it has exactly {', '.join(GROUPS)}. Name all four.")

    @property
    def size(self) -> int:
        """Number of (group, head) items."""
        return sum(map(len, self.groups.values()))

    def role(self, group: str) -> str:
        """The token role at which a group of this circuit acts."""
        return role_of(group, self.structure_role)

    def at(self, role: str) -> frozenset[Head]:
        """Heads that are kept at a token role."""
        return frozenset(h for name, heads in self.groups.items() if self.role(name) == role for h in heads)

    def without(self, group: str, heads: Sequence[Head]) -> "Circuit":
        """This circuit less some heads of one group."""
        return replace(self, groups={**self.groups, group: tuple(h for h in self.groups[group] if h not in set(heads))})

    def only(self, group: str) -> "Circuit":
        """One group alone; the others empty."""
        return replace(self, groups={name: heads if name == group else () for name, heads in self.groups.items()})

    def save(self, path: Path) -> None:
        """Write as JSON, heads as "layer.head"."""
        tree = {"model": self.model, "structure_role": self.structure_role, "groups": {n: [str(h) for h in hs] for n, hs in self.groups.items()}}
        write_atomic(Path(path), (json.dumps(tree, indent=1) + "\n").encode())


def load_circuit(path: Path, model: Model) -> Circuit:
    """Read a circuit for `model`.

    Raises SiteError when the file is no circuit, or names heads that `model` does not have.
    """
    try:
        tree = json.loads(Path(path).read_text())
        circuit = Circuit({n: tuple(Head.parse(h) for h in hs) for n, hs in tree["groups"].items()}, tree["model"], tree["structure_role"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SiteError(f"{Path(path).name} is no circuit file ({error}); it must be JSON with 'model', 'structure_role' and 'groups'. Write it with Circuit.save.") from error
    for heads in circuit.groups.values():
        try:
            check_heads(heads, model.n_layers, model.n_heads)
        except SiteError as error:
            raise SiteError(f"the circuit of {circuit.model} does not fit {model.name}: {error}") from error
    return circuit


@dataclass(frozen=True)
class DiscoveryConfig:
    """How a circuit is discovered.

    Attributes:
        receiver_share: the receivers of the next stage are the fewest heads of a group that make up this
            share of its helpful effect (the paper picked 20, 5 and 10 heads by hand in Llama).
        structure_role: where structure readers are looked for, one of `sites.STRUCTURE_ROLES`.
        path: how path patching is done. Heads are ranked by log odds, which a few unsure pairs cannot dominate;
            the paper, with 300 pairs, ranks by the relative change of the probability.
    """

    receiver_share: float = 0.5
    structure_role: str = GROUPS["structure_reader"].role
    path: PathConfig = PathConfig(score="log_odds")

    def __post_init__(self) -> None:
        check_structure_role(self.structure_role)
        if not 0 < self.receiver_share <= 1:
            raise ConfigError(f"receiver_share {self.receiver_share}; allowed is more than 0 and at most 1. Use 0.5, say.")


@dataclass(frozen=True)
class Discovery:
    """The four score maps and who received in each stage.

    Attributes:
        scores: group name -> HeadScores of the stage that finds it.
        receivers: group name -> heads of the group before it that were its receivers (none for A).
        model: name of the model.
        structure_role: where structure readers were looked for.
    """

    scores: Mapping[str, HeadScores]
    receivers: Mapping[str, tuple[Head, ...]]
    model: str
    structure_role: str = GROUPS["structure_reader"].role

    def top(self, group: str, share: float) -> tuple[Head, ...]:
        """The fewest heads that make up `share` of a group's helpful (negative) effect, strongest first."""
        grid = self.scores[group].grid()
        helpful = [h for h in self.scores[group].ranked() if grid[h.layer, h.head] < 0]
        effects = np.array([-grid[h.layer, h.head] for h in helpful])
        if not len(effects):
            return ()
        n = int(np.searchsorted(effects.cumsum() / effects.sum(), share - 1e-9)) + 1
        return tuple(helpful[: min(n, len(helpful))])

    def candidate(self, share: float) -> Circuit:
        """The candidate circuit at a share; a head that is in B is not also counted in A, as in the paper."""
        groups = {name: self.top(name, share) for name in GROUPS}
        transmitters = set(groups["position_transmitter"])
        groups["value_fetcher"] = tuple(h for h in groups["value_fetcher"] if h not in transmitters)
        return Circuit({name: tuple(sorted(heads)) for name, heads in groups.items()}, self.model, self.structure_role)


def discover(model: Model, clean: Prompts, *, corrupt: Prompts, config: DiscoveryConfig = DiscoveryConfig()) -> Discovery:
    """The four stages of path patching, each stored as it is finished.

    Raises SiteError when a stage finds no head that helps, so that the next has no receivers.
    """
    scores: dict[str, HeadScores] = {}
    receivers: dict[str, tuple[Head, ...]] = {}
    partial = Discovery(scores, receivers, model.name, config.structure_role)
    for name, group in GROUPS.items():
        receivers[name] = () if group.receivers is None else partial.top(group.receivers, config.receiver_share)
        if group.receivers is not None and not receivers[name]:
            raise SiteError(f"no head of {group.receivers} helps {model.name}, so {name} has no receivers; each stage needs "
                            "some. Use more pairs, or a model that does the task.")
        scores[name] = _stage(model, clean, corrupt, group, role_of(name, config.structure_role), receivers[name], config.path)
    return partial


def _stage(
    model: Model, clean: Prompts, corrupt: Prompts, group: Group, role: str, receivers: tuple[Head, ...], config: PathConfig
) -> HeadScores:
    return stored(
        lambda: path_patching(model, clean, corrupt=corrupt, role=role, receivers=receivers, via=group.composition, config=config),
        name=f"path-{group.letter}", modules=["entrack.path_patching"],
        key=[model.digest, model.dtype, clean.tokens, corrupt.tokens, role, list(receivers), group.composition, config],
    )
