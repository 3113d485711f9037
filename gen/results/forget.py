"""Runs that are kept on record and ranked no more, with the reason: each is an event."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pandas as pd

from gen.results.ledger import Slot
from gen.results.queries import Place, find_run, outcomes, read
from gen.results.storage import Storage

KIND = "forget"  # of the events


def forget(storage: Storage, experiment: str, attempt: str, text: str, why: str) -> str:
    """Records that the run which `text` names is ranked no more; gives its name. Whoever calls it holds the lease.
    ValueError for an unknown run, and without a reason."""
    if not why.strip():
        raise ValueError("why='' is no reason; say why the run is to be ranked no more")
    run = find_run(storage, experiment, text)
    ends = outcomes(storage, experiment, columns=["run", "tick"])
    tick = int(ends["tick"][ends["run"] == run].max()) if (ends["run"] == run).any() else 0
    row = {"experiment": experiment, "run": run, "attempt": attempt, "tick": tick, "kind": KIND, "why": why}
    row |= {"detail": json.dumps({}), "time": datetime.now(UTC)}
    Slot(storage, experiment, f"{attempt}-{run}", kind="forgotten").extend({"events": [row]})
    return run


def forgotten(place: Place, experiment: str) -> dict[str, str]:
    """Run -> why it is ranked no more."""
    return why_forgotten(read(place, experiment, "events", {"kind": KIND}, ["run", "why"]))


def why_forgotten(rows: pd.DataFrame) -> dict[str, str]:
    """Run -> why it is ranked no more, from the rows of `events` that say so."""
    return dict(zip(rows["run"], rows["why"], strict=True))
