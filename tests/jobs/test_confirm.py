"""jobs.tune --confirm: the best of a search train again with fresh seeds, on a real Ray; killed, out of budget and
submitted again it is one race."""

import math
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from gen import results
from gen.config import identity, override, to_json
from gen.on_ray.proposals import Proposal, record
from gen.record.names import Names, write_note
from gen.results import Ledger, Slot
from gen.results.confirmation import fresh_runs, last_race
from gen.results.forget import forget
from gen.zoo import restore
from jobs import confirm, tune
from jobs.at_end import unconfirmed
from jobs.draws import samples_of
from jobs.plan import Plan, plan
from jobs.several import Plans
from tests.conftest import GIVE_UP
from tests.results.example_rows import begin, outcome_row

RATES = ["--only", "--search", "model.optimizer.rate=2e-3,1e-6", "--sampler", "grid"]
SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--size", 8, "--name", "search", *RATES]
SIZES = ["--set", "evaluate.full_images=50", "--set", "evaluate.images=50"]
QUICK = ["--epochs", 1, "--max-concurrent", 2, *SIZES]
ASKED = [*SMALL, *QUICK, "--confirm", 2, "--seeds", 5, "--seed", 3, "--confirm-level", 0.05]


def test_a_race_that_is_killed_and_out_of_budget_is_one_race(
    run_job: Callable, start_job: Callable, judged: Callable, tmp_path: Path
) -> None:
    """A rate of 1e-6 learns nothing, and drops out at the fifth seed, the first at which a test at 0.05 can tell."""
    place = judged(tmp_path)
    process = start_job("tune", *ASKED, "--storage", tmp_path)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "(3 of " in line and " run " in line and any("confirming" in one for one in lines):
            process.send_signal(signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=GIVE_UP)
    assert any("the search trains 1 seed a configuration; then its best 2" in line for line in lines), errors
    entered = results.events(place, "search", kind="confirm").query("decision == 'enter'")
    assert len(entered) == 2
    ended = len(results.outcomes(place, "search"))
    assert 2 + 3 <= ended < 2 + 10
    alone = ["--max-concurrent", 1, "--storage", tmp_path]  # one slot is to be loaded and not two
    some = run_job("tune", *ASKED, *alone, "--epoch-budget", ended + 1)
    assert some.returncode == 0, some.stderr
    assert f"the budget of {ended + 1} epochs is spent" in some.stdout
    assert "runs to go: submit the same again with more to go on" in some.stdout
    done = run_job("tune", *ASKED, *alone)
    assert done.returncode == 0, done.stderr
    check(place, done.stdout)


