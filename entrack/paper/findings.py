"""What follows from the published numbers without being printed: gains, gaps closed, scores less
their floor.

Models are keyed by their titles, such as "Goat-7B". All values are shares of prompts.
"""

from collections.abc import Iterable, Mapping

from entrack.paper import published

Edge = tuple[str, str]

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


def gains(*models: str) -> str:
    """Accuracy of the paper's models less its Llama's (Table 1), in words."""
    full = {model: row.full for model, row in published.table1().values.items()}
    return ", ".join(f"{title(model)} {full[model] - full[RECEIVER]:+.2f}" for model in models)


def circuit_over_base() -> str:
    """Accuracy of Llama's circuit alone in each fine-tuned model, less that of the whole Llama
    (Table 1), in words.
    """
    rows = published.table1().values
    more = {
        title(model): row.circuit - rows[RECEIVER].full
        for model, row in rows.items()
        if model != RECEIVER
    }
    return in_words(more)


def ends_over_middle() -> tuple[float, float]:
    """Accuracy where the first box is asked for, and where the last is, each less that of the boxes
    between, on an earlier set of prompts.
    """
    first, *middle, last = published.accuracy_by_position().values["by_position"]
    between = sum(middle) / len(middle)
    return first - between, last - between


def knockout_curve(edge: Edge) -> tuple[float, ...] | None:
    """Llama's accuracy by first blocked layer; None for an edge that the paper does not block."""
    return published.knockout().values.get("_to_".join(edge))


def knockout_change(edge: Edge) -> float | None:
    """Change of Llama's accuracy with an edge blocked in all layers; None for an edge that the
    paper does not block.
    """
    curve = knockout_curve(edge)
    return None if curve is None else curve[0] - published.table1().values[RECEIVER].full


def knockout_half_way(edge: Edge) -> float | None:
    """Depth (0 to 1) at which half of what blocking everywhere costs is made up for in the paper's
    curve; None for an edge that it does not block, or that costs less than 0.05.
    """
    curve, whole = knockout_curve(edge), published.table1().values[RECEIVER].full
    if curve is None or whole - curve[0] < 0.05:
        return None
    level = (curve[0] + whole) / 2
    return next(i for i, accuracy in enumerate(curve) if accuracy >= level) / len(curve)


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


def masked_wordings(names: Iterable[str]) -> dict[str, str]:
    """The score less its floor of the mask that DCM learned for each wording, and its heads:
    "+0.23 (5 of 7)".
    """
    values = published.variations().values
    size = published.dcm().values[RECEIVER]["position_transmitter"]["position"].group
    return {
        name: f"{values[name].dcm_accuracy - position_floor():+.2f}"
        f" ({len(values[name].heads)} of {size})"
        for name in names
    }


def in_words(values: Mapping[str, float], spec: str = "+.2f") -> str:
    """Numbers with their models: "+0.16 (Goat-7B), +0.16 (FLoat-7B)"."""
    return ", ".join(f"{value:{spec}} ({name})" for name, value in values.items())


def kept_wordings(names: Iterable[str]) -> int:
    """How many of the reworded sources keep half of the plain score in Llama."""
    scores = wordings_above_floor(["position", *names])
    return sum(score > scores["position"] / 2 for name, score in scores.items()) - 1


def slip_effects() -> dict[str, str]:
    """What the paper's own numbers say of a slip, by the slug of the claim about it."""
    void = [
        cell["label"].mean
        for row in published.activation_patching().values.values()
        for groups in row.values()
        for cell in groups.values()
    ]
    altered = published.variations().values["altered_box_obj_order"]
    kept = []
    for model in ("goat", "float"):
        groups = published.minimality().values[model].values()
        at_0, at_1 = (
            sum(getattr(group, f"kept_at_{percent}_percent") for group in groups)
            for percent in (0, 1)
        )
        kept.append(f"{at_0} against {at_1} heads in {title(model)}")
    return {
        "slip_label": f"in the paper at most {max(void):.2f} % in all {len(void)} cells",
        "slip_position": f"in the paper {position_floor():.3f} with no head patched",
        "slip_padded": (
            f"in the paper {altered.dcm_accuracy:.2f} becomes {altered.patched.mean / 100:.2f}"
        ),
        "slip_threshold": f"in the paper {' and '.join(kept)}",
    }
