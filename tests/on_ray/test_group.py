"""Several workers a trial, and parts of a GPU."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from gen import results
from gen.config import Machine
from gen.data.dataset import open_dataset
from gen.engine import fit
from gen.on_ray import preflight
from gen.search.population import Rules
from gen.zoo import restore
from jobs import tune
from tests.conftest import ROOT, RayCluster, wait_for
from tests.fixtures import populations

SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--epochs", 2, "--reduction", 2, "--samples", 3]
RATES = "model.optimizer.rate=0.01,0.003,0.000001"
OTHERWISE = """model.beta=0.25 model.networks.blocks=1 model.codebook.codes=64 model.codebook.decay=0.99
model.codebook.dimensions=8 model.codebook.update=ema model.likelihood=mse train.batch=64"""
ALIKE = [part for setting in OTHERWISE.split() for part in ("--set", setting)]  # nothing but the rate differs
LAST_IS_WORST = 14  # a seed that draws the three rates in this order


ASK = """
import json, os, sys, time, ray
from gen.config import Machine
from gen.on_ray import preflight
from gen.on_ray.group import places
from gen.on_ray.placement import start_holder

def refusal(*arguments):
    try:
        preflight.check_cluster(*arguments)
    except ValueError as error:
        return str(error)

def states_of_a_group_that_is_held_and_freed():
    holder, group = start_holder(), ray.util.placement_group([{"CPU": 1}])
    state = lambda: ray.util.placement_group_table(group)["state"]
    ray.get(group.ready())
    ray.get(holder.hold.remote("run", group))
    ray.get(holder.free.remote("another"))
    yield state()
    ray.get(holder.free.remote("run"))
    while state() == "CREATED":
        time.sleep(0.1)
    yield state()
    ray.get(holder.free.remote("run"))  # which has none any more

def groups():
    return list(ray.util.placement_group_table().values())

def held():
    return [str(group) for group in groups() if group["state"] != "REMOVED"]

ray.init("auto", log_to_driver=False)
for line in sys.stdin:
    expression, limit = json.loads(line)
    os.environ[preflight.SCALE_TO] = limit
    print("answer", json.dumps(eval(expression)), flush=True)