def check(place: str, printed: str) -> None:
    """The tables and what was printed of them."""
    race, fresh = last_race(place, "search"), fresh_runs(place, "search")
    assert race is not None
    assert (race.number, race.won, len(race.entrants), [drop["of"] for drop in race.drops]) == (1, 5, 2, [5])
    (loser,) = (drop["configuration"] for drop in race.drops)
    (winner,) = {*race.entrants} - {loser}
    decided = results.events(place, "search", kind="confirm").sort_values(["attempt", "time"], kind="stable")
    assert list(decided["decision"][decided["decision"] != "run"]) == ["enter", "enter", "drop", "win"]
    assert not results.outcomes(place, "search", all_ends=True).duplicated("run").any()
    configs = results.runs(place, "search").set_index("run")["config"].map(restore)
    assert {configs[run].seed for run in race.entrants} == {3}
    for run, own in fresh.items():
        assert 1003 <= configs[run].seed <= 1007
        assert override(configs[run], {"seed": 3}) == configs[own]
    ends = results.outcomes(place, "search").set_index("run")
    assert set(ends["status"]) == {"finished"}
    assert set(ends["epochs"]) == {1.0}
    assert len(ends) == 2 + 10
    full = results.evals(place, "search", scope="best")
    assert set(full["run"]) == set(ends.index)
    assert set(full["split"][full["run"].isin(fresh)]) == {"validation", "test"}
    assert not full.duplicated(["run", "protocol"]).any()
    board = results.leaderboard(place, "search", by="config").set_index("run")
    assert list(board.index) == [winner, loser]
    assert set(board["runs"]) == {1}  # of the search alone
    figures = full[(full["metric"] == "mse") & (full["subject"] == "reconstructions")].set_index(["run", "split"])[
        "value"
    ]
    for own in (winner, loser):
        row, mine = board.loc[own], [run for run, of in fresh.items() if of == own and run in ends.index]
        assert row["mean"] == figures[own, "validation"]
        values = np.array([figures[run, "test"] for run in mine])
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert (row["confirmed_n"], row["confirmed_runs"]) == (len(mine), len(mine))
        assert [row["confirmed"], row["confirmed_low"], row["confirmed_high"]] == pytest.approx(
            [values.mean(), low, high]
        )
    line = f"the intervals of {loser} overlap that of run {winner}; the race, which compares seed by seed"
    assert (line in printed) != board["confirmed_apart"][loser]
    assert "cannot be told apart" not in printed
    assert f"dropped: the configuration of run {loser}: behind {winner} over 5 seeds" in printed
    table = printed.partition("confirmed with fresh seeds, on test images, with 95% intervals:\n")[2].splitlines()
    assert [line.split()[0] for line in table[:3]] == ["run", winner, loser]
    assert results.compare(place, "search", ["model.optimizer.rate"])["n"].to_list() == [
        board["confirmed_n"][own] for own in (loser, winner)
    ]


def planned(*arguments: object) -> Plan:
    return plan(tune.main.make_context("tune", ["--entry", "vqvae", *map(str, arguments)]).params)


