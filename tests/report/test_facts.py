"""The numbers of the page, without the page."""

from __future__ import annotations

import html
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gen import results
from gen.config import essence, override
from gen.on_ray.confirm import event
from gen.report import board, curves, first, progress
from gen.report.again import again
from gen.report.board import MOST, configurations
from gen.report.facts import Experiment, facts
from gen.report.failures import grouped
from gen.report.importance import YARDSTICK, axis, clear, importance
from gen.report.page import page
from gen.report.spending import spent
from gen.report.thin import thin
from gen.report.trials import Trials, trials
from gen.report.winner import doubts, winner
from gen.results import Lease, Slot, Storage
from gen.results.forget import forget
from gen.zoo import restore
from jobs import train
from jobs.bench.fleet import Fleet
from tests.report import rows
from tests.results.example_rows import outcome_row

ROOT = Path(__file__).parents[2]


def read(place: Path, name: str) -> Experiment:
    return facts(Storage(str(place)), [name]).first


def test_the_winner_is_a_mean_over_seeds_with_students_interval(place: Path) -> None:
    experiment = read(place, "whole")
    found = winner(experiment)
    assert found is not None
    assert found.full
    assert (found.run, found.runs, found.figure) == ("r0-0", 2, rows.METRIC)
    values = [0.1, 0.11]
    low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert [found.value, found.low, found.high] == pytest.approx([0.105, low, high])
    assert found.test == pytest.approx(0.106)
    assert found.png.startswith(b"\x89PNG")
    means = [0.1 * number + 0.005 for number in range(1, 9)]  # each interval reaches as far as the winner's
    assert found.rivals == sum(mean - (high - 0.105) <= high for mean in means[1:])


def test_what_is_not_sure_is_said(place: Path) -> None:
    for name, words in (("whole", "cannot be told apart"), ("one", "It is of one run"), ("going", "1 of 2 runs")):
        found = winner(experiment := read(place, name))
        assert found is not None
        assert any(words in line for line in doubts(experiment, found)), name


def test_the_winners_test_figure_is_of_one_protocol(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002]))
    for split in ("validation", "test"):  # the best run is measured once more, on fewer images
        row = rows.figure(rows.EPOCHS, 0.5, "best", split) | {"n_real": 9, "protocol": f"other-{split}"}
        row |= {"experiment": "e", "run": "r0-0", "attempt": "a2", "tick": rows.EPOCHS}
        Slot(Storage(str(tmp_path)), "e", f"a2-{split}", kind="evaluated").extend({"evals": [row]})
    found = winner(read(tmp_path, "e"))
    assert found is not None
    assert (found.value, found.test) == pytest.approx((0.105, 0.106))


@pytest.mark.parametrize("over", [True, False])
def test_the_confirmed_winner_is_the_races_and_chosen_by_no_test_image(over: bool, tmp_path: Path) -> None:
    rates = [0.001, 0.002, 0.003]
    fresh = {f"f{run[1:]}": override(config, {"seed": config.seed + 1000})
             for run, config in rows.configs(rates=rates, seeds=2).items()}  # fmt: skip
    rows.write(tmp_path, "e", rows.configs(rates=rates, seeds=1) | fresh)
    row = rows.figure(rows.EPOCHS, 5.0, "best", "test") | {"experiment": "e", "run": "f1-0", "attempt": "a2"}
    slot = Slot(Storage(str(tmp_path)), "e", "a2-race")
    slot.extend({"evals": [row | {"tick": rows.EPOCHS}]})  # by test images the second one is the best of fresh seeds
    events = [event(slot, "a1", run, "run", "", None, race=1, configuration=f"r{run[1]}-0") for run in fresh]
    if over:  # by validation images no test told the last one from the first
        events += [event(slot, "a1", "r2-0", "win", "", None, race=1, of=2)]
    slot.extend({"events": events})
    assert results.leaderboard(str(tmp_path), "e", by="config").set_index("run")["confirmed"].idxmin() == "r1-0"
    found = winner(read(tmp_path, "e"))
    assert found is not None
    assert (found.run, found.confirmed, found.runs) == ("r2-0" if over else "r0-0", True, 2)


