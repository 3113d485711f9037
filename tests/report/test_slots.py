"""Slots over time: what the tables of a killed and resumed search tell, and a search of thousands of runs."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from gen import results
from gen.config import override
from gen.data.dataset import Dataset
from gen.engine import Home, fit
from gen.judge import Judge
from gen.report import slots
from gen.report.facts import facts
from gen.report.slots import at_rungs, find_slots, in_words, section
from gen.results import Ledger, Slot, Storage
from gen.zoo import ZOO, tiny
from jobs.bench.fleet import Fleet
from tests.results.example_rows import outcome_row, run_row, when

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def add(storage: Storage, run: str, begun: float, ended: float | None, ticks: int, host: str = "x", **end: str) -> None:
    """A run of the first attempt, with a tick each 10 seconds."""
    ledger = Ledger(storage, "e", run, "r000001-a")
    ledger.add("runs", 0, **run_row(started=at(begun), hosts=[host]))
    ledger.add("settings", 0, key="seed", number=0.0, text="0")
    for tick in range(1, ticks + 1):
        ledger.add("metrics", tick, **when(tick), seconds=10.0 * tick, name="engine/train_seconds", value=10.0)
    if ended is None:
        ledger.flush(ticks)
    else:
        ledger.add("outcomes", ticks, **outcome_row(ticks, ended=at(ended), **end))
        ledger.close(ticks)


def rung(storage: Storage, run: str, tick: int, seconds: float, decision: str, kind: str = "rung") -> None:
    row = {"experiment": "e", "run": run, "attempt": "r000001-a", "tick": tick, "epoch": float(tick), "kind": kind}
    told = {"decision": decision, "value": 1.0, "why": "", "detail": json.dumps({"rung": tick}), "time": at(seconds)}
    Slot(storage, "e", f"r000001-a-scheduler-{run}-{tick}").extend({"events": [row | told]})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Two slots of one host and one of another; a run was killed at tick 3 and went on from tick 2 on another host."""
    storage = Storage(str(tmp_path))
    add(storage, "a", 0, 30, 3, status="stopped")
    add(storage, "b", 0, 60, 6)
    add(storage, "c", 40, None, 2)
    add(storage, "d", 0, 20, 2, host="y<b>", status="failed")
    rung(storage, "a", 2, 20, "continue")
    rung(storage, "a", 3, 29, "stop")
    rung(storage, "b", 2, 21, "continue")
    later = Ledger(storage, "e", "c", "r000002-b", first=3)
    told = {"epoch": 2.0, "decision": None, "value": None, "why": "from the checkpoint of tick 2"}
    detail = json.dumps({"hosts": ["y<b>"]})
    later.add("events", 3, kind="resume", detail=detail, time=at(1000), **told)
    for tick in (3, 4):
        later.add("metrics", tick, **when(tick), seconds=10.0 * tick, name="engine/train_seconds", value=10.0)
    later.add("outcomes", 4, **outcome_row(4, ended=at(1021)))
    later.close(4)
    return storage


def test_what_a_killed_search_leaves(storage: Storage) -> None:
    found = find_slots(facts(storage, ["e"]).first)
    assert found is not None
    spans = found.spans.sort_values(["left", "run"])[["run", "host", "lane", "left", "right", "how", "last"]]
    assert spans.to_numpy().tolist() == [
        ["a", "x", 0, 0.0, 30.0, "stopped", 3],
        ["b", "x", 1, 0.0, 60.0, "finished", 6],
        ["d", "y<b>", 0, 0.0, 20.0, "failed", 2],
        ["c", "x", 0, 40.0, 60.0, "later", 2],  # its last tick on record is at 20 seconds
        ["c", "y<b>", 0, 60.0, 81.0, "finished", 4],  # the pause from second 60 to 1000 is left out
    ]
    assert found.lanes == [("x", 0), ("x", 1), ("y<b>", 0)]
    assert found.seconds == 81
    busy, room = 30 + 60 + 20 + 20 + 21, 3 * 60 + 21
    assert found.idle == pytest.approx(1 - busy / room)
    assert at_rungs(found.decisions) == [(2.0, 2, 0, 0), (3.0, 0, 1, 0)]
    assert found.decisions[["run", "host", "lane", "at"]].to_numpy().tolist() == [
        ["a", "x", 0, 20.0],
        ["a", "x", 0, 29.0],
        ["b", "x", 1, 21.0],
    ]
    assert in_words(found) == "2 finished; 1 stopped; 1 failed; 1 went on in a later submission; 25 % idle"


