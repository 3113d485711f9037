"""The leaderboard: what is ranked, by which figure, and what stands beside it."""

import json
from datetime import timedelta

import pytest
from example_rows import TIME, begin, end, eval_row, go, outcome_row, plain, when, whole_run, whole_search

from gen import results
from gen.results import Ledger, Slot
from gen.results.schema import LATER_SECONDS

local = pytest.mark.parametrize("place", ["local"], indirect=True)  # the rest holds for an object store too


def test_leaderboard(storage, place):
    whole_search(storage)
    board = results.leaderboard(place, "e")
    names = "rank run entry seed value status epochs seconds best_epoch steering collapsed beta name"
    assert list(board.columns) == names.split()
    assert list(board["run"]) == ["run1", "run2", "run0", "stopped", "failed"]
    assert list(board["value"][:3]) == [1.0, 2.0, 3.0]
    assert board["rank"].to_list()[:3] == [1, 2, 3]
    assert board["rank"].isna().to_list() == [False, False, False, True, True]
    assert board["steering"].to_list()[3] == 4.0
    assert board["beta"].to_list()[:3] == [0.5, 1.0, 0.25]
    assert board.attrs["protocol"]["protocol"] == "best-p1"
    assert board.attrs["protocol"]["n_real"] == 180
    assert board.attrs["protocol"]["resize"] is None
    assert board.attrs["code_versions"] == ["abc"]
    with pytest.raises(
        ValueError, match="mode=max contradicts the metric: of frechet_classifier small values are good"
    ):
        results.leaderboard(place, "e", "frechet_classifier", "reconstructions", mode="max")
    with pytest.raises(ValueError, match="metric 'beauty' is not known; nearest valid: "):
        results.leaderboard(place, "e", "beauty")
    assert results.leaderboard(place, "e", "frechet_classifier/reconstructions/image").to_csv() == board.to_csv()


@local
def test_a_figure_of_which_large_is_good_is_ranked_so(storage, place):
    whole_search(storage)
    for run, number in (("run0", 0.2), ("run1", 0.1), ("run2", 0.3)):
        measured_again(storage, run, number, metric="precision", subject="fakes", variant="k=3", protocol="p")
    board = results.leaderboard(place, "e", "precision/fakes")
    assert list(board["run"][:3]) == ["run2", "run0", "run1"]
    assert board.attrs["protocol"]["mode"] == "max"
    assert results.leaderboard(place, "e", "precision/fakes", mode="max").to_csv() == board.to_csv()
    with pytest.raises(ValueError, match="mode=min contradicts the metric: of precision large values are good"):
        results.leaderboard(place, "e", "precision/fakes", mode="min")


@local
def test_what_measuring_a_leader_took_is_in_its_seconds(storage, place):
    whole_search(storage)
    before = results.leaderboard(place, "e").set_index("run")["seconds"]
    ledger = Ledger(storage, "e", "run1", "a9", first=7)
    ledger.add("metrics", 7, **when(7), seconds=2.5, name=LATER_SECONDS, value=2.5)
    ledger.flush(7)
    after = results.leaderboard(place, "e").set_index("run")["seconds"]
    assert after["run1"] == before["run1"] + 2.5
    assert after.drop("run1").to_list() == before.drop("run1").to_list()


@local
def test_the_leaderboard_says_which_games_collapsed_and_how(storage, place):
    """As the run told when it ended, in the reason alone before version 1.5, and as figures of its best weights told
    later; not those of weights that are no longer the best."""
    lost = "epoch 4: the critic wins: critic/loss is 0.01, bound 0.03"
    missed = "the fakes miss most images: recall/fakes is 0, bound 0.01"
    told = {
        "own": {"collapsed": lost, "why": f"6 epochs; collapsed at {lost}"},
        "old": {"why": f"6 epochs; collapsed at {lost}"},
        "later": {},
        "both": {"collapsed": lost},
        "twice": {"collapsed": f"epoch 2: {missed}"},
        "gone": {},
        "fine": {},
    }
    for run, more in told.items():
        ledger = Ledger(storage, "e", run, "a1")
        begin(ledger)
        end(ledger, 2, 1.0, **more)
        if run in ("later", "both", "twice", "gone"):
            detail = json.dumps({"detector": "full", "epoch": 1.0 if run == "gone" else 2.0})
            about = {"epoch": 2.0, "kind": "collapse", "value": 0.0, "why": missed, "detail": detail, "time": TIME}
            ledger.add("events", 2, **about)
        ledger.close(2)
    board = results.leaderboard(place, "e").set_index("run")["collapsed"]
    assert board.dropna().to_dict() == {
        "own": lost,
        "old": lost,
        "later": f"epoch 2: {missed}",
        "both": f"{lost}; at epoch 2: {missed}",
        "twice": f"epoch 2: {missed}",
    }
    assert results.leaderboard(place, "e", by="config")["collapsed"].sum() == 5