def test_fresh_seeds_that_are_ranked_no_more_choose_no_winner(tmp_path: Path) -> None:
    """The race goes on. Each of two has one of its fresh seeds left: by both of them the first one would be ahead."""
    search = rows.configs(rates=[0.001, 0.00102], seeds=1)
    fresh = {f"f{run[1:]}": override(config, {"seed": config.seed + 1000})
             for run, config in rows.configs(rates=[0.001, 0.00102], seeds=2).items()}  # fmt: skip
    rows.write(tmp_path, "e", search | fresh)
    slot = Slot(storage := Storage(str(tmp_path)), "e", "a2-race")
    events = [event(slot, "a1", run, "run", "", None, race=1, configuration=f"r{run[1]}-0") for run in fresh]
    slot.extend({"events": events})
    found = winner(read(tmp_path, "e"))
    assert found is not None
    assert (found.run, found.runs) == ("r0-0", 2)
    for run in ("f0-0", "f1-1"):
        forget(storage, "e", "a2", run, "its images were others")
    found = winner(read(tmp_path, "e"))
    assert found is not None
    assert (found.run, found.runs) == ("r1-0", 1)


def test_a_budget_that_grew_is_not_over_at_its_old_end(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001], seeds=1))
    row = outcome_row(9, best=0.05, best_epoch=7.0, metric=rows.METRIC)
    row |= {"experiment": "e", "run": "r0-0", "attempt": "a2", "tick": 9}
    Slot(Storage(str(tmp_path)), "e", "a2").extend({"outcomes": [row]})
    found = winner(experiment := read(tmp_path, "e"))
    assert found is not None
    assert found.epoch == 7 > rows.EPOCHS
    assert not any("longer training" in line for line in doubts(experiment, found))


def test_a_forgotten_run_is_first_nowhere_on_the_page(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(seeds=1), dict.fromkeys(rows.configs(seeds=1), "stopped"))  # none in full
    rows.write(tmp_path, "full", rows.configs(rates=[0.001, 0.002]))
    for name, run in (("e", "r0-0"), ("full", "r0-0")):
        forget(Storage(str(tmp_path)), name, "a2", run, "its images were others")
    found = winner(experiment := read(tmp_path, "e"))
    assert found is not None
    assert (found.run, found.full) == ("r1-0", False)
    assert progress.spent(experiment)["best"].min() == pytest.approx(0.4)  # of r1-0; what r0-0 cost still counts
    assert curves.choose(experiment, 9)["run"].iloc[0] == "r1-0"
    assert trials(experiment).table["value"].min() == pytest.approx(0.4)
    assert configurations(experiment)["run"].iloc[0] == "r1-0"
    found = winner(read(tmp_path, "full"))
    assert found is not None
    assert (found.run, found.runs, found.test_runs) == ("r0-1", 1, 1)
    assert found.test == pytest.approx(0.111)


def test_where_all_failed_nothing_won(place: Path) -> None:
    experiment = read(place, "failed")
    assert winner(experiment) is None
    assert experiment.count("failed") == 4
    (row,) = grouped(experiment.runs, "why").to_dict("records")  # the steps differ, the reason does not
    assert (row["count"], row["example"]) == (4, "loss is not finite at step 0")


def test_a_run_goes_on_while_a_job_holds_the_experiment(place: Path) -> None:
    assert read(place, "going").count("unfinished") == 1
    with Lease(Storage(str(place)), "going"):
        assert read(place, "going").count("running") == 1


def test_what_was_spent_and_saved(place: Path) -> None:
    experiment = read(place, "whole")
    found = spent(experiment)
    finished, short = 17, 3  # of the latter one failed, and saved nothing
    assert found.epochs == finished * rows.EPOCHS + short * rows.STOPPED
    assert found.device_seconds == 2 * found.epochs
    assert found.saved_epochs == 2 * (rows.EPOCHS - rows.STOPPED)
    assert found.saved_seconds == 2 * found.saved_epochs
    assert found.wall == 19 + 10


def test_the_best_so_far_never_gets_worse_and_ends_at_the_best(place: Path) -> None:
    frame = progress.spent(read(place, "whole"))
    assert frame["best"].is_monotonic_decreasing
    assert frame["best"].iloc[-1] == frame["value"].min() == pytest.approx(0.1)
    assert frame["device_seconds"].iloc[-1] == spent(read(place, "whole")).device_seconds


def test_the_board_has_each_configuration_once_ranked_ones_first(place: Path) -> None:
    table = configurations(read(place, "whole"))
    assert len(table) == 10
    assert list(table["rank"][:8]) == list(range(1, 9))
    assert table["rank"][8:].isna().all()
    assert table["runs"].sum() == 20
    assert list(table["states"][8:]) == ["1 finished, 1 failed", "2 stopped"]
    assert list(table["rate"][:3]) == [0.001, 0.002, 0.003]


def test_the_command_gives_the_same_run(place: Path, tmp_path: Path) -> None:
    """Also where a search pinned a setting that its entry has otherwise, to its field's default."""
    commands = again(read(place, "whole"), ["r3-1"])
    program, module, job, *arguments = shlex.split(commands.of("r3-1"))
    assert (program, module, job) == ("python", "-m", "jobs.train")
    told = CliRunner().invoke(train.main, [*arguments, "--storage", str(tmp_path), "--dry-run"])
    assert told.exit_code == 0, told.output
    wanted = rows.configs(rates=[0.001, 0.002, 0.003, 0.004])["r3-1"]
    assert essence(restore(json.dumps(json.loads(told.stdout)))) == essence(wanted)


