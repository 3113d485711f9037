"""The driver, a slot and the whole local Ray, killed in mid-epoch: a search loses and doubles nothing."""

import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import torch

from gen import results
from gen.record import checkpoint
from gen.search.population import Rules
from gen.zoo import restore
from jobs.bench.kills import Head, faults, running
from tests.conftest import GIVE_UP, wait_for
from tests.fixtures import populations

RUNS, EPOCHS = 3, 20
SEARCH = f"--entry vqvae --set model.networks.hidden=24 --epochs {EPOCHS} --grace {EPOCHS} --samples {RUNS}"
SEARCH += " --set budget.checkpoint_seconds=0 --set evaluate.full=all"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running() as head:
        yield head


def test_kills_in_the_middle_of_an_epoch(head: Head, judged: Callable, tmp_path: Path):
    """Of a slot, which the search replaces; then of this Ray, and the driver with it."""
    arguments = f"{SEARCH} --name search --storage {judged(tmp_path)}"

    def resumed() -> int:
        return len(results.events(str(tmp_path), "search", kind="resume"))

    def going_on() -> int:
        """Runs that have a checkpoint; an ended run has none."""
        return len(list(tmp_path.glob("search/_checkpoints/*/last.pt")))

    search = head.submit(arguments)
    wait_for(  # whichever slot is killed, it is in such a run
        lambda: going_on() >= head.cpus or search.poll() is not None,
        lambda: f"{going_on()} runs have a checkpoint, and {head.cpus} at once are waited for",
    )
    assert search.poll() is None, f"no {head.cpus} runs had a checkpoint at once: {search.communicate()[0]}"
    head.slots()[0].kill()
    wait_for(lambda: resumed() or search.poll() is not None, lambda: "the run of the killed slot goes on nowhere")
    assert resumed(), search.communicate()[0]
    cut = 0  # runs that the kill cut off and that could go on; the one that was waited for may have ended by then
    while not cut:
        wait_for(lambda job=search: going_on() or job.poll() is not None)
        assert search.poll() is None
        head.kill()
        assert search.poll() == -signal.SIGKILL
        cut, once = going_on(), resumed()
        assert len(results.outcomes(str(tmp_path), "search")) < RUNS
        head.start()
        search = head.submit(arguments)
    output, _ = search.communicate(timeout=GIVE_UP)
    assert search.returncode == 0, output
    assert faults(str(tmp_path), "search", RUNS) == ([], [])
    ends = results.outcomes(str(tmp_path), "search", all_ends=True)
    assert sorted(ends["status"]) == ["finished"] * RUNS
    assert set(ends["epochs"]) == {EPOCHS}
    assert resumed() > once  # what was cut off went on from its checkpoint


@pytest.mark.long
@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_a_ray_that_dies_is_said_in_a_line(head: Head, tmp_path: Path, victim: str):
    """The search ends with it, and so do its trials. (`ray start --block` ends the one when the other dies.)"""
    search = head.submit(f"{SEARCH} --name search --storage {tmp_path}")
    wait_for(lambda: list(tmp_path.glob("search/_checkpoints/*/last.pt")), head.slots)
    slots = head.slots()
    (process,) = [one for one in head.process.children(recursive=True) if one.name() == victim]
    process.kill()
    *_, line = search.communicate(timeout=GIVE_UP)[0].splitlines()
    assert search.returncode == 1
    assert line.startswith(("error: the Ray head at ", "error: the Ray node of this host "))
    assert line.endswith(" has died; start Ray again and submit the same again: it goes on from what is recorded")
    wait_for(lambda: not any(one.is_running() for one in slots))
    head.kill()
    head.start()


@pytest.mark.long
def test_kill_of_a_process_that_drives_two_workers(head: Head, tmp_path: Path):
    """The workers hold both CPUs of this Ray, and the dashboard is absent, by which Ray itself would free them."""
    search = head.submit(f"{SEARCH} --samples 1 --workers-per-trial 2 --name search --storage {tmp_path}")
    wait_for(lambda: list(tmp_path.glob("search/_checkpoints/*/last.pt")), head.slots)
    (driver,) = head.slots()
    driver.kill()
    output, _ = search.communicate(timeout=GIVE_UP)
    assert search.returncode == 0, output
    assert faults(str(tmp_path), "search", 1) == ([], [])
    assert len(results.events(str(tmp_path), "search", kind="resume"))


