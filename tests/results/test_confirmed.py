"""Fresh seeds of several races: after epochs grew, those of the latest alone are told of."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from example_rows import TIME, begin, eval_row, outcome_row

from gen import results
from gen.results import Ledger
from gen.results.confirmation import shorter_runs
from jobs import board as board_job

ABOUT = {"metric": "accuracy", "subject": "images", "features": None, "features_hash": None}


def train(storage: results.Storage, rate: float, seed: int, tick: int, value: float) -> None:
    """A run of a configuration up to an epoch, by the attempt of that epoch, with its full figure on test images."""
    ledger = Ledger(storage, "e", f"r{rate}-{seed}", f"a{tick}")
    settings = [("entry", None, "sgan"), ("seed", float(seed), str(seed)), ("model.rate", rate, str(rate))]
    begin(ledger, seed, settings, data_hash="d", held_out="h")
    ledger.add("evals", tick, **eval_row(tick, value, **ABOUT, n_fake=300, n_real=144))
    ledger.add("evals", tick, **eval_row(tick, value, "best", **ABOUT, n_fake=300, n_real=300) | {"split": "test"})
    ledger.add("outcomes", tick, **outcome_row(tick, best=value, metric="accuracy/images", seconds=3.0))
    ledger.close(tick)


def race(storage: results.Storage, number: int, epochs: int, seeds: dict[float, list[int]], attempt: str) -> None:
    """The events of a race: who takes part, and its runs."""
    row = {"experiment": "e", "attempt": attempt, "tick": 0, "kind": "confirm", "why": ""}
    row |= {"time": TIME + timedelta(hours=number)}
    rows = []
    for place, (rate, own) in enumerate(seeds.items(), 1):
        entered = {"place": place, "race": number, "first": 1, "terms": {"epochs": epochs}}
        rows.append(row | {"run": f"r{rate}-0", "decision": "enter", "detail": json.dumps(entered), "value": 0.5})
        told = json.dumps({"race": number, "configuration": f"r{rate}-0"})
        rows += [row | {"run": f"r{rate}-{seed}", "decision": "run", "detail": told} for seed in own]
    results.Slot(storage, "e", f"{attempt}-race-{number}", kind="confirmed").extend({"events": rows})


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_after_epochs_grew_the_fresh_seeds_of_as_many_epochs_count(storage: results.Storage, place: str) -> None:
    """Of 0.2, which is not among the best any more, and of a seed that has not gone on yet, none are."""
    for rate, values in {0.1: [0.6, 0.5, 0.52, 0.54], 0.2: [0.55, 0.5, 0.51, 0.52]}.items():
        for seed, value in enumerate(values):
            train(storage, rate, seed, 2, value)
    race(storage, 1, 2, {0.1: [1, 2, 3], 0.2: [1, 2, 3]}, "a2")
    race(storage, 2, 2, {0.1: [1, 2, 3], 0.2: [1, 2, 3]}, "a3")  # more configurations: it finds the runs on record
    assert shorter_runs(storage, "e") == set()
    before = results.leaderboard(place, "e", split="test", by="config").set_index("run")
    assert before["confirmed_n"].to_list() == [3, 3]

    train(storage, 0.1, 0, 4, 0.8)
    race(storage, 3, 4, {0.1: [1, 2, 3]}, "a4")
    for seed, value in ((1, 0.9), (2, 0.8)):
        train(storage, 0.1, seed, 4, value)
    assert shorter_runs(storage, "e") == {"r0.1-3", "r0.2-1", "r0.2-2", "r0.2-3"}
    board = results.leaderboard(place, "e", split="test", by="config").set_index("run")
    assert board.loc["r0.1-0", "confirmed"] == pytest.approx(0.85)
    assert board["confirmed_n"].to_dict() == board["confirmed_runs"].to_dict() == {"r0.1-0": 2, "r0.2-0": 0}
    assert board["confirmed_apart"].isna().all()
    printed = CliRunner().invoke(board_job.main, ["--storage", place, "--name", "e", "--by", "config"]).stdout
    assert "left out: 4 runs with fresh seeds, of fewer epochs than the latest confirmation trains for\n" in printed
    compared = results.compare(place, "e", ["model.rate"])
    assert compared["mean"].to_list() == pytest.approx([0.85, 0.55])  # of 0.2 the search's own, as if never confirmed
    assert compared["n"].to_list() == [2, 1]
