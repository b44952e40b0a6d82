"""Where the strongest heads of a circuit look, beside where their group should look.

Attention is not effect: a head may work without reading where its group is said to. This puts the
two side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from entrack.circuit.search import FoundCircuit
from entrack.circuits import reads_from
from entrack.model.decoder import Model
from entrack.model.sites import GROUPS, Head
from entrack.patching.attention_mass import attention_mass
from entrack.stats.metrics import Estimate
from entrack.task.prompts import Prompts


@dataclass(frozen=True)
class HeadAttention:
    """What one head of a circuit attends to.

    Attributes:
        group: name of the head's group.
        head: the head.
        role: the token at which it acts, and from which it looks.
        wanted: the token that its group should read.
        shares: mean attention to each of `attention_mass.KINDS`, over prompts.
    """

    group: str
    head: Head
    role: str
    wanted: str
    shares: Mapping[str, Estimate]

    @property
    def name(self) -> str:
        """The head with its group's letter, such as "B 19.1"."""
        return f"{GROUPS[self.group].letter} {self.head}"

    def to(self, kind: str) -> Estimate:
        """Mean attention to one kind of token; the head's own token is the kind "itself"."""
        return self.shares["itself" if kind == self.role else kind]


def attention_of_strongest(
    model: Model, prompts: Prompts, *, found: FoundCircuit, per_group: int = 2
) -> tuple[HeadAttention, ...]:
    """Attention of the strongest kept heads of each group, from the token where the group acts.

    A group from which pruning left nothing has no row. Cost: one forward pass per prompt and token
    role; stored.
    """
    circuit, looks = found.circuit, []
    for name in GROUPS:
        role = circuit.role(name)
        for head in found.kept(name)[:per_group]:
            shares = attention_mass(model, prompts, role=role).of([head])
            wanted = reads_from(name, circuit.structure_role)
            looks.append(HeadAttention(name, head, role, wanted, shares))
    return tuple(looks)