def test_what_is_lost_and_doubled_is_counted(tmp_path: Path):
    """The count itself, on tables with a hole and a repetition."""
    storage = results.Storage(str(tmp_path))
    for run, ticks in {"whole": [1, 2, 3], "hole": [1, 3], "again": [1, 2, 2, 3]}.items():
        slot = results.Slot(storage, "search", f"attempt-{run}")
        own = {"experiment": "search", "run": run, "attempt": "attempt"}
        when = {"step": 1, "epoch": 1.0, "images": 1}
        figure = {"scope": "tick", "metric": "mse", "column": "image", "subject": "fakes", "value": 1.0}
        figure |= {"n_real": 1, "n_fake": 1, "split": "validation", "weights": "raw", "protocol": "p"}
        slot.extend(
            {
                "settings": [own | {"key": "seed", "text": "0"}],
                "metrics": [own | when | {"tick": tick, "seconds": 1.0, "name": "loss"} for tick in ticks],
                "evals": [own | when | {"tick": tick} | figure for tick in (1, 2, 3)],
            }
        )
        end = {"tick": 3, "status": "stopped", "why": "", "metric": "mse/fakes", "epochs": 3.0, "steps": 1, "images": 1}
        slot.extend({"outcomes": [own | end | {"seconds": 1.0, "parameters": 1, "ended": datetime.now(UTC)}]})
    lost, doubled = faults(str(tmp_path), "search", 4)
    assert doubled == ["metrics: ['again', 2, 'loss']"]
    assert "metrics: loss of run hole at tick 2" in lost
    assert "outcomes: 1 of 4 runs" in lost
    assert "runs: 4 of 4 runs" in lost


def test_a_population_that_is_killed_has_the_lineage_of_one_that_is_not(
    head: Head, judged: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
):
    """All of Ray and the driver, between two generations. The other one is trained in this process, without Ray."""
    settings = (
        f"{populations.SEARCH} --set evaluate.full=none --set train.ema=0.9 --epochs 8 --population 4 --interval 2"
    )
    arguments = f"--entry lsgan_mlp --scheduler population {settings} --quantile 0.5 --storage {judged(tmp_path)}"
    arguments += " --name search"

    def exploits() -> int:
        return len(results.events(str(tmp_path), "search", kind="exploit"))

    search = head.submit(arguments)
    wait_for(lambda: search.poll() is not None or ((tmp_path / "search" / "events").exists() and exploits()))
    assert search.poll() is None, search.communicate()[0]
    head.kill()
    assert 4 <= exploits() < 12, "the kill came too late to cut anything off"
    head.start()
    search = head.submit(arguments)
    output, _ = search.communicate(timeout=GIVE_UP)
    assert search.returncode == 0, output
    storage = results.Storage(str(tmp_path))
    begun = results.runs(storage, "search")
    runs = {run: restore(config) for run, config in zip(begun["run"], begun["config"], strict=True)}
    runs = dict(sorted(runs.items(), key=lambda one: one[1].seed))
    assert [config.seed for config in runs.values()] == [0, 1, 2, 3]
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    populations.train_alone(storage, "alone", runs, Rules(2, 0.5, 0))
    for table in ("events", "metrics", "evals"):
        kind = {"kind": "exploit"} if table == "events" else {}
        pd.testing.assert_frame_equal(
            *(populations.traces(storage, name, table, **kind) for name in ("search", "alone"))
        )
    for run in runs:
        one, other = (checkpoint.load_best(storage, name, run, populations.CPU) for name in ("search", "alone"))
        assert one["value"] == other["value"]
        assert all(torch.equal(one["weights"][key], value) for key, value in other["weights"].items())
    decided = results.events(storage, "search", kind="exploit")
    assert len(decided) == 12
    assert (decided["decision"] == "exploit").sum() >= 3
    spans = results.lineage(storage, "search")
    assert len(spans) == 4 + (decided["decision"] == "exploit").sum()
    assert spans["value"].notna().all()
    lost, doubled = faults(str(tmp_path), "search", 4)
    assert doubled == []
    assert all("figures of run" in one or one.startswith("samples: ") for one in lost), (
        lost
    )  # full figures, not asked for
    assert not list(tmp_path.glob("search/_checkpoints/*/taken-*"))  # each has a later state of its own
