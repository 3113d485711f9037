"""What an earlier experiment taught the sampler of a search: read once, and an event before the first proposal,
so the search goes on with the same whatever becomes of that experiment."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gen.results import queries
from gen.results.floor import NO_RUN
from gen.results.ledger import Slot
from gen.results.storage import Storage
from gen.search.samplers import Score, Settings

KIND = "learned"  # of the events, one an entry


@dataclass(frozen=True)
class Learned:
    """Configurations of an earlier experiment, with what became of them."""

    source: str  # that experiment
    known: Sequence[tuple[Settings, Score]]


def find_learned(storage: Storage, experiment: str, entry: str) -> Learned | None:
    """What the sampler of an entry learned when its search began; None if nothing of that is on record."""
    if experiment not in storage.folders(""):
        return None
    rows = queries.read(storage, experiment, "events", {"kind": KIND}, ["attempt", "decision", "detail"])
    rows = rows.sort_values("attempt", kind="stable")
    for source, text in zip(rows["decision"], rows["detail"], strict=True):
        detail = json.loads(text)
        if detail["entry"] == entry:
            return Learned(source, [(settings, to_score(*numbers)) for settings, *numbers in detail["known"]])
    return None


def to_score(value: float | None, epoch: float, whole: bool) -> Score:
    """A score as it was; JSON has no NaN."""
    return Score(math.nan if value is None else value, epoch, whole)


def record_learned(slot: Slot, attempt: str, entry: str, learned: Learned, why: str) -> None:
    """Writes what the sampler of an entry learns, one row of `events`, even if that is nothing; it is in storage when
    this returns. `why`: in words. The caller holds the lease."""
    known = [
        [settings, None if math.isnan(score.value) else score.value, score.epoch, score.whole]
        for settings, score in learned.known
    ]
    row = {"experiment": slot.experiment, "run": NO_RUN, "attempt": attempt, "tick": 0, "epoch": None, "kind": KIND}
    row |= {"decision": learned.source, "value": None, "why": why, "time": datetime.now(UTC)}
    slot.extend({"events": [row | {"detail": json.dumps({"entry": entry, "known": known})}]})