@local
def test_leaderboard_of_what_nobody_measured(storage, place):
    whole_search(storage)
    measured_again(storage, "run0", 0.2, metric="recall", subject="fakes", protocol="p")
    measured_again(storage, "run1", 0.2, metric="mse", column="a", protocol="q")
    measured_again(storage, "live", 0.2, metric="kid", subject="fakes", protocol="r")
    others = {
        "fid": "recall/fakes, mse/reconstructions/a",
        "frechet/fakes": "recall/fakes, mse/reconstructions/a",
    }
    for name, farther in others.items():
        there = rf"frechet_classifier/reconstructions, {farther}; jobs\.evaluate measures more$"
        message = rf"^{name} was measured of no run of e that ended, on validation images; measured: {there}"
        with pytest.raises(ValueError, match=message):
            results.leaderboard(place, "e", name)
    for name in ("recall/reconstructions", "recall/fakes/b"):
        with pytest.raises(ValueError, match=rf"^{name} was measured of no run .* measured: recall/fakes, "):
            results.leaderboard(place, "e", name)
    with pytest.raises(ValueError, match=r"^frechet_classifier was .* on test images; measured: none; jobs\.evaluate"):
        results.leaderboard(place, "e", "frechet_classifier", split="test")
    with pytest.raises(ValueError, match=r"^features=inception: the runs have no such figure; there are: classifier$"):
        results.leaderboard(place, "e", features="inception")
    with pytest.raises(ValueError, match=r"^n_fake=20: the runs have no such figure; there are: 180$"):
        results.leaderboard(place, "e", n_fake=20)


@local
def test_leaderboard_of_a_search_that_nothing_was_measured_of_in_full(storage, place):
    """By the figure that steered, which nobody asked for by name."""
    for run, best in (("one", 2.0), ("other", 1.0)):
        ledger = Ledger(storage, "e", run, "a1")
        begin(ledger)
        go(ledger, 0)
        ledger.add("outcomes", 0, **outcome_row(0, best=best))
        ledger.close(0)
    board = results.leaderboard(place, "e")
    assert list(board["run"]) == ["other", "one"]
    assert board["rank"].isna().all()
    assert board.attrs["protocol"] == {"mode": "min"}


@local
def test_the_last_end_is_told_by_tick_and_attempt(storage, place):
    """Not by time: before each of these attempts the clock was set back."""
    written = [("20260131T12-a", 1), ("r00000001-20260131T11-b", 3), ("r00000002-20260131T10-c", 3)]
    for hours, (attempt, tick) in enumerate(written):
        moment = TIME - timedelta(hours=hours)
        whole_run(Ledger(storage, "e", "run", attempt, slot=Slot(storage, "e", attempt)), 1)
        ledger = Ledger(storage, "e", "run", attempt, first=tick, slot=Slot(storage, "e", f"{attempt}-2"))
        end(ledger, tick, best=float(hours), ended=moment)
        ledger.close(tick)
        assert list(results.outcomes(place, "e")[["attempt", "ended"]].iloc[0]) == [attempt, moment]
        assert results.leaderboard(place, "e")["value"][0] == hours


@local
def test_leaderboard_by_name_before_the_first_end(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    ledger.flush(0)
    assert results.leaderboard(place, "e", "fid/fakes").empty


@local
def test_leaderboard_takes_the_last_figure_of_a_run_that_went_on(storage, place):
    whole_search(storage)
    ledger = Ledger(storage, "e", "run0", "a2", first=1)
    begin(ledger)
    end(ledger, 1, 0.5, ended=TIME + timedelta(hours=1))
    ledger.close(1)
    board = results.leaderboard(place, "e")
    assert list(board["run"][:3]) == ["run0", "run1", "run2"]
    assert len(board) == 5
    assert len(results.outcomes(place, "e")) == 5
    assert len(results.outcomes(place, "e", all_ends=True)) == 6
    assert results.runs(place, "e").set_index("run")["attempt"]["run0"] == "a2"


@local
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_real": 99, "protocol": "p2"}, r"2 protocols .*n_real: 180, 99; protocol: best-p1, p2"),
        ({"labels": "split", "protocol": "p2"}, r"2 protocols .*labels: <NA>, split; protocol: best-p1, p2"),
        ({"column": "a"}, r"more than one column: a, image; say column="),
        ({"subject": "fakes"}, r"more than one subject: fakes, reconstructions; say subject="),
    ],
)
def test_figures_that_do_not_compare_are_not_ranked(storage, place, change, message):
    whole_search(storage)
    ledger = Ledger(storage, "e", "other", "a1")
    begin(ledger)
    ledger.add("evals", 0, **eval_row(0, 1.0, "best", **change))
    ledger.add("outcomes", 0, **outcome_row(0))
    ledger.close(0)
    with pytest.raises(ValueError, match=message) as caught:
        results.leaderboard(place, "e", "frechet_classifier")
    assert "\n" not in str(caught.value)


