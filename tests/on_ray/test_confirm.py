"""Who takes part in a confirmation, and that its race, cut anywhere, goes on as the same race: real tables, runs that
do no work."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gen import results
from gen.config import RunConfig, override
from gen.on_ray.confirm import Confirmation, Contender, Racer, contenders, enter
from gen.on_ray.replay import decisions, ends
from gen.results.confirmation import fresh_runs, last_race
from gen.results.forget import forget
from gen.zoo import ZOO, restore
from jobs.bench.fleet import Fleet
from tests.results.example_rows import begin, eval_row, outcome_row

CONFIG = override(ZOO["vqvae"], {"budget.epochs": 9})
NUMBERS = range(1000, 1010)
LEVELS = {"a": 1.0, "b": 1.02, "c": 3.0}  # what the runs of a configuration come to: c is clearly behind
TERMS = {"confirm": 3}
RUNS: dict[tuple[str, int], tuple[str, RunConfig]] = {
    (one, number): (f"{one}{number}", override(CONFIG, {"seed": number})) for one in LEVELS for number in NUMBERS
}


def figure(run: str) -> float:
    """What a run comes to: b is behind a with two seeds in three."""
    one, number = run[0], int(run[1:])
    return LEVELS[one] + 0.01 * math.sin(number) - (0.04 if one == "b" and number % 3 == 0 else 0.0)


class Submission:
    """One submission of a race: a searcher as Tune asks it, on real tables."""

    def __init__(self, place: Path) -> None:
        self.storage, self.attempt = results.Storage(str(place)), results.new_attempt()
        if not self.storage.folders("search"):
            slot = results.Slot(self.storage, "search", f"{self.attempt}-entered", kind="confirmed")
            those = [Contender(one, LEVELS[one], "full") for one in LEVELS]
            enter(slot, self.attempt, those, 1, NUMBERS[0], TERMS)
        begun = last_race(self.storage, "search")
        assert begun is not None
        slot = results.Slot(self.storage, "search", f"{self.attempt}-race", kind="confirmed")
        self.lines = list[str]()
        self.source = Confirmation(begun, RUNS, "min", 0.05, slot, self.attempt, self.lines.append)
        self.left = self.source.begin(ends(self.storage, "search", self.source.runs))
        self.searcher = Racer(self.source)
        self.outcomes = results.Slot(self.storage, "search", f"{self.attempt}-slot")
        self.begun = 0

    def suggest(self) -> tuple[str, Any]:
        self.begun += 1
        return str(self.begun), self.searcher.suggest(str(self.begun))

    def write(self, told: dict[str, Any], status: str = "finished") -> dict[str, Any]:
        """Trains a run: its outcome is in the tables when this returns."""
        run = told["run"]
        assert restore(told["config_json"]).seed == int(run[1:])
        assert run in fresh_runs(self.storage, "search")  # before it starts
        row = {"experiment": "search", "run": run, "attempt": self.attempt, "tick": 9, "status": status, "why": ""}
        row |= {"metric": "mse/reconstructions", "best": figure(run), "best_epoch": 9.0, "last": 1.0}
        row |= {"checkpoint": None, "epochs": 9.0, "steps": 1, "images": 1, "seconds": 1.0, "images_per_second": None}
        self.outcomes.extend({"outcomes": [row | {"parameters": 1, "ended": datetime.now(UTC)}]})
        return {"run": run, "epoch": 9.0, "value": figure(run), "last": 1.0, "ended": status}

    def run(self, slots: int = 1) -> None:
        """Trains up to `slots` runs at a time, the last one begun first, to the end of the race."""
        training = list[tuple[str, Any]]()
        while True:
            while len(training) < slots and isinstance((begun := self.suggest())[1], dict):
                training.append(begun)
            if not training:
                assert begun[1] == Racer.FINISHED
                return
            trial, told = training.pop()
            self.searcher.on_trial_complete(trial, self.write(told))


def told(place: Path) -> pd.DataFrame:
    """What was decided, without when and by whom, and without which runs were begun."""
    rows = results.events(str(place), "search", kind="confirm").sort_values(["attempt", "time"], kind="stable")
    return rows[rows["decision"] != "run"][["run", "decision", "value", "why", "detail"]].reset_index(drop=True)


@pytest.fixture(scope="module")
def won(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a race lies that nothing interrupted."""
    place = tmp_path_factory.mktemp("uncut")
    whole = Submission(place)
    assert whole.left == 30
    whole.run()
    assert (whole.source.left(0), len(whole.lines)) == (0, 2)
    return place


