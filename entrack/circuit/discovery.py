"""The entity-tracking circuit: four groups of heads, found by path patching from the answer
backwards.

Stage A finds the heads that write the answer, B those that A's queries listen to, C those that B's
values listen to, D those that C's values listen to (paper, section 4.1). A *candidate* circuit
keeps, per group, the fewest heads that make up a given share of the group's helpful effect; the
share is chosen on held-out prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entrack.circuits import Circuit, check_structure_role, role_of
from entrack.errors import ConfigError, SiteError
from entrack.model.decoder import Model
from entrack.patching.head_scores import HeadScores
from entrack.patching.path_patching import PathConfig, path_patching
from entrack.sites import GROUPS, Head
from entrack.store.results import stored
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class DiscoveryConfig:
    """How a circuit is discovered.

    Attributes:
        receiver_share: the receivers of the next stage are the fewest heads of a group that make up
            this share of its helpful effect (the paper picked 20, 5 and 10 heads by hand in Llama).
        structure_role: where structure readers are looked for, one of `sites.STRUCTURE_ROLES`.
        path: how path patching is done. Heads are ranked by log odds, which a few unsure pairs
            cannot dominate; the paper, with 300 pairs, ranks by the relative change of the
            probability.
    """

    receiver_share: float = 0.5
    structure_role: str = GROUPS["structure_reader"].role
    path: PathConfig = PathConfig(score="log_odds")

    def __post_init__(self) -> None:
        check_structure_role(self.structure_role)
        if not 0 < self.receiver_share <= 1:
            raise ConfigError(
                f"receiver_share {self.receiver_share}; allowed is more than 0 and at most 1. Use"
                " 0.5, say."
            )


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
        """The fewest heads that make up `share` of a group's helpful (negative) effect, strongest
        first.
        """
        grid = self.scores[group].grid()
        helpful = [h for h in self.scores[group].ranked() if grid[h.layer, h.head] < 0]
        effects = np.array([-grid[h.layer, h.head] for h in helpful])
        if not len(effects):
            return ()
        n = int(np.searchsorted(effects.cumsum() / effects.sum(), share - 1e-9)) + 1
        return tuple(helpful[: min(n, len(helpful))])

    def candidate(self, share: float) -> Circuit:
        """The candidate circuit at a share; a head that is in B is not also counted in A, as in the
        paper.
        """
        groups = {name: self.top(name, share) for name in GROUPS}
        transmitters = set(groups["position_transmitter"])
        groups["value_fetcher"] = tuple(h for h in groups["value_fetcher"] if h not in transmitters)
        return Circuit(
            {name: tuple(sorted(heads)) for name, heads in groups.items()},
            self.model,
            self.structure_role,
        )


def discover(
    model: Model, clean: Prompts, *, corrupt: Prompts, config: DiscoveryConfig = DiscoveryConfig()
) -> Discovery:
    """The four stages of path patching, each stored as it is finished.

    Raises SiteError when a stage finds no head that helps, so that the next has no receivers.
    """
    scores: dict[str, HeadScores] = {}
    receivers: dict[str, tuple[Head, ...]] = {}
    partial = Discovery(scores, receivers, model.name, config.structure_role)
    for name, group in GROUPS.items():
        receivers[name] = (
            () if group.receivers is None else partial.top(group.receivers, config.receiver_share)
        )
        if group.receivers is not None and not receivers[name]:
            raise SiteError(
                f"no head of {group.receivers} helps {model.name}, so {name} has no receivers; each"
                " stage needs some. Use more pairs, or a model that does the task."
            )
        scores[name] = stage_scores(
            model,
            clean,
            corrupt=corrupt,
            role=role_of(name, config.structure_role),
            receivers=receivers[name],
            via=group.composition,
            config=config.path,
        )
    return partial


@stored("path")
def stage_scores(
    model: Model,
    clean: Prompts,
    *,
    corrupt: Prompts,
    role: str,
    receivers: Sequence[Head],
    via: str,
    config: PathConfig,
) -> HeadScores:
    """One stage: `path_patching.path_patching` with these arguments. Stored."""
    return path_patching(
        model, clean, corrupt=corrupt, role=role, receivers=receivers, via=via, config=config
    )