@pytest.mark.parametrize("kind", ["rung", "exploit"])
def test_a_run_that_waits_for_others_was_not_killed(tmp_path: Path, kind: str) -> None:
    """At a rung for its seeds, in a population for its generation."""
    storage = Storage(str(tmp_path))
    add(storage, "c", 0, None, 2)
    rung(storage, "c", 2, 25, "stay" if kind == "exploit" else "continue", kind)
    later = Ledger(storage, "e", "c", "r000001-a", first=3)
    told = {"epoch": 2.0, "decision": None, "value": None, "why": "from the checkpoint of tick 2", "detail": "{}"}
    later.add("events", 3, kind="resume", time=at(30), **told)
    later.add("outcomes", 3, **outcome_row(3, ended=at(40)))
    later.close(3)
    found = find_slots(facts(storage, ["e"]).first)
    assert found is not None
    assert found.spans["how"].tolist() == ["waited", "finished"]
    assert found.broken().empty


def test_the_section_draws_each_run_and_lists_what_was_killed(storage: Storage) -> None:
    found = section(facts(storage, ["e"]))
    assert found is not None
    (plot,) = found.plots
    bars = [trace for trace in plot.figure.data if trace.type == "bar"]
    assert {bar.name: len(bar.x) for bar in bars} == {
        "finished": 2,
        "stopped": 1,
        "failed": 1,
        "went on in a later submission": 1,
    }
    assert "4 runs in 3 slots on 2 hosts" in " ".join(found.html.split())
    assert "81 s of work in 2 submissions" in " ".join(found.html.split()).replace("1.35 min", "81 s")
    assert "Killed, and went on" in found.html
    assert "2026-01-31 12:01:00" in found.html, "its last tick that was kept"
    told = [text for bar in bars for text in bar.customdata]
    assert any("y&lt;b&gt;" in text for text in told)
    assert not any("y<b>" in text for text in told), "Plotly reads markup"


@pytest.mark.slow
def test_a_real_run_that_goes_on_elsewhere(tmp_path: Path, digits: Dataset, judge: Judge) -> None:
    storage = Storage(str(tmp_path))
    config = override(tiny(ZOO["vae_mlp"]), {"budget.epochs": 4, "evaluate.full": "none", "train.batch": 256})
    for attempt, host, ticks in (("r000001-a", "x", 2), ("r000002-b", "y", 9)):
        home = Home(storage, "e", attempt, facts={"hosts": [host]})
        running = fit(config, digits, device=torch.device("cpu"), home=home, judge=judge)
        list(itertools.islice(running, ticks))
        running.close()  # as an interrupted search leaves it
    found = find_slots(facts(storage, ["e"]).first)
    assert found is not None
    told = found.spans[["attempt", "host", "how", "first", "last"]].to_numpy().tolist()
    assert told == [["r000001-a", "x", "later", 1, 2], ["r000002-b", "y", "finished", 3, 4]]
    seconds = results.metrics(storage, "e", name="engine/train_seconds").set_index("tick")["seconds"]
    first, second = (found.spans["right"] - found.spans["left"]).tolist()
    assert first == pytest.approx(seconds[2], abs=1e-6)  # seconds since 1970 are floats of a quarter of a microsecond
    assert second > seconds[4] - seconds[2], "from its resumption to its outcome"


def test_an_experiment_of_which_nothing_has_ended(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    add(storage, "a", 0, None, 2)
    found = section(facts(storage, ["e"]))
    assert found is not None
    assert "no end on record" in found.plots[0].alternative


@pytest.mark.slow
def test_many_runs_are_told_by_how_many_were_busy(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Fleet("fleet", 700, 2, processes=4).write(storage)
    found = section(facts(storage, ["fleet"]))
    assert found is not None
    busy = found.plots[0]
    assert sum(len(trace.x) for trace in busy.figure.data) == slots.BINS
    (trace,) = busy.figure.data
    width = 702 / slots.BINS
    assert float(trace.y.sum()) * width == pytest.approx(700 * 3, rel=1e-3)
    assert sum(len(plot.figure.to_json()) for plot in found.plots) + len(found.html) < 60_000
