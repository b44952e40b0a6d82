"""How many more examples would decide: what an interval that leaves a question open would need."""

import math

from entrack.errors import ConfigError
from entrack.stats.metrics import Estimate


def units_needed(estimate: Estimate, *, n_units: int, to_exclude: float) -> int | None:
    """How many units (scenes, say) an estimate like this one needs for its interval to leave a
    value out. Ours.

    A width goes with one over the root of the number of units, so this is the number at which half
    the width is the distance to the value, if value and spread stayed as they are. They do not: the
    number is as unsure as the estimate, and says of which order the effort is. Not more than
    `n_units` where the interval leaves the value out already.

    Args:
        n_units: what the estimate's interval was made from; not its `n` where there are clusters.
        to_exclude: the value, such as 0.

    Returns: at least 2; None where the estimate equals the value, so that no number is enough.

    Raises ConfigError for an interval of fewer than two units, or without bounds."""
    if n_units < 2 or not math.isfinite(estimate.half_width):
        raise ConfigError(
            f"an interval of half width {estimate.half_width} over {n_units} units; how many are"
            " needed can be told from two or more whose interval has bounds. Take more scenes."
        )
    distance = abs(estimate.value - to_exclude)
    if not distance:
        return None
    return max(2, math.ceil(n_units * (estimate.half_width / distance) ** 2))
