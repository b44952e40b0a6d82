"""What follows from the published numbers without being printed: gains, gaps closed, scores less
their floor.

Models are keyed by their titles, such as "Goat-7B". All values are shares of prompts.
"""

from collections.abc import Iterable, Mapping

from entrack.paper import published
from entrack.sites import GROUPS

RECEIVER = "llama"
"""The model that receives in the paper's Figure 4, and whose circuit its Figure 3 patches."""


def title(model: str) -> str:
    """How the paper names one of its models."""
    return published.models().values[model]["title"]


def cmap_gains(part: str) -> dict[str, float]:
    """Accuracy of Llama with a part ("value_fetcher", ..., "full_circuit") of each donor, less
    Llama's own (Figure 4, Table 1).
    """
    alone = published.table1().values[RECEIVER].full
    return {
        title(donor): parts[part].accuracy - alone
        for donor, parts in published.cmap().values.items()
    }


def gap_closed() -> dict[str, float]:
    """Share of the gap from Llama to each donor that the full circuit closes."""
    alone = {model: row.full for model, row in published.table1().values.items()}
    return {
        title(donor): (parts["full_circuit"].accuracy - alone[RECEIVER])
        / (alone[donor] - alone[RECEIVER])
        for donor, parts in published.cmap().values.items()
    }


def cmap_rows() -> list[list]:
    """Figure 4 as rows: donor and part, accuracy of Llama, gain, number of heads."""
    return [
        [
            f"{title(donor)}: {GROUPS[part].letter if part in GROUPS else 'full circuit'}",
            cell.accuracy,
            f"{cmap_gains(part)[title(donor)]:+.2f}",
            cell.heads or "all groups",
        ]
        for donor, parts in published.cmap().values.items()
        for part, cell in parts.items()
    ]


def input_rows() -> list[list]:
    """Goat's q, k and v in Llama, from earlier commits: group and input, accuracy of Llama."""
    return [
        [f"{GROUPS[group].letter}: {inputs}", accuracy]
        for group, cells in published.cmap_earlier().values["input"].items()
        for inputs, accuracy in cells.items()
    ]


def position_floor() -> float:
    """The position score with nothing patched: that of the value fetchers, of which DCM selected no
    head. The object's floor is not published.
    """
    return published.dcm().values[RECEIVER]["value_fetcher"]["position"].accuracy


def dcm_words(group: str, target: str) -> str:
    """Llama's DCM score with the heads that it selected: "0.36 (5 of 7)"; "void" for the label,
    whose answer the released code scored as a token that no model gives.
    """
    if target == "label":
        return "void"
    selected = published.dcm().values[RECEIVER][group][target]
    return f"{selected.accuracy:.2f} ({len(selected.heads)} of {selected.group})"


def dcm_score(group: str, target: str) -> str:
    """The same score with its floor: "0.36 (floor 0.13)"."""
    floor = f"floor {position_floor():.2f}" if target == "position" else "floor unknown"
    return f"{published.dcm().values[RECEIVER][group][target].accuracy:.2f} ({floor})"


def fetching_gain(model: str) -> float:
    """How much more often than Llama one of the paper's models names the source's object with the
    value fetchers of Llama's circuit patched (Figure 3).
    """
    scores = published.activation_patching().values[RECEIVER]
    first, second = (scores[m]["value_fetcher"]["object"].mean for m in (model, RECEIVER))
    return (first - second) / 100


def above_floor(groups: Iterable[str]) -> dict[str, dict[tuple[str, str], float]]:
    """Figure 3, per model: (group, desideratum) -> mean score of its runs with the heads of Llama's
    circuit patched. The position's floor is subtracted; the label's scores are void and absent.
    """
    floors = {"object": 0.0, "position": position_floor()}
    groups = list(groups)
    return {
        title(model): {
            (group, target): scores[group][target].mean / 100 - floor
            for group in groups
            for target, floor in floors.items()
        }
        for model, scores in published.activation_patching().values[RECEIVER].items()
    }


def wordings_above_floor(names: Iterable[str]) -> dict[str, float]:
    """Position score of Llama's transmitters less its floor, by wording of the source."""
    values = published.variations().values
    return {name: values[name].patched.mean / 100 - position_floor() for name in names}


def in_words(values: Mapping[str, float], spec: str = "+.2f") -> str:
    """Numbers with their models: "+0.16 (Goat-7B), +0.16 (FLoat-7B)"."""
    return ", ".join(f"{value:{spec}} ({name})" for name, value in values.items())


def kept_wordings(names: Iterable[str]) -> int:
    """How many of the reworded sources keep half of the plain score in Llama."""
    scores = wordings_above_floor(["position", *names])
    return sum(score > scores["position"] / 2 for name, score in scores.items()) - 1