@pytest.fixture(scope="module")
def uncut(won: Path) -> pd.DataFrame:
    """The decisions of that race."""
    found = told(won)
    assert list(found["decision"]) == ["enter"] * 3 + ["drop", "win"]
    assert list(found["run"]) == ["a", "b", "c", "c", "a"]
    assert found["why"][0] == "place 1 of 3 by its full figure on validation images: 1"
    assert found["why"][3].startswith("behind a over 5 seeds: a chance of 0.0312 if it were no worse, below 0.05")
    assert "of 2 that no test told apart over 10 seeds" in found["why"][4]
    assert len(results.outcomes(str(won), "search")) == 25  # of thirty
    return found


@pytest.mark.parametrize(
    ("cut", "moment"), [(0, "begun"), (3, "heard"), (14, "trained"), (24, "trained"), (24, "heard")]
)
def test_cut_anywhere_it_goes_on_as_the_same_race(tmp_path: Path, uncut: pd.DataFrame, cut: int, moment: str) -> None:
    first = Submission(tmp_path)
    for number in range(cut + 1):
        trial, asked = first.suggest()
        if number < cut or moment != "begun":
            result = first.write(asked)
        if number < cut or moment == "heard":
            first.searcher.on_trial_complete(trial, result)
    again = Submission(tmp_path)
    again.run()
    pd.testing.assert_frame_equal(told(tmp_path), uncut)
    outcomes = results.outcomes(str(tmp_path), "search", all_ends=True)
    assert not outcomes.duplicated("run").any()  # what was on record was not trained again
    assert len(outcomes) == 25
    assert Submission(tmp_path).left == 0
    assert len(told(tmp_path)) == len(uncut)


@pytest.mark.parametrize("slots", [2, 64])
def test_many_slots_come_to_the_same_and_train_little_in_vain(tmp_path: Path, uncut: pd.DataFrame, slots: int) -> None:
    Submission(tmp_path).run(slots)
    columns = ["run", "decision", "value", "why"]
    pd.testing.assert_frame_equal(told(tmp_path)[columns], uncut[columns])
    assert len(results.outcomes(str(tmp_path), "search")) <= 25 + 1  # c with the seed behind its last


def test_what_broke_is_not_judged_and_holds_the_race_until_the_next_submission(tmp_path: Path) -> None:
    first = Submission(tmp_path)
    trial, asked = first.suggest()
    first.searcher.on_trial_complete(trial, error=True)
    first.run()
    assert first.source.left(0) == 0  # nothing more can be done now
    assert "drop" not in set(told(tmp_path)["decision"])
    again = Submission(tmp_path)
    assert again.suggest()[1]["run"] == asked["run"]


def test_what_was_cut_by_a_limit_has_not_ended_and_what_is_not_finite_has(tmp_path: Path) -> None:
    first = Submission(tmp_path)
    cut, asked = first.suggest()
    first.searcher.on_trial_complete(cut, {"run": asked["run"], "value": 1.0, "last": 1.0, "ended": ""})
    lost, other = first.suggest()
    assert other["run"] == asked["run"]
    first.searcher.on_trial_complete(lost, {"run": asked["run"], "value": 2.0, "last": math.nan, "ended": ""})
    assert first.source.figures["a"] == {1000: 2.0}


