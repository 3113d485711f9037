"""Trials that lack memory end as failed, with the numbers, and the next ones of their process find the room free."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gen import results
from gen.config import override
from gen.data.dataset import Dataset
from gen.distributed.memory import TooLargeError
from gen.judge import Judge
from gen.judge.features import Gathered
from gen.on_ray import floors, leaders
from gen.on_ray.scoring import Stored, Wanted
from gen.on_ray.spending import share_of
from gen.record.floors import measure_floors
from gen.results.floor import Asked
from gen.results.storage import Storage
from gen.zoo import ZOO
from tests.conftest import ROOT
from tests.fixtures.cuda import stand_in
from tests.results.example_rows import begin, outcome_row

SPARE = 600_000_000  # bytes of addresses that the process of the trials may take beyond those it has
PROGRAM = f"""
import resource, sys, torch
from gen.config import override
from gen.data.dataset import open_dataset
from gen.results import Storage
from gen.zoo import ZOO
from tests.on_ray.test_resident import Slot

storage, data = Storage(sys.argv[1]), open_dataset(ZOO["vae_mlp"].data)
torch.set_num_threads(1)
small = dict([("budget.epochs", 1), ("evaluate.images", 150), ("evaluate.full", "none"), ("machine.device", "cpu")])
width = "model.networks.width"
runs = [override(ZOO["vae_mlp"], dict(small, **dict([(width, wide), ("seed", seed)]))).resolve()
        for seed, wide in enumerate((16, 6000, 100_000, 17))]
slot = Slot(storage, "search", runs, data.hash)
slot.finish(0)
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + {SPARE}, now + {SPARE}))
for trial in (1, 2, 3):
    slot.finish(trial)
slot.resident.cleanup()
"""


@pytest.mark.slow
def test_a_run_that_does_not_fit_ends_and_the_next_ones_go_on(judged: Callable, tmp_path: Path, cache: str) -> None:
    """In a process that may take little: a width whose optimiser has no room, and one that cannot be built."""
    variables = {**os.environ, "GENFLEET_CACHE": cache, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", PROGRAM, judged(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends = results.outcomes(str(tmp_path), "search")
    seeds = results.runs(str(tmp_path), "search").set_index("run")["seed"]
    ends = ends.assign(seed=[seeds[run] for run in ends["run"]]).sort_values("seed")
    assert list(ends["status"]) == ["finished", "failed", "failed", "finished"]
    for why in ends["why"].iloc[1:3]:
        assert why.startswith("out of memory on cpu: it asked for ")
        assert " more; " in why
        assert " are free, and this process may take " in why
        assert "\n" not in why
    assert list(ends["epochs"]) == [1.0, 1.0, 1.0, 1.0]
    assert ends["parameters"].iloc[2] > 10**10
    assert len(results.settings(str(tmp_path), "search")) == 4


GREEDY = {"evaluate.full_images": 2**50, "evaluate.batch": 2**50}  # more fakes at once than any memory holds


def test_leaders_that_have_no_room_are_named_and_stay_finished(
    run_job: Callable, judged: Callable, tmp_path: Path
) -> None:
    """On Ray: each says what it asked for, once and in one line."""
    options = [part for name, value in GREEDY.items() for part in ("--set", f"{name}={value}")]
    options += ["--entry", "vae_mlp", "--set", "evaluate.images=100", "--epochs", 1, "--samples", 2]
    done = run_job("tune", *options, "--storage", judged(tmp_path), "--name", "search")
    assert done.returncode == 1, done.stderr
    ends = results.outcomes(str(tmp_path), "search")
    assert list(ends["status"]) == ["finished"] * 2
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "was not measured" in line]
    assert {line.partition(" was not")[0].rpartition(" ")[2] for line in lines} == set(ends["run"]), done.stderr
    for line in lines:
        assert "was not measured: out of memory on cpu: it asked for " in line
        assert line.endswith("; make its sizes smaller, or give a run more")
    assert len(lines) == 2


def test_who_measures_takes_no_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaders and floors at the end of a search, side by side on one GPU, and a run's workers."""
    card = stand_in(monkeypatch)
    config = override(ZOO["vae_mlp"], {"machine.device": "cuda"})
    stored = Stored("run", 1, "", config)
    wanted = Wanted(Storage(str(tmp_path)), "search", [stored], (), 0, (), None, False)
    monkeypatch.setattr(leaders, "score", full)
    monkeypatch.setattr(floors, "judge_of", full)
    calls = {
        "leaders": lambda: leaders.measure(wanted, stored, {}, Mock(), share_of({"CPU": 1.0, "GPU": 0.25})),
        "floors": lambda: floors.measure(wanted, stored, Mock(), 0.25, share_of({"CPU": 1.0, "GPU": 0.25})),
    }
    for name, call in calls.items():
        card.fractions.clear()
        with pytest.raises(TooLargeError, match=r"out of memory on cuda: it asked for 2.1 GB more; .*may take 18.9 GB"):
            call()
        assert list(card.fractions) == [1], name
        card.full = True  # of others, so that not even a context finds room
        with pytest.raises(TooLargeError, match=r"what is free there cannot be asked \(CUDA error: out of memory\)"):
            call()
        card.full = False
    assert share_of({"CPU": 1.0}) == share_of({"GPU": 2.0}) == 1.0


def full(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_floor_that_has_no_room_is_on_record_with_the_reason(
    digits: Dataset, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    ledger = results.Ledger(storage, "search", "run", "a")
    begin(ledger, 0, [])
    ledger.add("outcomes", 1, **outcome_row(1))
    ledger.close(1)
    monkeypatch.setattr(Gathered, "begin", full)
    asked = Asked(digits.hash, "test", "image", judge.references.weights_hash, 80)
    ((row,),) = measure_floors(storage, "search", [asked], judge, 1.0)
    assert row["why"].startswith("not measured: out of memory on cpu: it asked for 2.1 GB more; ")
