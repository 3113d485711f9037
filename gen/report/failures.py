"""Failed runs, grouped by their reasons."""

from __future__ import annotations

import re

import pandas as pd

from gen.report.facts import Facts
from gen.report.section import Section, render

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?(?![\w])|\b(?:nan|inf)\b", re.IGNORECASE)
NAMES = 5  # runs that a group names


def section(facts: Facts) -> Section | None:
    """One row a reason, the most frequent first; None if no run failed or collapsed."""
    runs = facts.first.runs
    failed = grouped(runs[runs["status"] == "failed"], "why")
    collapsed = grouped(runs[runs["collapsed"].notna()], "collapsed")
    if failed.empty and collapsed.empty:
        return None
    groups = {"Failed": failed.to_dict("records"), "Collapsed games": collapsed.to_dict("records")}
    return Section("Failures", "failures", render("failures.html", groups=groups, total=len(runs)))


def grouped(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each reason that differs by more than its numbers: `count` of its runs, the `share` of those given,
    the reason of the first of them as an `example`, and the names of a few `runs`."""
    if runs.empty:
        return pd.DataFrame(columns=["count", "example", "runs", "epochs"])
    kind = runs[column].map(lambda text: NUMBER.sub("#", str(text)))
    found = runs.groupby(kind, sort=False).agg(
        count=("run", "size"),
        example=(column, "first"),
        runs=("run", lambda names: list(names[:NAMES])),
        epochs=("epochs", "median"),
    )
    ordered: pd.DataFrame = found.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)
    return ordered
