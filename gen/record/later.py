"""The rows of a run's best weights that are measured after its end, beside the rows that the run wrote itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gen.judge import Figure
from gen.judge.missed import DETECTOR, line_of, missed
from gen.record import history
from gen.results import queries
from gen.results.schema import FULL_SHARE, LATER_SECONDS
from gen.results.storage import Storage

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> rows."""

Known = Mapping[tuple[str, float], set[str]]
"""(run, epoch of its best weights) -> protocols of the figures on record."""


def on_record(storage: Storage, experiment: str, run: str | None = None) -> Known:
    """Which figures of best weights the table `evals` holds, of one run or of all."""
    found: dict[tuple[str, float], set[str]] = {}
    frame = queries.read(storage, experiment, "evals", {"scope": "best", "run": run})
    for of, epoch, protocol in zip(frame["run"], frame["epoch"], frame["protocol"], strict=True):
        found.setdefault((of, float(epoch)), set()).add(protocol)
    return found


def later_rows(
    here: Mapping[str, Any], figures: Sequence[Figure], taken: float, cost: float, plays: bool
) -> dict[str, Any]:
    """The rows of figures, of the seconds `taken` to measure them and, if the model `plays` a game, of a collapse that
    they tell. `here`: experiment, run, and the tick, step, epoch and images of the weights. `cost`: the run's seconds
    before; NaN if they are not on record."""
    of_metric = {**here, "seconds": taken}
    share = None if math.isnan(cost) else taken / (cost + taken)
    low = missed(figures) if plays else []
    of_event = {name: here[name] for name in ("experiment", "run", "tick", "epoch")} | {"kind": "collapse"}
    return {
        "events": [
            {
                **of_event,
                "value": low[0].value,
                "why": line_of(low),
                "detail": json.dumps({"detector": DETECTOR, "figure": low[0].name, "epoch": here["epoch"]}),
                "time": datetime.now(UTC),
            }
        ]
        if low
        else [],
        "evals": [{**here, "scope": "best", **figure.row()} for figure in figures],
        "metrics": [
            {**of_metric, "name": LATER_SECONDS, "value": taken},
            {**of_metric, "name": FULL_SHARE, "value": share},
        ],
    }


def picture_rows(
    storage: Storage, here: Mapping[str, Any], drawn: Sequence[tuple[str, bytes]], failures: Sequence[str]
) -> dict[str, Any]:
    """The rows of the pictures (kind, PNG) of the weights and of those that the run kept on its way, as far as they are
    not on record, and of failures to draw."""
    frame = queries.read(storage, here["experiment"], "samples", {"run": here["run"]})
    known = set(zip(frame["tick"], frame["kind"], strict=True))
    kept = history.load(storage, here["experiment"], here["run"])
    kept = [row for row in kept if (row["tick"], row["kind"]) not in known]
    known |= {(row["tick"], row["kind"]) for row in kept}
    of_picture = {name: value for name, value in here.items() if name != "images"}
    of_event = {name: here[name] for name in ("experiment", "run", "tick", "epoch")}
    of_event |= {"kind": "picture", "detail": "{}", "time": datetime.now(UTC)}
    return {
        "samples": [
            *kept,
            *({**of_picture, "kind": kind, "png": png} for kind, png in drawn if (here["tick"], kind) not in known),
        ],
        "events": [{**of_event, "why": why} for why in failures],
    }


def join(*parts: Rows) -> Rows:
    """Rows of several parts in one."""
    return {table: [row for part in parts for row in part.get(table, ())] for table in {**parts[0], **parts[-1]}}


def of_attempt(rows: Rows, attempt: str) -> Rows:
    """`rows` with the attempt that writes them."""
    return {table: [{**row, "attempt": attempt} for row in of_table] for table, of_table in rows.items()}
