"""Generations as Tune drives them, on synthetic values and real tables: who trains next, what is on record when."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from gen import results
from gen.config import override
from gen.on_ray.population import Generations, Members, RecordedPopulation, turns
from gen.on_ray.retry import ends_that_stand
from gen.on_ray.submission import Search
from gen.record import takeover
from gen.results.forget import forget
from gen.search.population import Rules
from gen.zoo import ZOO
from tests.fixtures.populations import RATES, Rates
from tests.results.example_rows import begin

RUNS = ["a", "b", "c", "d"]
CONFIG = override(ZOO["gan_mlp"], {"budget.epochs": 6})
VALUES = {"a": 4.0, "b": 1.0, "c": 2.0, "d": 3.0}


class Driver:
    """What Tune does, without Ray: one submission."""

    def __init__(self, place: Path, ended: tuple[str, ...] = ()) -> None:
        storage, attempt = results.Storage(str(place)), results.new_attempt()
        self.storage = storage
        more = {"data_hashes": {}, "data_root": None, "download": False, "facts": {}}
        plan = Search(runs=dict.fromkeys(RUNS, CONFIG), storage=storage, experiment="search", attempt=attempt, **more)
        settings = {run: dict.fromkeys(RATES, 1e-3) for run in RUNS}
        members = Members(Rules(2, 0.25, 0), Rates(), settings)
        slot = results.Slot(storage, "search", f"{attempt}-scheduler")
        self.scheduler: RecordedPopulation
        self.searcher: Generations
        self.scheduler, self.searcher = members.arrange(slot, plan, ended, "min")
        self.count = 0

    def begin(self) -> tuple[str, dict]:
        """The next trial."""
        self.count += 1
        config = self.searcher.suggest(f"t{self.count}")
        assert isinstance(config, dict)
        return f"t{self.count}", config

    def end(self, trial: str, config: dict, epoch: int, value: float = math.nan, **more: object) -> None:
        run = RUNS[config["trial"]]
        report = {
            "run": run,
            "tick": epoch,
            "epoch": float(epoch),
            "value": value,
            "last": value,
            "seconds": 1.0,
            **more,
        }
        self.scheduler.on_trial_complete(None, Trial("Resident", stub=True), report)
        self.searcher.on_trial_complete(trial, report)

    def generation(self, values: dict[str, float] = VALUES) -> list[dict]:
        """All members come to the next generation; gives what their trials were told."""
        begun = [self.begin() for _ in RUNS]
        for trial, config in begun:
            self.end(trial, config, config["until"], values[RUNS[config["trial"]]], waits=True)
        return [config for _, config in begun]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What states were stored."""
    found: list[tuple] = []
    monkeypatch.setattr(takeover, "store", lambda storage, *told: found.append(told))
    return found


def test_members_wait_for_their_generation_and_go_on_with_what_was_decided(tmp_path: Path, stored: list) -> None:
    one = Driver(tmp_path)
    begun = [one.begin() for _ in RUNS]
    assert [config for _, config in begun] == [{"trial": place, "until": 2, "taken": None} for place in range(4)]
    for trial, config in begun[:3]:
        one.end(trial, config, 2, VALUES[RUNS[config["trial"]]], waits=True)
        assert one.searcher.suggest("more") is None  # they wait for the last one
    assert "search" not in one.storage.folders("")
    assert stored == []
    one.end(*begun[3], 2, VALUES["d"], waits=True)
    rows = results.events(one.storage, "search", kind="exploit").sort_values("run")
    assert list(rows["decision"]) == ["exploit", "stay", "stay", "stay"]
    detail = json.loads(rows["detail"].iloc[0])
    assert (detail["source"], detail["source_epoch"], detail["source_value"]) == ("b", 2.0, 1.0)
    assert stored == [("search", "a", "b", 2)]
    _, config = one.begin()
    assert (config["trial"], config["until"]) == (0, 4)
    assert config["taken"]["tick"] == 2
    assert json.loads(config["taken"]["settings"]) == detail["settings"]
    assert [config["taken"] for _, config in (one.begin(), one.begin(), one.begin())] == [None] * 3
    again = Driver(tmp_path)
    assert repr(turns(again.storage, "search")) == repr(turns(one.storage, "search"))
    assert again.begin()[1] == config  # as before the kill
    assert again.scheduler.population.next == 4