def measured_again(storage, run, number, **change):
    """As jobs.evaluate adds a figure to a run of `search`."""
    slot = results.Slot(storage, "e", f"{run}-{number}", kind="evaluated")
    who = {"experiment": "e", "run": run, "attempt": "a9", "tick": 0}
    slot.extend({"evals": [who | eval_row(0, number, "best", **change)]})


@local
def test_runs_under_several_protocols_are_ranked_by_the_one_they_share(storage, place):
    whole_search(storage)
    few = {"n_fake": 20, "deficient": True, "protocol": "few"}
    measured_again(storage, "run0", 0.1, **few)
    board = results.leaderboard(place, "e")
    assert list(board["value"][:3]) == [1.0, 2.0, 3.0]  # the small figure of one run is not among the full ones
    assert board.attrs["protocol"]["protocol"] == "best-p1"
    assert list(results.leaderboard(place, "e", n_fake=20)["run"][:1]) == ["run0"]
    assert results.leaderboard(place, "e", n_fake=20)["rank"].notna().sum() == 1
    for run in ("run1", "run2", "failed"):
        measured_again(storage, run, 0.2, **few)
    with pytest.raises(ValueError, match=r"2 protocols .*n_fake: 180, 20; deficient: <NA>, True; .*say features="):
        results.leaderboard(place, "e")
    assert results.leaderboard(place, "e", protocol="few").attrs["protocol"]["deficient"] is True
    assert results.leaderboard(place, "e", features="classifier", n_fake=180)["run"][0] == "run1"


@local
def test_of_figures_of_one_epoch_the_later_tick_counts_and_then_the_later_attempt(storage, place):
    whole_search(storage)
    for attempt, tick, number in (("a0", 1, 4.0), ("a2", 0, 0.1)):  # search's own: tick 0 of a1
        row = {"experiment": "e", "run": "run0", "attempt": attempt, "tick": tick} | eval_row(0, number, "best")
        results.Slot(storage, "e", f"{attempt}-{tick}", kind="evaluated").extend({"evals": [row]})
    assert results.leaderboard(place, "e").set_index("run")["value"]["run0"] == 4.0
    row = {"experiment": "e", "run": "run0", "attempt": "a3", "tick": 1} | eval_row(0, 5.0, "best")
    results.Slot(storage, "e", "a3-1", kind="evaluated").extend({"evals": [row]})
    assert results.leaderboard(place, "e").set_index("run")["value"]["run0"] == 5.0


@local
def test_a_figure_of_weights_that_are_no_longer_the_best_is_not_ranked(storage, place):
    whole_search(storage)
    measured_again(storage, "run0", 0.1)
    assert results.leaderboard(place, "e")["run"][0] == "run0"  # measured again: the last attempt's counts
    ledger = Ledger(storage, "e", "run0", "b1", first=1)
    begin(ledger)
    end(ledger, 1, 9.0, ended=TIME + timedelta(hours=1))
    ledger.close(1)
    assert list(results.leaderboard(place, "e")["value"][:3]) == [1.0, 2.0, 9.0]


def test_what_was_measured_again_is_no_attempt_at_the_run(storage, place):
    """A run that is begun again must not take such rows for its own and leave its own out."""
    measured_again(storage, "run0", 0.1)
    assert results.last_ticks(storage, "e") == {}
    assert len(results.evals(place, "e")) == len(plain(place, "e", "evals")) == 1


@local
def test_other_data_is_another_protocol(storage, place):
    whole_search(storage)
    ledger = Ledger(storage, "e", "other", "a1")
    whole_run(ledger, 1, data="mnist", data_hash="d2")
    with pytest.raises(ValueError, match=r"2 protocols .*; data: digits, mnist; data_hash: d1, d2"):
        results.leaderboard(place, "e")


@local
def test_leaderboard_before_the_first_end(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    ledger.flush(0)
    board = results.leaderboard(place, "e")
    assert board.empty
    assert list(board.columns)[:5] == ["rank", "run", "entry", "seed", "value"]