def test_a_failed_run_counts_as_the_worst_and_more_seeds_go_on(tmp_path: Path) -> None:
    first = Submission(tmp_path)
    while isinstance((begun := first.suggest())[1], dict):
        status = "failed" if begun[1]["run"].startswith("b") else "finished"
        first.searcher.on_trial_complete(begun[0], first.write(begun[1], status))
    rows = told(tmp_path)
    assert list(zip(rows["run"], rows["decision"], strict=True))[3:] == [("c", "drop"), ("b", "drop"), ("a", "win")]
    assert math.isnan(rows["value"][4])
    assert '"mean": null' in rows["detail"][4]
    begun = last_race(first.storage, "search")
    assert begun is not None
    assert (begun.entrants, begun.first, begun.terms, begun.won) == (["a", "b", "c"], 1000, TERMS, 5)
    assert [drop["configuration"] for drop in begun.drops] == ["c", "b"]


def take_out(storage: results.Storage, *runs: str) -> None:
    """Ranks runs no more, which have begun at least."""
    for run in runs:
        ledger = results.Ledger(storage, "search", run, "a")
        begin(ledger)
        ledger.close(0)
        forget(storage, "search", "b", run, "its images were others")


def test_a_run_that_is_ranked_no_more_counts_in_no_test_and_no_mean_and_is_not_trained(tmp_path: Path) -> None:
    """Of a one run had ended, another had been begun, when they were taken out; the race goes on without them."""
    first = Submission(tmp_path)
    for _ in range(4):
        trial, asked = first.suggest()
        first.searcher.on_trial_complete(trial, first.write(asked))
    take_out(first.storage, "a1000", "a1003")
    again = Submission(tmp_path)
    assert again.source.forgotten == {"a1000", "a1003"}
    assert (again.source.done, again.source.count) == (4, 29)  # a1003 never ends
    again.run()
    state, rows = again.source.state, told(tmp_path)
    assert (state.order, state.of) == (["a", "b"], {"a": 8, "b": 10, "c": 7})  # both have had ten
    assert state.means["a"] == pytest.approx(
        sum(figure(f"a{number}") for number in NUMBERS if number not in (1000, 1003)) / 8
    )
    assert list(rows["decision"]) == ["enter"] * 3 + ["drop", "win"]
    assert rows["why"][3].startswith("behind a over 5 seeds: ")  # that both have, of seven
    assert '"of": 7, "pairs": 5' in rows["detail"][3]
    mean = f"{state.means['a']:.6g} of 8 runs"
    assert rows["why"][4] == f"the best mean, {mean}, of 2 that no test told apart over 10 seeds"
    assert "a1003" not in set(results.outcomes(str(tmp_path), "search")["run"])
    assert again.source.done == again.source.count == len(results.outcomes(str(tmp_path), "search"))


def test_a_race_that_was_won_is_told_anew_where_runs_are_ranked_no_more(
    uncut: pd.DataFrame, won: Path, tmp_path: Path
) -> None:
    """Who dropped out stays so; of the others another one has the best mean now."""
    place = Path(shutil.copytree(won, tmp_path / "copy"))
    storage = results.Storage(str(place))
    take_out(storage, *(f"b{number}" for number in NUMBERS if number % 3))  # with the others alone b is ahead
    again = Submission(place)
    assert (again.left, again.source.state.order) == (0, ["b", "a"])
    rows = told(place)
    pd.testing.assert_frame_equal(rows[:-1], uncut)
    assert (rows["run"].iloc[-1], rows["decision"].iloc[-1]) == ("b", "win")
    assert again.lines == [f"the race is over: the configuration of run b: {rows['why'].iloc[-1]}"]
    begun = last_race(storage, "search")
    assert begun is not None
    assert (begun.won, begun.winner, [drop["configuration"] for drop in begun.drops]) == (10, "b", ["c"])
    Submission(place)
    assert len(told(place)) == len(rows)  # it is told once


