"""The lineage of a population, from the events of its generations."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from gen.report.facts import facts
from gen.report.population import ancestry, changes, members, section
from gen.results import Ledger, Slot, Storage
from gen.results.lineage import lineage
from tests.results.example_rows import begin, go, outcome_row

SETTINGS = {run: {"model.rate": rate} for run, rate in (("a", 0.1), ("b", 0.2), ("c", 0.4))}


def exploit(storage: Storage, run: str, tick: int, value: float, source: str | None, rate: float = 0.0) -> None:
    """What a generation decided about a member: to take over from another with another rate, or to stay."""
    row = {"experiment": "e", "run": run, "attempt": "a1", "tick": tick, "epoch": float(tick), "kind": "exploit"}
    told = {"source": source, "before": SETTINGS[run], "settings": {"model.rate": rate}, "source_value": 1.0}
    row |= {"decision": "exploit" if source else "stay", "value": value, "why": "", "detail": json.dumps(told)}
    Slot(storage, "e", f"a1-{run}-{tick}").extend({"events": [{**row, "time": datetime.now(UTC)}]})


def place(root: Path) -> Storage:
    """Three members: c takes over from a at epoch 2, and b from c at epoch 4; b ends best."""
    storage = Storage(str(root))
    for number, run in enumerate(SETTINGS):
        ledger = Ledger(storage, "e", run, "a1")
        rate = SETTINGS[run]["model.rate"]
        begin(ledger, settings=[("model.rate", rate, str(rate)), ("seed", 0.0, "0")])
        for tick in range(1, 7):
            go(ledger, tick)
        ledger.add("outcomes", 6, **outcome_row(6, best=1.0 + number, last=(2.0, 1.0, 3.0)[number]))
        ledger.close(6)
    for run, source in (("a", None), ("b", None), ("c", "a")):
        exploit(storage, run, 2, 5.0, source, 0.12)
    for run, source in (("a", None), ("b", "c"), ("c", None)):
        exploit(storage, run, 4, 4.0, source, 0.15)
    return storage


def test_the_way_of_the_best_one_leads_back_to_where_it_began(tmp_path: Path) -> None:
    spans = lineage(place(tmp_path), "e")
    assert members(spans, "min") == ["b", "a", "c"]
    assert members(spans, "max") == ["c", "a", "b"]
    path = ancestry(spans, "b")
    assert [(row["run"], row["from_epoch"], row["to_epoch"]) for row in path] == [("a", 0, 2), ("c", 2, 4), ("b", 4, 6)]
    assert [row["value"] for row in path] == [None, None, 1.0], "a and c went on beyond what b took over"
    assert [changes(row) for row in path] == ["rate 0.1", "rate 0.12", "rate 0.15"]
    assert [row["run"] for row in ancestry(spans, "a")] == ["a"]
    assert ancestry(spans, "nobody") == []


def test_a_source_that_is_not_on_record_ends_the_way(tmp_path: Path) -> None:
    spans = lineage(place(tmp_path), "e")
    assert [row["run"] for row in ancestry(spans[spans["run"] != "a"], "b")] == ["c", "b"]


def test_members_without_a_value_come_last() -> None:
    frame = pd.DataFrame(
        {"run": ["a", "b"], "from_epoch": [0.0, 0.0], "to_epoch": [1.0, 1.0], "value": [math.nan, 2.0]}
    )
    assert members(frame, "min") == ["b", "a"]


def test_the_section_draws_it_and_there_is_none_without_a_population(tmp_path: Path) -> None:
    storage = place(tmp_path)
    found = section(facts(storage, ["e"]))
    assert found is not None
    text = " ".join(found.html.split())
    assert "A population of 3: 2 times a member took over" in text
    (plot,) = found.plots
    taken = next(trace for trace in plot.figure.data if trace.name == "takes over")
    assert [value for value in taken.y if value is not None] == [2, 0, 1, 2]  # rows: b on top, then a, then c
    assert "a up to epoch 2, then c up to epoch 4, then b up to epoch 6" in plot.alternative
    for path in (tmp_path / "e" / "events").iterdir():
        path.unlink()
    assert section(facts(storage, ["e"])) is None
