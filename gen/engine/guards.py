"""The figures of a tick that tell of a collapse."""

from __future__ import annotations

from collections.abc import Mapping

GUARDS = ("active_units", "least_rate", "used", "perplexity", "revived")  # names of figures that tell of a collapse


def guards(metrics: Mapping[str, float], evals: Mapping[str, float]) -> dict[str, float]:
    """The figures that tell of a collapse, as far as the model has them: "least_rate" and "revived" from the logs of
    training ("phase/name"), the others from held-out images ("name/subject")."""
    by_name = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    by_name |= {name.partition("/")[0]: value for name, value in evals.items()}
    return {name: by_name[name] for name in GUARDS if name in by_name}
