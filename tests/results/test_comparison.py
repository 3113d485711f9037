"""Runs of several seeds compared by one figure."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from example_rows import TIME, begin, eval_row, labelled_run, outcome_row, when

from gen import results
from gen.results import Ledger
from gen.results.best import rank_runs
from gen.results.comparison import configuration_of, sound_lines
from gen.results.floor import Asked, floor_rows
from gen.results.forget import forget
from jobs import board as board_job

local = pytest.mark.parametrize("place", ["local"], indirect=True)


def test_a_table_of_entries_and_labels(storage, place):
    values = {"sgan": [0.8, 0.9, 0.7], "classifier": [0.6, 0.6, 0.9]}
    for entry, found in values.items():
        for labels in (20, 100):
            for seed, value in enumerate(found):
                labelled_run(storage, f"{entry}-{labels}-{seed}", entry, labels, value + labels / 1000, seed=seed)
    table = results.compare(place, "e")
    assert list(table.columns) == [
        *("entry", "data.labels", "configurations", "left_out", "unmeasured", "budget", "device_seconds"),
        *("confirming", "n", "mean", "low", "high", "validation_images", "floor"),
    ]
    assert list(zip(table["entry"], table["data.labels"], strict=True)) == [
        ("classifier", 20), ("classifier", 100), ("sgan", 20), ("sgan", 100)
    ]  # fmt: skip
    assert set(table["configurations"]) == {1}
    assert set(table["n"]) == {3}
    assert set(table["validation_images"]) == {144}
    sgan = table.set_index(["entry", "data.labels"]).loc[("sgan", 100)]
    # t of 97.5 % with two degrees of freedom is 4.302653, from a printed table; the deviation is 0.1
    assert sgan["mean"] == pytest.approx(0.9)
    assert (sgan["low"], sgan["high"]) == pytest.approx((0.9 - 0.248414, 0.9 + 0.248414), abs=1e-6)
    assert table.attrs["protocol"]["metric"] == "accuracy"
    assert table.attrs["protocol"]["n_real"] == 300
    of_entries = results.compare(place, "e", ["entry"], confidence=0.5)
    assert len(of_entries) == 2


@local
def test_validation_images_choose_among_configurations_and_test_images_do_not(storage, place):
    for seed in (0, 1):
        labelled_run(storage, f"a{seed}", "sgan", 20, 0.9 + seed / 100, best=0.5, seed=seed, rate=0.1)
        labelled_run(storage, f"b{seed}", "sgan", 20, 0.6 + seed / 100, best=0.7, seed=seed, rate=0.2)
    labelled_run(storage, "c0", "sgan", 20, 0.99, best=0.99, rate=0.3)  # of one seed alone
    labelled_run(storage, "d0", "sgan", 20, None, best=0.99, rate=0.4)  # stopped early
    (row,) = results.compare(place, "e").to_dict("records")
    assert (row["configurations"], row["n"], row["unmeasured"]) == (4, 2, 1)
    assert row["mean"] == pytest.approx(0.605)
    by_rate = results.compare(place, "e", ["model.rate"])
    assert by_rate["unmeasured"].to_list() == [0, 0, 0, 1]
    assert by_rate["n"].to_list() == [2, 2, 1, 0]
    assert np.isnan(by_rate["low"]).to_list() == [False, False, True, True]
    assert np.isnan(by_rate["mean"]).to_list() == [False, False, False, True]


@local
def test_runs_below_the_floor_of_their_config_are_in_no_mean(storage, place):
    """As in the ranking: their weights collapsed, and their full figure on test images may look good all the same."""
    for seed, (value, best) in enumerate([(0.8, 0.5), (0.99, -1e30), (0.6, 0.5)]):
        labelled_run(storage, f"a{seed}", "sgan", 20, value, best=best, seed=seed, rate=0.1)
    for seed, value in enumerate([0.9, 0.95]):
        labelled_run(storage, f"b{seed}", "classifier", 20, value, best=-1e30, seed=seed, rate=0.1)
    for seed, value in enumerate([0.5, 0.5]):
        labelled_run(storage, f"c{seed}", "sgan", 20, value, best=0.4, seed=seed, rate=0.2)
    table = results.compare(place, "e", device_seconds=math.inf).set_index("entry")
    assert table["n"].to_dict() == {"classifier": 0, "sgan": 2}
    assert table["mean"]["sgan"] == pytest.approx(0.5)  # of whole configurations with as many figures the better one
    assert np.isnan(table["mean"]["classifier"])
    assert table.attrs["below"] == 3
    assert table["unmeasured"].to_dict() == {"classifier": 0, "sgan": 0}
    assert sound_lines(table) == ["left out: 3 runs whose best weights are below the floor of their config"]
    by_rate = results.compare(place, "e", ["entry", "model.rate"], device_seconds=math.inf)
    assert by_rate["n"].to_list() == [0, 2, 2]
    assert by_rate["mean"].to_list()[1:] == pytest.approx([0.7, 0.5])
    board = results.leaderboard(place, "e", split="test", by="config")
    assert sorted(zip(board["mean"].dropna(), board["n"][board["mean"].notna()], strict=True)) == [
        (0.5, 2), (pytest.approx(0.7), 2)
    ]  # fmt: skip


@local
def test_figures_compare_on_the_same_held_out_images_if_they_tell_of_nothing_else(storage, place):
    labelled_run(storage, "r0", "sgan", 20, 0.8)
    labelled_run(storage, "r1", "sgan", 100, 0.9)
    assert results.compare(place, "e")["mean"].to_list() == [0.8, 0.9]
    board = results.leaderboard(place, "e", split="test")
    assert board["value"].to_list() == [0.9, 0.8]
    assert board.attrs["protocol"]["data_hash"] == "h1"
    for ask in (results.compare, results.leaderboard):
        with pytest.raises(ValueError, match=r"not ranked together; data_hash: d20-0, d100-0"):
            ask(place, "e", metric="frechet_classifier/reconstructions", split="test")
    labelled_run(storage, "r2", "sgan", 50, 0.7, held_out="h2")
    for ask in (results.compare, results.leaderboard):
        with pytest.raises(ValueError, match=r"not ranked together; data_hash: h1, h2"):
            ask(place, "e", split="test")


@local
def test_what_an_earlier_version_began_goes_with_its_own_data(storage, place):
    labelled_run(storage, "old", "sgan", 20, 0.8, held_out=None)
    labelled_run(storage, "new", "sgan", 20, 0.7)
    assert results.leaderboard(place, "e", split="test")["run"].to_list() == ["old", "new"]
    labelled_run(storage, "more", "sgan", 100, 0.9)
    assert len(results.leaderboard(place, "e", split="test")) == 3
    labelled_run(storage, "apart", "sgan", 50, 0.9, held_out=None)  # nobody tells which images it was measured on
    with pytest.raises(ValueError, match=r"data_hash: .*d50-0"):
        results.leaderboard(place, "e", split="test")


@local
def test_a_leaderboard_by_configuration(storage, place):
    """Of rate 0.2 a seed was stopped: what is left of it is too good, and has no rank."""
    values = {0.1: [0.6, 0.8], 0.2: [0.99, None], 0.3: [0.8, 0.9], 0.4: [None, None]}
    for rate, found in values.items():
        for seed, value in enumerate(found):
            labelled_run(storage, f"r{rate}-{seed}", "sgan", 20, value, seed=seed, rate=rate, held_out="h1")
    table = results.leaderboard(place, "e", split="test", by="config")
    names = ["rank", "entry", "mean", "low", "high", "n", "runs", "apart", "collapsed", "best", "run"]
    names += ["confirmed", "confirmed_low", "confirmed_high", "confirmed_n", "confirmed_runs", "confirmed_apart"]
    assert list(table.columns) == [*names, "rate"]
    assert table["rate"].to_list() == [0.3, 0.1, 0.2, 0.4]
    assert table["rank"].to_list()[:2] == [1, 2]
    assert table["rank"].isna().to_list() == [False, False, True, True]
    assert table["mean"].to_list()[:3] == pytest.approx([0.85, 0.7, 0.99])
    assert table["n"].to_list() == [2, 2, 1, 0]
    assert set(table["runs"]) == {2}
    assert table["best"].to_list()[:3] == [0.9, 0.8, 0.99]
    assert table["run"].to_list()[:3] == ["r0.3-1", "r0.1-1", "r0.2-0"]
    reach = 12.706205 * 0.05  # t of 97.5 % with one degree of freedom, from a printed table; two values 0.1 apart
    assert table["high"][0] - table["mean"][0] == pytest.approx(reach, rel=1e-6)
    assert table.attrs["protocol"]["mode"] == "max"
    with pytest.raises(ValueError, match="metric 'acuracy' is not known; nearest valid: accuracy"):
        results.leaderboard(place, "e", "acuracy", by="config")


@local
def test_configurations_without_the_figure_go_by_the_mean_of_what_steered(storage, place):
    """The best run is of the second one, the best mean of the third; of the first one a run has no value."""
    steering = {0.1: [0.99, None], 0.2: [0.9, 0.3], 0.3: [0.7, 0.8], 0.4: [0.1, 0.2]}
    for rate, found in steering.items():
        for seed, best in enumerate(found):
            labelled_run(storage, f"r{rate}-{seed}", "sgan", 20, None, best=best, seed=seed, rate=rate)
    table = results.leaderboard(place, "e", by="config")
    assert table["rank"].isna().all()
    assert table["rate"].to_list() == [0.3, 0.2, 0.4, 0.1]


@local
def test_a_leaderboard_by_configuration_before_the_first_end(storage, place):
    ledger = Ledger(storage, "e", "run", "a")
    begin(ledger)
    ledger.flush(0)
    assert results.leaderboard(place, "e", by="config").empty


@local
def test_of_a_confirmed_configuration_the_fresh_seeds_count_alone(storage, place):
    for rate, values in {0.1: [0.9, 0.5, 0.6, 0.55], 0.2: [0.7]}.items():
        for seed, value in enumerate(values):
            labelled_run(storage, f"r{rate}-{seed}", "sgan", 20, value, best=value, seed=seed, rate=rate, held_out="h1")
    row = {"experiment": "e", "attempt": "a1", "tick": 0, "kind": "confirm", "decision": "run", "why": "", "time": TIME}
    detail = json.dumps({"race": 1, "configuration": "r0.1-0"})
    rows = [row | {"run": f"r0.1-{seed}", "detail": detail} for seed in (1, 2, 3)]
    rows.append(row | {"run": "r0.1-9", "detail": detail})  # begun, and not ended
    results.Slot(storage, "e", "a1-race", kind="confirmed").extend({"events": rows})
    table = results.leaderboard(place, "e", split="test", by="config").set_index("run")
    assert list(table.index) == ["r0.1-0", "r0.2-0"]
    assert table["mean"].to_list() == [0.9, 0.7]
    assert table["n"].to_list() == table["runs"].to_list() == [1, 1]
    assert table["confirmed"].iloc[0] == pytest.approx(0.55)
    reach = 4.302653 * 0.05 / 3**0.5  # t of 97.5 % with two degrees of freedom, from a printed table
    assert (table["confirmed_low"].iloc[0], table["confirmed_high"].iloc[0]) == pytest.approx(
        (0.55 - reach, 0.55 + reach)
    )
    assert table["confirmed_n"].to_list() == table["confirmed_runs"].to_list() == [3, 0]
    assert table["confirmed"].isna().to_list() == [False, True]
    assert table["confirmed_apart"].isna().all()
    (row,) = results.compare(place, "e", ["entry"]).to_dict("records")
    assert (row["n"], row["configurations"], row["mean"]) == (3, 2, pytest.approx(0.55))
    assert (row["device_seconds"], row["confirming"]) == (6.0, 9.0)
    by_rate = results.compare(place, "e", ["model.rate"])  # of what was not confirmed the search's
    assert by_rate["n"].to_list() == [3, 1]
    assert by_rate["mean"].to_list() == pytest.approx([0.55, 0.7])
    assert results.best_of_k(place, "e", "accuracy/images")["n"].iloc[0] == 2
    board = results.leaderboard(place, "e", split="test")  # the search's own alone
    assert board[["rank", "run"]].to_numpy().tolist() == [[1, "r0.1-0"], [2, "r0.2-0"]]
    fresh = results.leaderboard(place, "e", split="test", by="fresh")
    assert fresh[["rank", "run"]].to_numpy().tolist() == [[1, "r0.1-2"], [2, "r0.1-3"], [3, "r0.1-1"]]
    assert (board.attrs["apart"], fresh.attrs["apart"]) == (3, 2)
    assert rank_runs(storage, "e")["run"].to_list() == ["r0.1-0", "r0.2-0"]
    printed = CliRunner().invoke(board_job.main, ["--storage", place, "--name", "e", "--split", "test"])
    left = "left out: 3 runs with fresh seeds, which confirm; jobs.board --by fresh ranks them\n"
    assert printed.stdout.endswith(left), printed.output
    with pytest.raises(ValueError, match="by='seed' is not known; allowed: run, config, fresh"):
        results.leaderboard(place, "e", by="seed")
    forget(storage, "e", "a2", "r0.1-1", "its images were others")
    table = results.leaderboard(place, "e", split="test", by="config").set_index("run")
    assert table["confirmed_n"].to_list() == table["confirmed_runs"].to_list() == [2, 0]
    assert table["confirmed"].iloc[0] == pytest.approx(0.575)
    assert results.compare(place, "e", ["entry"])[["n", "mean"]].to_numpy().tolist() == [[2, pytest.approx(0.575)]]


@local
def test_intervals_that_do_not_overlap_are_told_apart(storage, place):
    for rate, values in {0.1: [0.9, 0.91], 0.2: [0.1, 0.11], 0.3: [0.8, 0.9]}.items():
        for seed, value in enumerate(values):
            labelled_run(storage, f"r{rate}-{seed}", "sgan", 20, value, seed=seed, rate=rate, held_out="h1")
    table = results.leaderboard(place, "e", split="test", by="config")
    assert table["rate"].to_list() == [0.1, 0.3, 0.2]
    assert table["apart"].isna().to_list() == [True, False, False]
    assert table["apart"].to_list()[1:] == [False, True]
    assert results.leaderboard(place, "e", split="test", by="config", confidence=0.1)["apart"][1]


@local
def test_several_experiments_are_one_table(storage, place):
    labelled_run(storage, "r0", "sgan", 20, 0.8, experiment="one")
    labelled_run(storage, "r1", "classifier", 20, 0.7, experiment="two")
    labelled_run(storage, "r0", "sgan", 20, 0.8, experiment="two")  # the same run, which counts once
    table = results.compare(place, ["one", "two"])
    assert table["n"].to_list() == [1, 1]
    assert table["mean"].to_list() == [0.7, 0.8]


@local
def test_each_data_set_has_rows_a_protocol_and_a_floor_of_its_own(storage, place):
    """The figure is the same by name, in the features of each data set's own classifier."""
    figure = "frechet_classifier/reconstructions"
    for number, data in enumerate(("digits", "mnist")):
        about = {"data": data, "data_hash": f"d-{data}", "held_out": f"h-{data}", "experiment": data}
        measured = {"split": "test", "features_hash": f"f-{data}", "protocol": f"best-{data}"}
        for place_, entry in enumerate(("vae", "gan")):
            name, value = f"{entry}-{data}", 1.0 + place_ + 10 * number
            labelled_run(storage, name, entry, 20, None, **about)
            rows = [eval_row(1, value, "best", **measured), eval_row(1, 0.1, **measured | {"split": "validation"})]
            who = {"experiment": data, "run": name, "attempt": "a2", "tick": 1}
            results.Slot(storage, data, f"a2-{name}", kind="evaluated").extend({"evals": [who | row for row in rows]})
        of = Asked(f"h-{data}", "test", "image", f"f-{data}", 180)
        (row,) = floor_rows(
            data,
            of,
            [{**eval_row(1, 0.5 + number, **measured), "variant": None, "data_hash": f"d-{data}"}],
            {"seconds": 0.1},
        )
        events = {"events": [row | {"attempt": "a3", "time": TIME}]}
        results.Slot(storage, data, "a3-floors", kind="evaluated").extend(events)
    table = results.compare(place, ["digits", "mnist"], ["entry", "data.name"], figure)
    assert table[["entry", "data.name", "n", "mean", "floor"]].to_numpy().tolist() == [
        ["gan", "digits", 1, 2.0, 0.5], ["gan", "mnist", 1, 12.0, 1.5],
        ["vae", "digits", 1, 1.0, 0.5], ["vae", "mnist", 1, 11.0, 1.5],
    ]  # fmt: skip
    assert "data" not in table
    by_entry = results.compare(place, ["digits", "mnist"], "entry", figure)
    assert by_entry[["entry", "data", "mean"]].to_numpy().tolist() == [
        ["gan", "digits", 2.0], ["gan", "mnist", 12.0], ["vae", "digits", 1.0], ["vae", "mnist", 11.0]
    ]  # fmt: skip
    hashes = {data: one["features_hash"] for data, one in table.attrs["protocols"].items()}
    assert hashes == {"digits": "f-digits", "mnist": "f-mnist"}
    assert table.attrs["protocol"]["metric"] == "frechet_classifier"
    assert "features_hash" not in table.attrs["protocol"]
    assert table.attrs["floor"] is None
    assert table.attrs["floors"]["mnist"]["value"] == 1.5
    chosen = results.compare(place, ["digits", "mnist"], "entry", figure, protocol="best-mnist")
    assert chosen["mean"].notna().all()
    curves = results.best_of_k(place, ["digits", "mnist"], "accuracy/images")
    assert curves[["experiment", "k"]].to_numpy().tolist() == [["digits", 1], ["digits", 2], ["mnist", 1], ["mnist", 2]]
    mixed = results.best_of_k(place, ["digits", "mnist"], "accuracy/images", by="entry")
    assert mixed[["entry", "data", "k"]].to_numpy().tolist() == [
        ["vqvae", "digits", 1], ["vqvae", "digits", 2], ["vqvae", "mnist", 1], ["vqvae", "mnist", 2]
    ]  # fmt: skip
    other = {"data": "mnist", "data_hash": "d-other", "held_out": "h-other", "experiment": "other"}
    labelled_run(storage, "other", "vae", 20, 0.9, **other)
    with pytest.raises(ValueError, match=r"not ranked together; .*data_hash: d-mnist \(mnist\), d-other \(other\)"):
        results.compare(place, ["mnist", "other"], "entry", figure)


