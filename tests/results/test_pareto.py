"""Which configurations no other one beats by several figures."""

import numpy as np
import optuna
import pytest
from example_rows import begin, eval_row, outcome_row
from hypothesis import given
from hypothesis import strategies as st

from gen import results
from gen.results import Ledger
from gen.results.pareto import undominated

local = pytest.mark.parametrize("place", ["local"], indirect=True)
NUMBERS = st.one_of(st.integers(0, 3).map(float), st.just(np.nan), st.floats(-9, 9))


@given(st.integers(2, 3).flatmap(lambda width: st.lists(st.tuples(*[NUMBERS] * width), max_size=12)))
def test_the_front_is_what_the_definition_says(rows: list[tuple[float, ...]]):
    costs = np.array(rows).reshape(len(rows), -1 if rows else 2)

    def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    finite = [all(map(np.isfinite, row)) for row in rows]
    expected = [
        good and not any(dominates(other, row) for other, fine in zip(rows, finite, strict=True) if fine)
        for row, good in zip(rows, finite, strict=True)
    ]
    assert undominated(costs).tolist() == expected


def test_as_optuna_finds_it():
    costs = np.random.default_rng(0).integers(0, 20, size=(200, 2)).astype(float)
    study = optuna.create_study(directions=["minimize", "maximize"])
    distributions = {"row": optuna.distributions.IntDistribution(0, len(costs))}
    for number, (a, b) in enumerate(costs):
        study.add_trial(optuna.create_trial(params={"row": number}, distributions=distributions, values=[a, -b]))
    assert {trial.params["row"] for trial in study.best_trials} == set(np.flatnonzero(undominated(costs)))


def run(storage, name, rate, figures, *, seed=0, full=None, **changes):
    """A run with cheap figures of fakes at two ticks, of which the first is its best, and perhaps a full one."""
    ledger = Ledger(storage, "e", name, "a1")
    begin(ledger, seed, [("model.rate", rate, str(rate)), ("seed", float(seed), str(seed))])
    for tick in (1, 2):
        for metric, value in figures.items():
            about = {"metric": metric, "subject": "fakes", "protocol": f"p-{metric}"}
            ledger.add("evals", tick, **eval_row(tick, value + 9 * (tick - 1)) | about)
    if full is not None:
        for split in ("validation", "test"):
            about = {"metric": "coverage", "subject": "fakes", "split": split, "protocol": f"full-{split}"}
            ledger.add("evals", 1, **eval_row(1, full, "best") | about)
    row = outcome_row(2, metric="frechet_classifier/fakes", best=figures["frechet_classifier"], best_epoch=1.0)
    ledger.add("outcomes", 2, **row | changes)
    ledger.close(2)


@local
def test_the_pareto_set_before_the_first_end(storage, place):
    ledger = Ledger(storage, "e", "run", "a1")
    begin(ledger)
    ledger.flush(0)
    table = results.pareto(place, "e", ["mse", "recall"])
    assert (len(table), list(table.columns)) == (0, ["front", "run", "entry", "runs", "mse", "recall"])


@local
def test_the_pareto_set_of_a_search(storage, place):
    """A small distance is good, a large recall is good: "c" is worse than "b" by both."""
    distance, recall = "frechet_classifier", "recall"
    run(storage, "a", 0.1, {distance: 1.0, recall: 0.1}, full=0.5)
    run(storage, "b", 0.2, {distance: 2.0, recall: 0.5}, full=0.1)
    run(storage, "c", 0.3, {distance: 2.5, recall: 0.4}, full=0.9)
    run(storage, "d0", 0.4, {distance: 2.0, recall: 0.9}, full=0.2)
    run(storage, "d1", 0.4, {distance: 4.0, recall: 0.7}, seed=1, full=0.4)
    run(storage, "floor", 0.5, {distance: 0.1, recall: 0.99}, best=1e30, full=1.0)
    run(storage, "failed", 0.7, {distance: 0.1, recall: 0.99}, status="failed", full=1.0)
    run(storage, "half", 0.6, {distance: 0.1}, full=1.0)
    table = results.pareto(place, "e", ["frechet/fakes", "recall"])
    assert list(table.columns) == ["front", "run", "entry", "runs", "frechet/fakes", "recall", "rate"]
    assert table["run"].to_list()[:4] == ["a", "b", "d0", "c"]
    assert table["front"].to_list() == [True, True, True, False, False, False, False]
    assert table["frechet/fakes"].to_list()[:4] == pytest.approx([1.0, 2.0, 3.0, 2.5])
    assert table["recall"].to_list()[:4] == pytest.approx([0.1, 0.5, 0.8, 0.4])
    assert table["runs"].to_list()[:4] == [1, 1, 2, 1]
    assert set(table["run"][table[["frechet/fakes", "recall"]].isna().any(axis=1)]) == {"floor", "half", "failed"}
    full = results.pareto(place, "e", ["coverage", "frechet/fakes"])  # no tick has the first: its full figure
    complete = full.dropna(subset=["coverage"]).set_index("run")
    assert complete["coverage"].to_dict() == pytest.approx({"a": 0.5, "b": 0.1, "c": 0.9, "d0": 0.3, "half": 1.0})
    assert set(complete.index[complete["front"]]) == {"half"}
    assert full["front"].sum() == 1
    for wrong, expected in (
        ("recall", r"^metrics=\['recall'\]: a Pareto"),
        (["recall"], "a Pareto set is of different figures; allowed: two or more"),
        (["recall", "recall"], "different figures"),
        (["recall", "recal"], "metric 'recal' is not known; nearest valid: recall"),
        (["recall", "precision"], r"^precision was measured of no run of e that ended"),
    ):
        with pytest.raises(ValueError, match=expected):
            results.pareto(place, "e", wrong)
