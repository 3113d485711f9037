"""Curves: what training logged beside what was measured, of one quantity."""

import pandas as pd
import pytest
from example_rows import begin, eval_row, when

from gen import results
from gen.results import Ledger

local = pytest.mark.parametrize("place", ["local"], indirect=True)


def logged(storage):
    """A run of two ticks in which one quantity was logged in training by two phases and measured of two subjects."""
    ledger = Ledger(storage, "e", "r", "a1")
    begin(ledger)
    for tick in (1, 2):
        for number, name in enumerate(("encoder/distortion", "decoder/distortion", "decoder/learning_rate")):
            ledger.add("metrics", tick, **when(tick), seconds=1.0, name=name, value=10.0 * number + tick)
        for number, (metric, subject) in enumerate(
            (("distortion", "images"), ("distortion", "fakes"), ("mse", "fakes"))
        ):
            for scope in ("tick", "best"):
                figure = eval_row(tick, 100.0 * number + tick, scope, metric=metric, subject=subject)
                ledger.add("evals", tick, **figure)
    ledger.close(2)


LEARNING_RATE, ENCODER = "decoder/learning_rate", "encoder/distortion"
DISTORTION = {ENCODER, "decoder/distortion", "distortion/images", "distortion/fakes"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["distortion"], DISTORTION),
        (["encoder/distortion"], DISTORTION - {"decoder/distortion"}),
        (["distortion/images"], DISTORTION - {"distortion/fakes"}),
        ([LEARNING_RATE], {LEARNING_RATE}),
        (["mse/fakes", ENCODER], {"mse/fakes", ENCODER, "distortion/images", "distortion/fakes"}),
    ],
)
def test_curves_of_a_name_bring_its_counterpart(storage, place, asked, expected):
    logged(storage)
    frame = results.curves(place, "e", asked)
    assert set(frame["name"]) == expected
    assert len(frame) == 2 * len(expected)  # a value a tick, none of the full figures
    table = pd.concat(
        [
            results.metrics(place, "e"),
            results.evals(place, "e", scope="tick").assign(name=lambda rows: rows["metric"] + "/" + rows["subject"]),
        ]
    )
    for row in frame.itertuples():
        (there,) = table[(table["name"] == row.name) & (table["tick"] == row.tick)].itertuples()
        assert (row.value, row.epoch, row.run) == (there.value, there.epoch, "r")
        assert row.split == ("train" if "/distortion" in row.name or row.name == LEARNING_RATE else "validation")
        assert row.quantity == (row.name.split("/")[0] if row.split == "validation" else row.name.split("/")[1])


@local
def test_curves_of_a_name_that_is_not_there(storage, place):
    logged(storage)
    with pytest.raises(
        ValueError, match=r"no metric 'distorsion' .*nearest: .*distortion.*; there are: decoder/distor"
    ):
        results.curves(place, "e", ["distortion", "distorsion"])
    with pytest.raises(ValueError, match=r"^no run 'other' in experiment e; there are: r$"):
        results.curves(place, "e", ["distortion"], run="other")


@local
def test_curves_of_another_column_carry_its_name(storage, place):
    ledger = Ledger(storage, "e", "r", "a1")
    begin(ledger)
    ledger.add("evals", 1, **eval_row(1, 2.0, column="a"))
    ledger.close(1)
    assert list(results.curves(place, "e", ["frechet_classifier"])["name"]) == ["frechet_classifier/reconstructions/a"]
