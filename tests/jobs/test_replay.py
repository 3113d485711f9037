"""jobs.tune --replay: synthetic tables with a known answer, what is counted, and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gen import results
from gen.on_ray.proposals import Proposal
from gen.on_ray.proposals import record as record_proposals
from gen.record import names
from gen.record.curves import recorded
from gen.results.forget import forget
from gen.results.schema import FULL_SHARE, LATER_SECONDS, WORST
from gen.search.replay import Rules, replay
from gen.zoo import ZOO
from jobs import tune
from tests.results.example_rows import eval_row, outcome_row, run_row, when

FLOOR = (("evaluate.floor", None, "recall/reconstructions"), ("evaluate.least", 0.5, "0.5"))


def record(
    place: Path,
    run: str,
    seed: int,
    values: Sequence[float],
    *,
    ended: bool = True,
    settings: Sequence = (),
    entry: str = "vqvae",
    devices: float | None = None,
    **more,
) -> None:
    """A run that measured `values`, an epoch and ten seconds apart."""
    ledger = results.Ledger(results.Storage(str(place)), "old", run, results.new_attempt())
    ledger.add("runs", 0, **run_row(seed, entry=entry, devices=devices))
    for key, number, text in (("model.beta", None, run[0]), ("seed", seed, str(seed)), *settings):
        ledger.add("settings", 0, key=key, number=number, text=text)
    for tick, value in enumerate(values, start=1):
        ledger.add("metrics", tick, **when(tick), seconds=10.0 * tick, name="autoencoder/rate", value=0.0)
        ledger.add("evals", tick, **eval_row(tick, value))
        for metric, numbers in more.items():
            ledger.add("evals", tick, **eval_row(tick, numbers[tick - 1], metric=metric))
    if ended:  # measuring it in full takes long, and is no part of a tick
        ledger.add("metrics", len(values), **when(len(values)), seconds=500.0, name="engine/full_seconds", value=400.0)
        for name in (LATER_SECONDS, FULL_SHARE):  # as of a search's leader
            ledger.add("metrics", len(values), **when(len(values)), seconds=4.0, name=name, value=4.0)
        ledger.add("outcomes", len(values), **outcome_row(len(values)))
    ledger.close(len(values))


def replayed(place: Path, *arguments: object) -> Result:
    asked = ["--replay", "old", "--storage", str(place), *map(str, arguments)]
    return CliRunner().invoke(tune.main, asked)


def test_a_recorded_search_is_told_under_other_rules(tmp_path: Path):
    for number, run in enumerate("abcd"):
        record(tmp_path, run, 0, [number + 1.0, number + 0.5, number + 0.4])
    record(tmp_path, "e", 0, [9.0])
    record(tmp_path, "f", 0, [9.0], ended=False)
    done = replayed(tmp_path, "--slots", "1,500", "--grace", 1, "--reduction", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("5 runs by frechet_classifier/reconstructions (min), up to epoch 3")
    assert lines[1] == "1 of 6 runs have not ended: left out"
    assert lines[2] == "1 of 5 runs are on record up to before epoch 3: the replay ends them there too"
    assert lines[3].startswith(
        "everything to the end: 5 runs, 15 epochs, of which rungs save a share (saved); 13 of them"
    )
    table = [line.split() for line in lines[4:9]]
    assert table[1:] == [
        ["1", "none", "0:02:10", "30", "s", "30", "s", "13", "0-13%", "0", "5", "0.4"],
        ["1", "1", "2", "0:01:10", "30", "s", "30", "s", "7", "53%", "4", "5", "0.4"],
        ["500", "none", "30", "s", "30", "s", "30", "s", "13", "0-13%", "0", "5", "0.4"],
        ["500", "1", "2", "30", "s", "30", "s", "30", "s", "7", "53%", "4", "5", "0.4"],
    ]
    assert lines[9:11] == [
        f"rank correlation of epoch {rung} with the end: 1.00, of 4 configurations on record to the end"
        for rung in (1, 2)
    ]
    assert lines[11].startswith("the correlations are of those that were not stopped")
    assert len(lines) == 12
    assert "unsafe" not in done.stdout


def test_a_grace_beyond_the_last_epoch_is_told_to_have_no_rung(tmp_path: Path):
    record(tmp_path, "a", 0, [2.0, 1.0])
    record(tmp_path, "b", 0, [3.0])
    done = replayed(tmp_path, "--slots", 1, "--grace", 2)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "no rung: a search up to epoch 2 stops a run only with --grace below it"
    assert "correlation" not in done.stdout


def test_limits_end_a_replay_and_the_first_one_is_said(tmp_path: Path):
    for run in "abcd":
        record(tmp_path, run, 0, [2.0, 1.0])
    asked = ["--slots", "1,2", "--grace", 1, "--reduction", 2]
    done = replayed(tmp_path, *asked, "--epoch-budget", 9, "--device-budget", "12s", "--gpus-per-trial", 0.25)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[1] == "everything to the end: 4 runs, 8 epochs, of which rungs save a share (saved)"
    assert lines[2] == "device-seconds: a run takes 0.25 devices"
    ended = "the budget of 12 device-seconds is spent (12)"  # 48 s of a quarter of a device
    assert lines[3].endswith(" ended by")
    assert all(line.endswith(f" {ended}") for line in lines[4:8])
    assert [line.split()[-10] for line in lines[4:8]] == ["3", "3", "4", "4"]  # begun
    done = replayed(tmp_path, *asked, "--cost-budget", 100, "--price", 3600, "--time-budget", "15s")
    assert "device-seconds: a run takes 1 device\n" in done.stdout
    assert done.stdout.count("the time is up") == 4


def test_a_run_takes_the_devices_that_are_on_record(tmp_path: Path):
    for run, devices in zip("abc", (0.25, 0.25, 1.0), strict=True):
        record(tmp_path, run, 0, [2.0, 1.0], devices=devices)
    done = replayed(tmp_path, "--slots", 1, "--device-budget", "10s")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == "1 of 3 runs did not take 0.25 devices: they count as if they had"
    assert "device-seconds: a run takes 0.25 devices\n" in done.stdout


def test_a_family_whose_early_values_do_not_tell_is_called_unsafe(tmp_path: Path):
    for number, run in enumerate("abcd"):
        for seed in (0, 1):
            record(tmp_path, f"{run}{seed}", seed, [number + 5.0, number + 5.0, 4.0 - number])
    done = replayed(tmp_path, "--slots", 2)
    assert done.exit_code == 0, done.output
    assert "rank correlation of epoch 1 with the end: -1.00, of 4 configurations on record to the end" in done.stdout
    assert "early stopping is unsafe for this family at epoch 1, 2: the rank correlation is below 0.5" in done.stdout


def propose(place: Path, number: int, *runs: str, sampler: str = "random", entry: str = "vqvae") -> None:
    slot = results.Slot(results.Storage(str(place)), "old", results.new_attempt(), kind="proposed")
    record_proposals(slot, slot.name, [Proposal(entry, number, {}, sampler, frozenset(runs))])


def order(place: Path) -> list[str]:
    return [one.run for one in recorded(results.Storage(str(place)), "old").curves]


def test_runs_come_in_the_order_of_their_proposals_not_of_a_clock(tmp_path: Path):
    for run, seed in (("d0", 0), ("b1", 1), ("a0", 0), ("b0", 0), ("c0", 0)):  # as their names do not sort
        record(tmp_path, run, seed, [1.0])
    assert sorted(order(tmp_path)) == ["a0", "b0", "b1", "c0", "d0"]
    propose(tmp_path, 2, "b0", "b1")
    propose(tmp_path, 0, "c0")
    propose(tmp_path, 1, "a0")
    propose(tmp_path, 3, "c0")  # drawn twice
    assert order(tmp_path) == ["c0", "a0", "b0", "b1", "d0"]  # no proposal of the last one is on record


@pytest.mark.parametrize(("sampler", "expected"), [("grid", "p0 p1 a0 a1"), ("tpe", "p0 a0 p1 a1")])
def test_entries_come_as_a_search_takes_them(sampler: str, expected: str, tmp_path: Path):
    entries = {"p": "vqvae", "a": "vae_mlp"}
    for run in ("a1", "a0", "p1", "p0"):
        record(tmp_path, run, 0, [1.0], entry=entries[run[0]])
        propose(tmp_path, int(run[1]), run, sampler=sampler, entry=entries[run[0]])
    note = names.note(ZOO["vqvae"], "d1", entries=["vqvae", "vae_mlp"])
    names.write_note(results.Storage(str(tmp_path)), "old", note)
    assert order(tmp_path) == expected.split()


def test_forgotten_runs_are_not_played(tmp_path: Path):
    for run, value in (("a", 3.0), ("b", 2.0), ("c", 0.1)):
        record(tmp_path, run, 0, [value])
    forget(results.Storage(str(tmp_path)), "old", results.new_attempt(), "c", "its images were wrong")
    done = replayed(tmp_path, "--slots", 1)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("2 runs by frechet_classifier/reconstructions (min), up to epoch 1")
    assert lines[1] == "1 of 3 runs are forgotten: left out"
    assert lines[-2].split()[-1] == "2"  # the best, above the line that says that there is no rung
    for run in "ab":
        forget(results.Storage(str(tmp_path)), "old", results.new_attempt(), run, "as are theirs")
    assert "no run of old in" in replayed(tmp_path).stderr
    assert "has ended but 3 that are forgotten" in replayed(tmp_path).stderr


def test_weights_below_the_floor_steered_as_the_worst(tmp_path: Path):
    record(tmp_path, "a", 0, [3.0, 1.0], settings=FLOOR, recall=[0.9, 0.1])
    record(tmp_path, "b", 0, [3.0, 1.0])
    found = recorded(results.Storage(str(tmp_path)), "old")
    assert [list(one.values) for one in found.curves] == [[3.0, WORST], [3.0, 1.0]]
    assert [list(one.seconds) for one in found.curves] == [[10.0, 20.0]] * 2


def test_a_search_comes_to_what_its_replay_told(run_job: Callable, tmp_path: Path):
    """A real search both ways: what is replayed stops nobody, the other one stops as the replay did. In one slot
    nothing depends on speed, so every run ends at the same epoch."""
    asked = [*("--entry", "vqvae", "--set", "model.networks.hidden=8", "--size", 8, "--max-concurrent", 1)]
    asked += ["--max-epochs", 4, "--samples", 4, "--seeds", 2, "--seed", 2, "--reduction", 2]
    asked += ["--set", "evaluate.full=none"]
    for name, grace in (("old", 4), ("stopping", 1)):
        done = run_job("tune", *asked, "--name", name, "--grace", grace, "--storage", tmp_path)
        assert done.returncode == 0, done.stderr
    found = recorded(results.Storage(str(tmp_path)), "old")
    told = replay(found.curves, Rules(1, 1, 2), found.mode, found.every)
    ends = results.outcomes(str(tmp_path), "stopping").set_index("run")
    assert ends["epochs"].to_dict() == told.epochs
    stopped = ends.index[ends["status"] == "stopped"]
    assert {*stopped} == {run for run, epochs in told.epochs.items() if epochs < 4}
    assert 0 < len(stopped) == told.stopped
    assert told.saved == 8 * 4 - ends["epochs"].sum()
    assert ends["best"].min() == told.best
    line = replayed(tmp_path, "--slots", 1, "--grace", 1, "--reduction", 2).stdout.splitlines()[4].split()
    assert line[-5:-1] == [f"{ends['epochs'].sum():g}", f"{100 * told.saved / 32:.0f}%", str(len(stopped)), "8"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--replay", "absent"], "no experiment 'absent'"),
        (["--replay", "old", "--slots", "8,none"], "slots='8,none' names no numbers of slots; allowed: such as 8,64"),
        (["--replay", "old", "--slots", "0"], "slots='0'"),
        (["--replay", "old", "--entry", "vqvae", "--set", "model.beta=1"], "so --entry, --set says nothing to it"),
        (["--replay", "old", "--epoch-budget", "0"], "epoch-budget=0 is out of range"),
        (["--replay", "old", "--cost-budget", "3"], "cost-budget goes with price"),
        (["--replay", "old", "--device-budget", "much"], "device-budget='much' is no length of time"),
        (["--replay", "old", "--gpus-per-trial", "0"], "gpus-per-trial=0 is out of range"),
        (["--replay", "old", "--grace", "0"], "grace=0 is out of range"),
        (["--replay", "old"], "no run of old"),
        (["--entry", "vqvae", "--slots", "8"], "slots is for --replay"),
        (["--slots", "8"], "Missing option '--entry'"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_a_line(arguments: list[str], expected: str, tmp_path: Path):
    record(tmp_path, "a", 0, [1.0], ended=False)
    result = CliRunner().invoke(tune.main, ["--storage", str(tmp_path), *arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