"""


@pytest.fixture(scope="module")
def ask(ray_cluster: RayCluster) -> Iterator[Callable[..., Any]]:
    """The value of an expression in a process on the session's Ray, for which an autoscaler's limit is said."""
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster.address}
    pipe, command = subprocess.PIPE, [sys.executable, "-c", ASK]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sent, answers = process.stdin, process.stdout

        def value(expression: str, limit: str = "") -> Any:
            print(json.dumps([expression, limit]), file=sent, flush=True)
            line = next(line for line in answers if line.startswith("answer "))  # Ray prints its own lines there
            return json.loads(line.removeprefix("answer "))

        yield value
        sent.close()


def test_search_with_two_workers_a_run(ask: Callable[..., Any], run_job: Callable, tmp_path: Path):
    """Three runs, two at a time on four CPUs, of which halving stops the last: no placement group stays."""
    wait_for(lambda: ask("held()") == [], lambda: ask("held()"))  # what the jobs of earlier tests had
    assert ask("places(2, {'CPU': 1.0})") == 2
    options = [*SMALL, *ALIKE, "--only", "--search", RATES, "--seed", LAST_IS_WORST, "--workers-per-trial", 2]
    options += ["--set", "evaluate.full=none"]
    done = run_job("tune", *options, "--storage", tmp_path, "--name", "search")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: ask("held()") == [], lambda: ask("held()"))
    assert ask("len(groups())") >= 3  # there were some
    ends = results.outcomes(str(tmp_path), "search").set_index("run")
    assert len(ends) == 3
    rates = results.settings(str(tmp_path), "search").set_index("run")["model.optimizer.rate"]
    status = dict(zip(rates[ends.index], ends["status"], strict=True))  # that of 0.003 depends on who is first
    assert (status[0.01], status[0.000001]) == ("finished", "stopped")
    rungs = results.events(str(tmp_path), "search", kind="rung")
    stops = rungs[rungs["decision"] == "stop"].set_index("run")["epoch"]
    stopped = ends[ends["status"] == "stopped"]
    assert dict(stops) == dict(stopped["epochs"])  # at its rung, not later
    rows = results.runs(str(tmp_path), "search").to_dict("records")
    assert {(row["world_size"], row["devices"]) for row in rows} == {(2, 2.0)}
    assert {json.loads(row["config"])["train"]["micro_batches"] for row in rows} == {2}
    # one worker that accumulates two micro-batches computes the same
    config = restore(rows[0]["config"])
    alone = next(fit(config, open_dataset(config.data), device=torch.device("cpu")))
    told = results.evals(str(tmp_path), "search", run=rows[0]["run"], scope="tick", metric="mse")
    assert told[told["tick"] == 1]["value"].item() == pytest.approx(alone.value, rel=1e-4)


@pytest.mark.long
def test_a_population_with_two_workers_a_run(ask: Callable[..., Any], run_job: Callable, tmp_path: Path):
    """Each member trains in a group that ends at its generation, and in a new one after it, from the state it took
    over. The lineage is that of one worker who accumulates two micro-batches, without Ray. No placement group stays."""
    search = f"--entry lsgan_mlp --scheduler population {populations.SEARCH} --population 2 --interval 1 --quantile 0.5"
    asked = [*search.split(), "--epochs", 2, "--workers-per-trial", 2, "--set", "evaluate.full=none"]
    done = run_job("tune", *asked, "--storage", tmp_path, "--name", "search")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: ask("held()") == [], lambda: ask("held()"))
    storage = results.Storage(str(tmp_path))
    begun = results.runs(storage, "search").sort_values("seed")
    assert list(begun["world_size"]) == [2, 2]
    ends = results.outcomes(storage, "search")
    assert list(ends["status"]) == ["finished"] * 2
    assert list(ends["epochs"]) == [2.0] * 2
    runs = {run: restore(config) for run, config in zip(begun["run"], begun["config"], strict=True)}
    populations.train_alone(storage, "alone", runs, Rules(1, 0.5, 0))
    spans, alone = (results.lineage(storage, name) for name in ("search", "alone"))
    assert len(spans) == 3  # one of the two went on from the other
    pd.testing.assert_frame_equal(spans, alone, rtol=1e-3)
    assert spans["value"].notna().all()


REFUSED = {
    "none": (["--gpus-per-trial", 0], "allowed: more than 0"),
    "less": (["--gpus-per-trial", -0.5], "allowed: more than 0"),
    "nan": (["--gpus-per-trial", math.nan], "allowed: more than 0"),
    "two for one": (["--gpus-per-trial", 2], "one worker uses one GPU"),
    "a part for two": (["--gpus-per-trial", 0.5, "--workers-per-trial", 2], "allowed: 2"),
    "on a CPU": (["--gpus-per-trial", 0.5, "--device", "cpu"], "device=cpu"),
    "no worker": (["--workers-per-trial", 0], "at least 1"),
    "micro-batches": (["--workers-per-trial", 2, "--set", "train.micro_batches=3"], "multiple"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, tmp_path: Path):
    options, expected = REFUSED[case]
    arguments = [*SMALL, *options, "--storage", tmp_path / "storage"]
    result = CliRunner().invoke(tune.main, [str(one) for one in arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not (tmp_path / "storage").exists()


def test_what_a_worker_gets():
    assert preflight.worker_resources(Machine(threads=2), 0.25) == {"CPU": 2.0, "GPU": 0.25}
    assert preflight.worker_resources(Machine(workers=2), 2) == {"CPU": 1.0, "GPU": 1.0}


def test_a_placement_group_is_held_and_freed(ask: Callable[..., Any]):
    assert ask("list(states_of_a_group_that_is_held_and_freed())") == ["CREATED", "REMOVED"]


def test_what_the_cluster_can_give(ask: Callable[..., Any]):
    refusals = ask("refusal(Machine(), 0.25), refusal(Machine(workers=5)), refusal(Machine(device='cuda'))")
    assert "gpus-per-trial=0.25, but the cluster has no GPU" in refusals[0]
    assert "workers=5 with 1 CPU each do not fit: the cluster has 4 CPU, room for 4" in refusals[1]
    assert "0 GPU" in refusals[2]
    for refusal in refusals:
        assert "where an autoscaler adds nodes, say how far by the variable GENFLEET_SCALE_TO" in refusal
    cases = {
        "1, {'CPU': 1.0}": 4,
        "1, {'CPU': 1.0}, 3": 3,
        "2, {'CPU': 1.0}, 3": 2,
        "3, {'CPU': 1.0}": 1,
        "1, {'CPU': 0.1}": 40,  # what floats make of a tenth
        "2, {'CPU': 2.0}": 1,
        "2, {'CPU': 1.5}": 1,  # one a node
    }
    assert ask(f"[{', '.join(f'places({case})' for case in cases)}]") == list(cases.values())


def test_what_an_autoscaler_may_bring(ask: Callable[..., Any]):
    """As far as the variable says: "auto" is then a GPU, and as many runs are asked for as will fit."""
    grown, needed = "CPU=32,GPU=8", {"CPU": 1.0, "GPU": 1.0}
    assert ask(f"places(1, {needed}), places(2, {needed}), places(1, {needed}, 3)", grown) == [8, 4, 3]
    checks = "preflight.check_cluster(Machine(workers=8)), preflight.check_cluster(Machine(), 0.25)"
    assert ask(checks, grown) == [needed, {"CPU": 1.0, "GPU": 0.25}]
    assert ask("refusal(Machine(workers=9))", grown) == (
        "workers=9 with 1 CPU and 1 GPU each do not fit: the cluster has 4 CPU and 0 GPU and may grow to 32 CPU and "
        "8 GPU by GENFLEET_SCALE_TO, room for 8; lower --workers or machine.threads, or add nodes"
    )
    less = "CPU=2"  # than there is
    assert ask("preflight.check_cluster(Machine(workers=4))", less) == {"CPU": 1.0}