def test_a_run_that_went_on_from_another_s_state_has_no_command(tmp_path: Path) -> None:
    """The settings with which it began make another run."""
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002], seeds=1))
    rows.event(tmp_path, "e", "r0-0", "exploit", "exploit", 2, source="r1-0", before={}, settings={}, source_value=1.0)
    rows.event(tmp_path, "e", "r1-0", "exploit", "stay", 2, source=None, before={}, settings={}, source_value=None)
    found = facts(Storage(str(tmp_path)), ["e"])
    commands = again(found.first, ["r0-0", "r1-0"])
    assert commands.of("r0-0") == ""
    assert "--entry vqvae" in commands.of("r1-0")
    told = "no command: it went on from another run's state; these settings are those that it began with"
    for section in (first.section, board.section):
        made = section(found)
        assert made is not None
        assert html.unescape(made.html).count(told) == 1
    assert "jobs.train" not in first.section(found).html  # whose winner is r0-0


def test_curves_are_of_the_best_and_of_others_and_few(place: Path) -> None:
    experiment = read(place, "whole")
    whole = curves.curves(experiment)
    assert set(whole.names) == {rows.METRIC, "psnr/reconstructions", "autoencoder/loss"}
    assert [len(x) for _, x, _ in whole.names[rows.METRIC]].count(rows.EPOCHS) == 17
    assert whole.rungs == [2.0]
    few = curves.curves(experiment, runs=12, points=1)
    assert len(few.runs) == 12
    assert list(few.runs["rank"][:10]) == list(range(1, 11))
    assert max(len(x) for lines in few.names.values() for _, x, _ in lines) <= curves.LEAST


@given(st.integers(0, 3000), st.integers(2, 50), st.integers(0, 5))
def test_thinning_keeps_the_ends_and_a_curves_shape(count: int, most: int, moves: int) -> None:
    steps = np.sort(np.random.default_rng(count).integers(0, moves + 1, count))[::-1]
    for places in (thin(count, most), thin(count, most, steps)):
        assert len(places) <= max(most + 2, 0)
        assert (np.diff(places) > 0).all()
        if count:
            assert (places[0], places[-1]) == (0, count - 1)
    kept = steps[thin(count, most, steps)]
    if moves < most:
        assert set(kept) == set(steps)


def example(count: int) -> Trials:
    """Configurations of which `decides` alone says how good they are."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"decides": random.random(count), "idle": random.random(count)})
    table["word"] = pd.Series(random.choice(["a", "b", "c"], count), dtype="str")
    table.insert(0, "value", (table["decides"] - 0.3) ** 2)
    return Trials(table.sort_values("value", ignore_index=True), ["decides", "idle", "word"], [], 0, "min")


def test_the_setting_that_decides_is_told_apart_from_chance() -> None:
    ranked = importance(example(200), 20)
    assert clear(ranked) == ["decides"]
    assert set(ranked["setting"]) == {"decides", "idle", "word", YARDSTICK}
    assert ((ranked["low"] <= ranked["share"]) & (ranked["share"] <= ranked["high"])).all()
    assert ranked["share"].sum() == pytest.approx(1)
    pd.testing.assert_frame_equal(importance(example(30), 2), importance(example(30), 2))


def test_few_configurations_tell_nothing() -> None:
    assert clear(importance(example(8))) == []


def test_axes_of_percentiles_spread_numbers_evenly(place: Path) -> None:
    told = axis(trials(read(place, "whole")).table["value"], "value")
    assert sorted(told["values"]) == pytest.approx(np.linspace(0.1, 1, 10))  # a failed sibling has no value
    assert told["tickvals"] == sorted(told["tickvals"])
    assert told["ticktext"][0] == "0.105"


@pytest.mark.slow
def test_a_large_search_is_embedded_as_a_few_rows_and_curves(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Fleet("fleet", 1050, 2).write(storage)
    found = facts(storage, ["fleet"])
    assert len(configurations(found.first)) > MOST
    text = page(found)
    assert text.count("<tr>") < MOST + curves.RUNS + 40
    assert f"first {MOST} of 210" in text
    assert len(text) < 3_000_000


def test_the_page_takes_neither_torch_nor_ray(place: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom jobs import report\n"
        f"try: report.main(['--storage', {str(place)!r}, '--name', 'one', '--out', {str(tmp_path / 'one.html')!r}])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr
