"""Rows of a comparison are of equal budgets, and say what these leave out."""

import math
from datetime import timedelta

import pytest
from example_rows import TIME, labelled_run

from gen import results
from gen.results.equal import budget_lines
from gen.results.ranking import device_seconds

local = pytest.mark.parametrize("place", ["local"], indirect=True)


@local
def test_a_row_whose_best_was_not_measured_says_which_runs_to_measure(storage, place):
    """Of a search its leaders alone are measured, which may have begun after an equal budget was spent."""
    labelled_run(storage, "cheap", "classifier", 20, 0.5, best=0.5, seconds=6.0)
    for number, (value, best) in enumerate([(None, 0.3), (None, 0.6), (0.9, 0.9), (0.8, 0.8)]):
        labelled_run(storage, f"dear{number}", "sgan", 20, value, best=best, rate=number / 10, seconds=3.0)
    table = results.compare(place, "e", device_seconds=6.0).set_index("entry")
    assert table["unmeasured"].to_dict() == {"classifier": 0, "sgan": 1}
    assert table.loc["sgan", "n"] == 0
    assert table.attrs["unmeasured"] == ["dear1"]
    assert budget_lines(table)[-1] == (
        "not measured: 1 of 3 configurations, which did as well on validation images as their row's, or better; "
        "jobs.evaluate --run measures them (runs dear1)"
    )


@local
def test_rows_are_of_equal_device_seconds(storage, place):
    """Of "many" the later configurations are better, and are left out of a comparison with "few", which had half."""
    for place_, value in enumerate((0.5, 0.6, 0.7, 0.8)):  # in an order that is not that of their names
        about = {"rate": 0.1 + place_, "seconds": 1.5, "world_size": 2, "started": TIME + timedelta(hours=place_)}
        labelled_run(storage, f"m{9 - place_}", "many", 20, value, best=value, **about)
        if place_ < 2:
            labelled_run(storage, f"f{place_}", "few", 20, value, best=value, rate=0.1 + place_, seconds=3.0)
    labelled_run(storage, "b0", "big", 20, 0.9, best=0.9, seconds=30.0)
    labelled_run(
        storage, "s0", "stopped", 20, None, best=0.9, seconds=1.0
    )  # without the figure it is compared with nothing
    table = results.compare(place, "e", "entry").set_index("entry")
    assert table.loc[["many", "few", "big"], "mean"].to_list() == [0.6, 0.6, 0.9]
    assert table.loc[["many", "few", "big"], "configurations"].to_list() == [2, 2, 1]
    assert table.loc[["many", "few", "big"], "left_out"].to_list() == [2, 0, 0]
    assert table.loc[["many", "few", "big"], "device_seconds"].to_list() == [6.0, 6.0, 30.0]
    assert set(table["budget"]) == {6.0}
    left, over, unmeasured = budget_lines(table)
    assert unmeasured.startswith("not measured: 1 of 6 configurations")
    assert unmeasured.endswith("(runs s0)")
    assert left.startswith("left out: 2 of 8 configurations, which began after the equal budget of 6 device-seconds")
    assert (
        over
        == "of more than the equal budget of 6 device-seconds: 1 of 4 rows, whose first configuration alone took it"
    )
    for seconds, mean, count in ((9.0, 0.7, 3), (math.inf, 0.8, 4)):
        of = results.compare(place, "e", "entry", device_seconds=seconds).set_index("entry").loc["many"]
        assert (of["mean"], of["configurations"], of["device_seconds"]) == (mean, count, 3.0 * count)
    assert budget_lines(results.compare(place, "e", "entry", device_seconds=math.inf)) == [
        unmeasured.replace("of 6", "of 8")
    ]
    with pytest.raises(ValueError, match=r"^device_seconds=0 is out of range; allowed: more than 0"):
        results.compare(place, "e", device_seconds=0)


@local
def test_a_share_of_a_gpu_costs_its_share(storage, place):
    """Four runs of a quarter of a GPU each cost what one run of a whole one does; an earlier version's counts by its
    processes."""
    for number in range(4):
        about = {"rate": 0.1 + number, "started": TIME + timedelta(hours=number)}
        labelled_run(storage, f"q{number}", "quarter", 20, 0.5 + number / 10, seconds=8.0, devices=0.25, **about)
        if number < 2:
            labelled_run(storage, f"w{number}", "whole", 20, 0.5, seconds=4.0, devices=1.0, **about)
            labelled_run(storage, f"e{number}", "earlier", 20, 0.5, seconds=2.0, world_size=2, **about)
    table = results.compare(place, "e", "entry").set_index("entry").loc[["quarter", "whole", "earlier"]]
    assert table["device_seconds"].to_list() == [8.0, 8.0, 8.0]
    assert table["configurations"].to_list() == [4, 2, 2]
    assert device_seconds(storage, "e") == 24.0
