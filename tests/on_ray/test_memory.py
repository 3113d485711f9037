"""Trials that lack memory end as failed, with the numbers, and the next ones of their process find the room free."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gen import results
from tests.conftest import ROOT

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
