"""Searches compared at equal budgets: of each row as many configurations as the same device-seconds pay for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gen.results.queries import read, runs
from gen.results.ranking import device_costs
from gen.results.storage import Storage

HALF = 0.5**30  # of a budget: what sums of seconds may be off by
NAMED = 5  # runs in a line


def spending(storage: Storage, names: Sequence[str]) -> pd.DataFrame:
    """One row for each run of the experiments: `run`, `data`, its device-seconds as `cost` (with those of measuring; 0
    until it ends) and `order`, the number of its first beginning: experiment by experiment, attempt by attempt, and in
    each in the order of time."""
    parts = list[pd.DataFrame]()
    for name in names:
        begun = runs(storage, name, ["run", "data"]).merge(
            read(storage, name, "runs", columns=["run", "attempt", "started"]).groupby("run", as_index=False).min()
        )
        cost = begun["run"].map(device_costs(storage, name)).astype(float).fillna(0.0)
        parts.append(begun.assign(cost=cost))
        parts[-1] = parts[-1].sort_values(["attempt", "started", "run"], kind="stable")
    frame = pd.concat(parts, ignore_index=True).drop_duplicates("run", ignore_index=True)
    return frame.assign(order=np.arange(len(frame)))[["run", "data", "cost", "order"]]


def within_budget(
    frame: pd.DataFrame, by: Sequence[str], device_seconds: float | None
) -> tuple[pd.Series[bool], dict[str, float]]:
    """Which runs are of configurations that an equal budget pays for, and data set -> that budget in device-seconds.

    A row of the comparison is the runs with the same values of `by` and `data`. Its configurations are taken in the
    order in which they began, each with all of its search's seeds, as long as the sum of their costs is within the
    budget, and at least the first one: there is no row without. The budget is `device_seconds`; None: in each data set
    what the search of that row cost which cost least, of the rows with a `value`. Runs that are `fresh` cost a search
    nothing."""
    row = [*by, "data"]
    searched = frame.assign(cost=frame["cost"].where(~frame["fresh"], 0.0), has=frame["value"].notna())
    whole = searched.groupby(row, dropna=False, as_index=False).agg(cost=("cost", "sum"), has=("has", "any"))
    whole = whole[whole["has"] & (whole["cost"] > 0)]
    least = whole.groupby("data")["cost"].min()
    budget = {str(data): float(cost) if device_seconds is None else device_seconds for data, cost in least.items()}
    each = searched.groupby([*row, "configuration"], dropna=False, as_index=False).agg(
        cost=("cost", "sum"), order=("order", "min")
    )
    each = each.sort_values("order", kind="stable")
    rows = each.groupby(row, dropna=False)
    limit = each["data"].map(budget).astype(float).fillna(np.inf) * (1 + HALF)
    each["within"] = (rows["cost"].cumsum() <= limit) | (rows.cumcount() == 0)
    found = frame.merge(each[[*row, "configuration", "within"]], on=[*row, "configuration"], how="left")["within"]
    return pd.Series(found.to_numpy(dtype=bool), index=frame.index), budget


def budget_lines(table: pd.DataFrame) -> list[str]:
    """What a comparison leaves out for the sake of equal budgets, and which of its rows are of more, counted."""
    shown = ", ".join(f"{seconds:.6g}" for seconds in sorted(table["budget"].dropna().unique()))
    left, of = int(table["left_out"].sum()), int(table["left_out"].sum() + table["configurations"].sum())
    over = int((table["device_seconds"] > table["budget"] * (1 + HALF)).sum())
    lines = list[str]()
    if left:
        lines.append(
            f"left out: {left} of {of} configurations, which began after the equal budget of {shown} device-seconds "
            "was spent; results.compare(device_seconds=math.inf) takes all"
        )
    if over:
        told = f"{over} of {len(table)} rows, whose first configuration alone took it"
        lines.append(f"of more than the equal budget of {shown} device-seconds: {told}")
    if runs := table.attrs["unmeasured"]:
        told = ", ".join(runs[:NAMED]) + (f" and {len(runs) - NAMED} more" if len(runs) > NAMED else "")
        lines.append(
            f"not measured: {int(table['unmeasured'].sum())} of {int(table['configurations'].sum())} configurations, "
            "which did as well on validation images as their row's, or better; jobs.evaluate --run measures them "
            f"(runs {told})"
        )
    return lines