@local
def test_wrong_questions(storage, place):
    labelled_run(storage, "r0", "sgan", 20, 0.8)
    with pytest.raises(ValueError, match=r"^by='data.label' is no setting of these runs; nearest valid: data.labels"):
        results.compare(place, "e", ["data.label"])
    with pytest.raises(ValueError, match=r"^confidence=95 is out of range; allowed: more than 0 and less than 1"):
        results.compare(place, "e", confidence=95)
    with pytest.raises(ValueError, match="names no setting"):
        results.compare(place, "e", [])
    with pytest.raises(ValueError, match=r"^fid/fakes was measured of no run of e .*; measured: frechet_classifier/re"):
        results.compare(place, "e", metric="fid/fakes")
    with pytest.raises(ValueError, match="protocol=none: the runs have no such figure; there are: best-p1"):
        results.compare(place, "e", protocol="none")
    ledger = Ledger(storage, "other", "r1", "a1")
    begin(ledger, settings=[("entry", None, "sgan"), ("family", None, "semi")])
    ledger.add("metrics", 0, **when(0), seconds=1.0, name="x", value=1.0)
    ledger.add("outcomes", 0, **outcome_row(0, ended=TIME, metric="mse/reconstructions"))
    ledger.close(0)
    with pytest.raises(ValueError, match=r"more than one metric that selected them: accuracy/images, mse/recons"):
        results.compare(place, ["e", "other"], ["entry"])


def test_a_run_of_an_earlier_version_is_of_the_configuration_that_the_present_one_goes_on_with():
    told = pd.DataFrame({"experiment": "e", "run": ["old", "new", "other"], "model.beta": [1.0, 1.0, 1.0]})
    told["evaluate.also"] = pd.Series([None, "", "psnr"], dtype="string[pyarrow]")
    told["data.stratified"] = pd.Series([None, False, False], dtype="bool[pyarrow]")
    told["watch.ticks"] = pd.Series([None, 3, 3], dtype="int64[pyarrow]")
    number = configuration_of(told)
    assert number["old"] == number["new"] != number["other"]