def test_the_seeds_are_the_confirmation_s(tmp_path: Path) -> None:
    wanted = planned("--confirm", 12, "--samples", 3, "--storage", tmp_path)
    assert (wanted.seeds, len(wanted.configs)) == (1, 3)
    assert wanted.space.config.evaluate.leaders == 12  # who takes part is chosen by full figures
    assert wanted.confirm is not None
    assert (wanted.confirm.count, wanted.confirm.seeds, wanted.confirm.level) == (12, 10, 0.13)
    few = planned("--confirm", 2, "--seeds", 3, "--confirm-level", 0.1, "--storage", tmp_path, "--sampler", "tpe")
    assert few.confirm is not None
    assert few.confirm.words(1).endswith("fresh seeds; nobody drops out, for a test at level 0.1 needs 4 seeds")
    assert few.confirm.words(3).startswith("confirm: the search trains the 3 seeds a configuration that are on record")
    searched = planned("--seeds", 3, "--storage", tmp_path, "--name", "search", "--samples", 3)
    assert searched.confirm is None
    write_note(results.Storage(str(tmp_path)), "search", searched.note("images"))
    again = planned("--confirm", 5, "--storage", tmp_path, "--name", "search", "--samples", 3)
    assert (again.seeds, again.space.config.evaluate.leaders) == (3, 15)  # five whole configurations


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--confirm", "0"], "confirm=0 is out of range; allowed: at least 1"),
        (["--confirm", "2", "--seeds", "1"], "seeds=1 with confirm=2: they are the fresh seeds; allowed: at least 2"),
        (["--confirm", "2", "--confirm-level", "1"], "level=1.0 is out of range"),
        (["--confirm-level", "0.1"], "confirm-level=0.1 goes with confirm"),
        (
            ["--confirm", "2", "--samples", "0", "--epoch-budget", "9"],
            "confirm=2 with samples=0: a search without an end",
        ),
        (["--confirm", "2", "--set", "evaluate.full=none"], "confirm=2 measures in full, and evaluate.full=none"),
    ],
)
def test_what_cannot_be_confirmed_is_refused(arguments: list[str], expected: str, tmp_path: Path) -> None:
    asked = ["--entry", "vqvae", "--storage", str(tmp_path / "storage"), *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert expected in result.stderr
    assert not (tmp_path / "storage").exists()


REPEATED = ["--only", "--search", "model.optimizer.rate=1,2,3,4,5,6,7,8"]  # of which ten draws are fewer


def test_a_search_that_a_limit_ended_says_what_confirms_the_best_of_what_is_there(tmp_path: Path) -> None:
    asked = ["--confirm", 2, "--samples", 7, *REPEATED, "--seed", 1, "--name", "e", "--storage", tmp_path]
    wanted, storage = planned(*asked), results.Storage(str(tmp_path))
    runs = {identity(config, "d1"): config for config in wanted.configs}

    def begun(run: str, ends: bool) -> None:
        begin(ledger := Ledger(storage, "e", run, "a1"), config=to_json(runs[run]))
        if ends:
            ledger.add("outcomes", 1, **outcome_row(1))
        ledger.close(1)

    line = "confirm: nothing was confirmed, for the search has not ended; submit the same again with more to go on"
    begun(next(iter(runs)), ends=True)
    begun(list(runs)[2], ends=False)
    told = unconfirmed(Plans([wanted]), runs, storage, " with more")
    samples = int(told.partition("--samples ")[2].split()[0])
    best = " to confirm the best of the 3 configurations that were begun; 1 of their runs ends first"
    assert told == f"{line}, or with --samples {samples} and more{best}"
    again = planned(*asked[:3], samples, *asked[4:])
    assert again.configs == wanted.configs[:3]
    begun(list(runs)[2], ends=True)
    told = unconfirmed(Plans([wanted]), runs, storage, "")
    assert told.endswith(f", or with --samples {samples} to confirm the best of the 3 configurations that were begun")
    begun(list(runs)[-1], ends=False)
    assert unconfirmed(Plans([wanted]), runs, storage, " with more") == line


def test_so_many_samples_have_so_many_different_configurations(tmp_path: Path) -> None:
    whole = planned("--samples", 10, *REPEATED, "--storage", tmp_path)
    assert len(whole.drawn) < 10
    for count in range(1, len(whole.drawn) + 1):
        samples = samples_of(whole.space, whole.sampler, whole.begins.first, count)
        if samples < 10:
            assert planned("--samples", samples, *REPEATED, "--storage", tmp_path).drawn == whole.drawn[:count]


def test_a_search_without_an_end_says_of_how_many_it_can_be_confirmed(tmp_path: Path) -> None:
    slot = Slot(results.Storage(str(tmp_path)), "e", "a-proposals", kind="proposed")
    record(slot, "a", [Proposal("vqvae", number, {}, "random", frozenset({f"r{number}"})) for number in range(64)])
    config = planned("--storage", tmp_path).space.config
    begin(ledger := Ledger(results.Storage(str(tmp_path)), "e", "r4", "a"), config=to_json(config))
    ledger.flush(0)
    with pytest.raises(ValueError, match=r"with --samples 5, the configurations that it has begun$"):
        planned("--confirm", 2, "--samples", 0, "--epoch-budget", 9, "--name", "e", "--storage", tmp_path)


def test_conditions_are_no_rivals(tmp_path: Path) -> None:
    asked = [
        "--entry",
        "sgan",
        "--search",
        "data.labels=20,50",
        "--confirm",
        "2",
        "--storage",
        str(tmp_path / "storage"),
    ]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2
    assert "confirm=2: runs under different data.labels are no rivals" in result.stderr


def test_a_race_goes_on_under_the_same_terms_and_begins_anew_under_others(tmp_path: Path) -> None:
    wanted = Plans([planned("--confirm", 2, "--seeds", 3, "--storage", tmp_path, "--name", "search", "--samples", 4)])
    storage = results.Storage(str(tmp_path))
    configs = {f"r{place}": one for place, one in enumerate(wanted.configs)}

    def end(run: str, best: float) -> None:
        ledger = results.Ledger(storage, "search", run, "a1")
        rate = float(run[1:])
        begin(ledger, settings=[("model.rate", rate, str(rate))], config=to_json(configs[run]))
        ledger.add("outcomes", 1, **outcome_row(1, best=best))
        ledger.close(1)

    end("r0", 3.0)
    end("r1", 2.0)
    end("r2", 4.0)
    with results.Lease(storage, "search") as lease:
        first = confirm.begin(wanted, configs, lease)
        assert first is not None
        assert (first.number, first.entrants, first.first) == (1, ["r1", "r0"], 1000)
        assert first.terms == {"confirm": 2, "level": 0.13, "epochs": wanted.configs[0].budget.epochs, "runs": 3}
        assert confirm.begin(wanted, configs, lease) == first
        assert last_race(storage, "search") == first
    end("r3", 1.0)  # the search has grown
    with results.Lease(storage, "search") as lease:
        second = confirm.begin(wanted, configs, lease)
        assert second is not None
        assert (second.number, second.entrants, second.first) == (2, ["r3", "r1"], 1000)  # and finds runs on record
        hashes = {wanted.configs[0].data: "images"}
        table = confirm.fresh(wanted, second, configs, Names(storage, "search"), hashes)
        assert sorted(table) == [(one, number) for one in ("r1", "r3") for number in (1000, 1001, 1002)]
        for (one, number), (run, config) in table.items():
            assert config == override(configs[one], {"seed": number}).resolve()
            assert run == identity(config, "images")
    forget(storage, "search", "a9", "r3", "its images were others")
    with results.Lease(storage, "search") as lease:
        third = confirm.begin(wanted, configs, lease)
        assert third is not None
        assert (third.number, third.entrants) == (3, ["r1", "r0"])


def test_of_a_race_what_failed_or_is_ranked_no_more_is_not_measured(tmp_path: Path) -> None:
    storage = results.Storage(str(tmp_path))
    for run, status in {"good": "finished", "gone": "finished", "bad": "failed", "cut": "stopped"}.items():
        ledger = results.Ledger(storage, "search", run, "a1")
        begin(ledger)
        ledger.add("outcomes", 1, **outcome_row(1, status=status, checkpoint="weights"))
        ledger.close(1)
    forget(storage, "search", "a9", "gone", "its images were others")
    assert sorted(confirm.measurable(storage, "search", dict.fromkeys(["good", "gone", "bad"]))) == ["good"]
    assert sorted(confirm.measurable(storage, "search", dict.fromkeys(["good", "cut", "gone"]))) == ["cut", "good"]


def test_nobody_takes_part_where_nothing_finished(tmp_path: Path) -> None:
    wanted = Plans([planned("--confirm", 2, "--storage", tmp_path, "--name", "search", "--samples", 1)])
    storage = results.Storage(str(tmp_path))
    ledger = results.Ledger(storage, "search", "r0", "a1")
    begin(ledger)
    ledger.add("outcomes", 1, **outcome_row(1, status="failed"))
    ledger.close(1)
    with results.Lease(storage, "search") as lease:
        assert confirm.begin(wanted, {"r0": wanted.configs[0]}, lease) is None
    assert last_race(storage, "search") is None


def test_what_cannot_be_told_apart_is_said() -> None:
    rows = {"run": ["a", "b", "c", "d", "e"], "confirmed_low": [1.0, 0.9, 1.1, 4.0, math.nan]}
    board = pd.DataFrame({**rows, "confirmed_apart": [None, False, False, True, None]})
    alike, told = confirm.overlaps(board, ["c", "d"])
    assert alike == "cannot be told apart from run a, for their intervals overlap: b"
    assert told.startswith("the intervals of c overlap that of run a; the race, which compares seed by seed")
    assert confirm.overlaps(board[board["run"].isin(["a", "d"])], ["d"]) == []