def test_a_drop_on_record_stands_while_a_run_of_it_that_failed_is_trained_again(
    uncut: pd.DataFrame, won: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(won, tmp_path / "copy"))
    again = Submission(place)
    ended = ends(again.storage, "search", again.source.runs)
    assert again.source.begin({run: end for run, end in ended.items() if run != "c1003"}) > 0  # by --retry-failed
    trial, asked = again.suggest()
    assert asked["run"] == "c1003"
    again.searcher.on_trial_complete(trial, {**again.write(asked), "value": 0.0})
    assert again.suggest()[1] == Racer.FINISHED
    assert [drop.configuration for drop in again.source.state.drops] == ["c"]
    pd.testing.assert_frame_equal(told(place), uncut)


def test_who_takes_part_is_chosen_by_full_figures_then_by_what_steered(tmp_path: Path) -> None:
    """Run -> its rate, its seed, its full figure if it was measured, what steered it, its status."""
    rows: dict[str, tuple[float, int, float | None, float, str]] = {
        "good": (0.1, 0, 0.2, 9.0, "finished"),
        "lucky": (0.2, 0, 0.1, 9.0, "finished"),  # the mean of its seeds is 0.3
        "unlucky": (0.2, 1, 0.5, 9.0, "finished"),
        "late": (0.3, 0, None, 3.0, "finished"),
        "next": (0.4, 0, None, 2.0, "finished"),
        "cut": (0.5, 0, None, 1.0, "stopped"),
        "half": (0.6, 0, None, 1.0, "finished"),  # a seed of it failed
        "half-failed": (0.6, 1, None, 1.0, "failed"),
        "below": (0.7, 0, None, 1e30, "finished"),  # the floor
        "lost": (0.8, 0, None, math.nan, "finished"),
    }
    storage = results.Storage(str(tmp_path))
    for run, (rate, seed, full, best, status) in rows.items():
        ledger = results.Ledger(storage, "search", run, "a1")
        begin(ledger, seed, [("model.rate", rate, str(rate)), ("seed", float(seed), str(seed))])
        if full is not None:
            ledger.add("evals", 1, **eval_row(1, full, "best"))
            ledger.add("evals", 1, **eval_row(1, -full, "best") | {"split": "test", "protocol": "p2"})
        ledger.add("outcomes", 1, **outcome_row(1, best=best, status=status))
        ledger.close(1)
    found = contenders(storage, "search", rows, 9)
    assert [(one.run, one.by) for one in found] == [
        ("good", "full"), ("lucky", "full"), ("next", "steering"), ("late", "steering")
    ]  # fmt: skip
    assert [one.value for one in found] == pytest.approx([0.2, 0.3, 2.0, 3.0])
    assert contenders(storage, "search", rows, 3) == found[:3]
    steered = contenders(storage, "search", rows, 9, full=False)
    assert [one.run for one in steered[:2]] == ["next", "late"]
    assert {one.by for one in steered} == {"steering"}
    assert contenders(storage, "search", {}, 3) == []


def test_the_runs_of_a_race_are_none_of_the_search(tmp_path: Path) -> None:
    """A rung, a replay and the means over seeds look at the search alone."""
    storage = results.Storage(str(tmp_path))
    Fleet("search", 12, 2, leaders=12, attempt="a").write(storage)
    before = results.leaderboard(storage, "search", by="config")
    chances = results.best_of_k(storage, "search")
    rungs = decisions(storage, "search")
    own, *others = before["run"]
    mine = next(one.run for one in rungs) if rungs else others[0]
    slot = results.Slot(storage, "search", "b-race", kind="confirmed")
    enter(slot, "b", [Contender(own, 1.0, "full")], 1, 1000, TERMS)
    begun = last_race(storage, "search")
    assert begun is not None
    source = Confirmation(begun, {(own, 1000): (mine, CONFIG)}, "min", 0.05, slot, "b")
    assert source.next() == mine
    after = results.leaderboard(storage, "search", by="config")
    assert mine not in set(after["run"])
    assert results.best_of_k(storage, "search")["n"].iloc[0] == chances["n"].iloc[0] - 1
    assert [one.run for one in decisions(storage, "search")] == [one.run for one in rungs if one.run != mine]
    assert {one.run for one in decisions(storage, "search", confirming=True)} <= {mine}
