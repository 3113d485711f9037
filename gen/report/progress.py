"""The best value so far against what was paid for it: device-seconds, and epochs of all runs together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gen.report.facts import Experiment, Facts
from gen.report.section import Plot, Section, plain, render
from gen.report.thin import thin
from gen.report.words import left_out

MOST = 600  # points of a curve, or of a cloud


def section(facts: Facts) -> Section | None:
    """Curves of the best so far, one an experiment; None before two runs have ended."""
    paid = {one.name: spent(one) for one in facts.experiments}
    paid = {name: frame for name, frame in paid.items() if len(frame) > 1}
    if not paid:
        return None
    plots = [plot(facts, paid, "device_seconds", "device-seconds"), plot(facts, paid, "epochs", "epochs of all runs")]
    return Section(
        "Progress",
        "progress",
        render(
            "progress.html",
            plots=plots,
            metric=facts.first.metric,
            unit=facts.first.unit,
            left_out={one.name: line for one in facts.experiments if (line := left_out(one))},
        ),
        plots,
    )


def spent(experiment: Experiment) -> pd.DataFrame:
    """One row for each run of the search that ended with a value, in the order of ends: its `value`, the `best` so far,
    and what all of the search's runs that had ended cost by then, `device_seconds` and `epochs`."""
    ended = experiment.searched[experiment.searched["ended"].notna()].sort_values("ended", kind="stable")
    value = ended["best"].to_numpy(dtype=float)
    best = np.fmin.accumulate(value) if experiment.mode == "min" else np.fmax.accumulate(value)
    costs = {name: np.nancumsum(ended[name].to_numpy(dtype=float)) for name in ("device_seconds", "epochs")}
    frame = pd.DataFrame({"run": ended["run"].to_numpy(), "value": value, "best": best, **costs})
    return frame[np.isfinite(best)].reset_index(drop=True)


def plot(facts: Facts, paid: dict[str, pd.DataFrame], column: str, words: str) -> Plot:
    """The best so far against one kind of cost."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, frame in paid.items():
        kept = frame.iloc[thin(len(frame), MOST, frame["best"].to_numpy())]
        several = len(paid) > 1
        if not several:
            cloud = frame.iloc[thin(len(frame), MOST)]
            figure.add_scatter(
                x=cloud[column], y=cloud["value"], mode="markers", name="each run", marker={"size": 6, "opacity": 0.7}
            )
        figure.add_scatter(
            x=kept[column], y=kept["best"], mode="lines", line={"shape": "hv", "width": 2.5},
            name=plain(name) if several else "best so far",
        )  # fmt: skip
    figure.update_layout(xaxis={"title": words}, yaxis={"title": plain(facts.first.metric)})
    alternative = "; ".join(
        f"{name}: the best is {frame['best'].iloc[-1]:.4g} after {frame[column].iloc[-1]:.4g} {words}"
        for name, frame in paid.items()
    )
    return Plot(f"progress-{column}", f"Best value so far against {words}.", alternative, figure)
