"""The best of k runs, against all draws one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from example_rows import begin, eval_row, go, outcome_row

from gen import results
from gen.results import Ledger, Storage
from gen.results.budget import expected_best

STEERING = "frechet_classifier/reconstructions"


def end(ledger: Ledger, steering: float, test: float | None, seconds: float = 3.0, **changes: object) -> None:
    """Two ticks, at the second of which the best weights are; a full figure of test images, if there is one."""
    begin(ledger, world_size=2, **changes)
    for tick in (1, 2):
        go(ledger, tick)
    if test is not None:
        ledger.add("evals", 2, **eval_row(2, test, "best", split="test"))
    ledger.add("outcomes", 2, **outcome_row(2, best=steering, seconds=seconds))
    ledger.close(2)


@pytest.mark.parametrize("absent", [0, 2])
def test_all_draws_are_counted(absent: int) -> None:
    values = [3.0, 1.0, 2.0, 2.0]  # of the preferred run, the second one ...
    for k in (1, 2, 3):
        draws = [min(draw) for draw in itertools.product(range(len(values) + absent), repeat=k)]
        found = sorted(values[first] for first in draws if first < len(values))
        mean, low, high = expected_best(np.array(values), len(values) + absent, k, 0.5)
        assert mean == pytest.approx(np.mean(found))
        assert (low, high) == tuple(np.quantile(found, [0.25, 0.75], method="inverted_cdf"))


def test_the_best_is_chosen_by_validation_and_told_of_test(storage: Storage) -> None:
    """The run that validation likes best is not the best on test images; it is the one that is reported."""
    for number, (chosen, test) in enumerate([(1.0, 7.0), (2.0, 5.0), (None, None), (4.0, 6.0)]):
        end(Ledger(storage, "e", f"r{number}", f"a{number}"), chosen, test, seconds=2.0 + number)  # type: ignore[arg-type]
    table = results.best_of_k(storage, "e", device_seconds=[5.0, 14.0, 100.0])
    assert table["k"].to_list() == [0, 2, 14]  # a run takes 3.5 s of two devices
    assert table[["split", "n", "without", "measured"]].drop_duplicates().to_numpy().tolist() == [["test", 4, 1, 3]]
    weights = np.array([7, 5, 3]) / 15  # a draw of nothing but the third run is left out
    assert table["mean"].tolist() == pytest.approx([np.nan, weights @ [7.0, 5.0, 6.0], np.nan], nan_ok=True)
    assert table.attrs["protocol"]["split"] == "test"
    assert table.attrs["protocol"]["chosen_by"] == STEERING
    assert results.best_of_k(storage, "e")["device_seconds"].to_list() == [7.0, 14.0, 28.0]


def test_a_share_of_a_gpu_costs_its_share(storage: Storage) -> None:
    for number in range(2):
        end(Ledger(storage, "e", f"r{number}", f"a{number}"), 1.0, 7.0, seconds=8.0, devices=0.25)
    table = results.best_of_k(storage, "e", device_seconds=[4.0])
    assert table["k"].to_list() == [2]
    assert results.best_of_k(storage, "e")["device_seconds"].to_list() == [2.0, 4.0]


def test_where_some_runs_lack_the_figure_of_test_images(storage: Storage) -> None:
    end(Ledger(storage, "e", "r0", "a0"), 1.0, 7.0)
    end(Ledger(storage, "e", "r1", "a1"), 2.0, None)
    table = results.best_of_k(storage, ["e"], by="entry")
    assert table["split"].to_list() == ["validation", "validation"]
    assert table["mean"].to_list() == pytest.approx([1.5, 1.25])
    assert table["measured"].to_list() == [1, 1]
    with pytest.raises(ValueError, match="1 of 2 runs have the figure on test images"):
        results.best_of_k(storage, "e", split="test")


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_only_what_is_told_is_of_one_protocol(storage: Storage) -> None:
    """Each group chooses among its own runs, by figures that need not compare with those of another group."""
    for name, fakes, measured in (("e", 180, 2), ("f", 60, 1), ("g", 60, 2)):
        for number, (chosen, test) in enumerate([(1.0, 7.0), (2.0, 5.0)]):
            ledger = Ledger(storage, name, f"{name}{number}", f"a{number}")
            begin(ledger)
            ledger.add("evals", 2, **eval_row(2, chosen, n_fake=fakes, protocol=f"tick of {fakes}"))
            if number < measured:
                ledger.add("evals", 2, **eval_row(2, test, "best", split="test"))
            ledger.add("outcomes", 2, **outcome_row(2, best=chosen))
            ledger.close(2)
    several = r"2 protocols .* n_fake: 180 \(e\), 60 \(f\); protocol: tick of 180 \(e\), tick of 60 \(f\)"
    with pytest.raises(ValueError, match=f"{several}; these choose among the runs of one group: take fewer"):
        results.best_of_k(storage, ["e", "f"], by="entry")
    mixed = results.best_of_k(storage, ["e", "f"])  # the one is told of test images, the other of its own choice
    assert mixed.groupby("experiment")["split"].unique().map(list).to_dict() == {"e": ["test"], "f": ["validation"]}
    with pytest.raises(ValueError, match=f"{several}; name fewer experiments, or search with evaluate.full=all"):
        results.best_of_k(storage, ["e", "f"], split="validation")
    assert results.best_of_k(storage, ["e", "g"])["mean"].to_list() == pytest.approx([6.0, 6.5, 6.0, 6.5])


def test_wrong_questions(storage: Storage) -> None:
    begin(ledger := Ledger(storage, "e", "r", "a"))
    ledger.flush(0)
    for wrong, told in (
        ({}, "no run of e has ended yet"),
        ({"experiments": []}, "experiments= names none"),
        ({"split": "tset"}, "split='tset' is not known"),
        ({"device_seconds": [0]}, "allowed: numbers above 0"),
        ({"confidence": 1}, "confidence=1 is out of range"),
    ):
        with pytest.raises(ValueError, match=told):
            results.best_of_k(storage, **{"experiments": "e", **wrong})
    end(Ledger(storage, "e", "r", "a"), 1.0, 7.0)
    with pytest.raises(ValueError, match="by='entyr' is no setting of these runs; nearest valid: entry"):
        results.best_of_k(storage, "e", by="entyr")