def test_the_last_epochs_are_no_generation(tmp_path: Path, stored: list) -> None:
    one = Driver(tmp_path)
    one.generation()
    one.generation()
    begun = [one.begin() for _ in RUNS]
    assert {config["until"] for _, config in begun} == {None}
    for trial, config in begun:
        one.end(trial, config, 6, 1.0, ended="finished")
    assert one.searcher.suggest("more") == Searcher.FINISHED
    spans = results.lineage(one.storage, "search")
    assert len(turns(one.storage, "search")) == 8
    assert len(spans) == 4 + len(stored)
    assert list(spans["from_epoch"])[:2] == [0.0, 2.0]


def test_a_forgotten_member_is_no_donor_and_goes_on_no_more(tmp_path: Path, stored: list) -> None:
    """What it gave before stands."""
    Driver(tmp_path).generation()
    [first] = [turn for turn in turns(results.Storage(str(tmp_path)), "search") if turn.source]
    assert (first.run, first.source) == ("a", "b")
    begin(ledger := results.Ledger(results.Storage(str(tmp_path)), "search", "b", "a"))
    ledger.flush(0)
    forget(results.Storage(str(tmp_path)), "search", "z", "b", "a fault")
    on_record = ends_that_stand(results.Storage(str(tmp_path)), "search", dict.fromkeys(RUNS, CONFIG), "z", retry=False)
    again = Driver(tmp_path, tuple(on_record))
    begun = [again.begin() for _ in range(3)]
    assert [RUNS[config["trial"]] for _, config in begun] == ["a", "c", "d"]
    assert begun[0][1]["taken"]["tick"] == 2
    for trial, config in begun:
        again.end(trial, config, config["until"], VALUES[RUNS[config["trial"]]], waits=True)
    later = [turn for turn in turns(again.storage, "search") if turn.epoch == 4]
    assert {(turn.run, turn.source) for turn in later} == {("a", "c"), ("c", ""), ("d", "")}


def test_the_time_is_up(tmp_path: Path, stored: list) -> None:
    """Tune ends a trial that neither waits nor ended: nothing is decided without it."""
    one = Driver(tmp_path)
    begun = [one.begin() for _ in RUNS]
    for trial, config in begun[:3]:
        one.end(trial, config, 2, 1.0, waits=True)
    one.end(*begun[3], 1, 1.0)
    assert "search" not in one.storage.folders("")
    assert one.searcher.suggest("more") == Searcher.FINISHED
    assert [config["until"] for config in Driver(tmp_path).generation()] == [2] * 4


def test_one_that_broke_and_one_that_failed_are_not_awaited(tmp_path: Path, stored: list) -> None:
    one = Driver(tmp_path)
    begun = [one.begin() for _ in RUNS]
    trial = Trial("Resident", stub=True)
    trial.config = begun[0][1]
    one.scheduler.on_trial_error(None, trial)
    one.searcher.on_trial_complete(begun[0][0], error=True)
    one.end(*begun[1], 1, ended="failed")
    one.end(*begun[2], 2, 2.0, waits=True)
    one.end(*begun[3], 2, 3.0, waits=True)
    assert stored == [("search", "d", "c", 2)]
    again = Driver(tmp_path, ended=("b",))  # the one that broke comes back, as it was
    assert [again.begin()[1]["trial"] for _ in range(3)] == [0, 2, 3]
    assert again.scheduler.population.next == 4
    assert [run for run in RUNS if run in again.scheduler.population.over] == ["b"]
