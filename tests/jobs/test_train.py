"""jobs.train: over two Ray nodes, and going on where a kill left it, bit for bit."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch

from gen import results
from tests.conftest import GIVE_UP
from tests.fixtures.disk import Disk
from tests.jobs.test_tensorboard import check_files

SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=16", "--set", "budget.checkpoint_seconds=0"]
EPOCHS = 16


def rows(storage: Path, name: str, table: str) -> pd.DataFrame:
    """A table without what two attempts at the same numbers may differ in."""
    frame = pd.read_parquet(storage / name / table, dtype_backend="pyarrow")
    if table == "metrics":
        frame = frame[~frame["name"].str.startswith(("engine/", "evaluate/"))]  # times, which differ
    dropped = ["experiment", "attempt", "seconds"]
    return frame.drop(columns=[column for column in dropped if column in frame]).reset_index(drop=True)


def same(storage: Path, one: str, other: str) -> None:
    """Metrics, evals and weights of two experiments are equal, bit for bit."""
    for table in ("metrics", "evals"):
        left, right = rows(storage, one, table), rows(storage, other, table)
        order = list(left.columns)
        pd.testing.assert_frame_equal(
            left.sort_values(order, ignore_index=True), right.sort_values(order, ignore_index=True), check_exact=True
        )
    (run,) = [folder.name for folder in (storage / one / "_checkpoints").iterdir()]
    one_state, other_state = (
        torch.load(storage / name / "_checkpoints" / run / "last.pt", weights_only=True) for name in (one, other)
    )
    assert dict(parts(one_state["stepper"])) == dict(parts(other_state["stepper"]))


def parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor in a state as (path, type and bytes), and every other value as it is."""
    if isinstance(value, torch.Tensor):
        yield path, (value.dtype, value.shape, value.numpy().tobytes())
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from parts(inner, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from parts(inner, f"{path}/{index}")
    else:
        yield path, value


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, judged: Callable) -> Path:
    return Path(judged(tmp_path_factory.mktemp("storage")))


@pytest.fixture(scope="module")
def whole(run_job: Callable, storage: Path) -> str:
    """The name of an uninterrupted run."""
    done = run_job("train", *SMALL, "--epochs", EPOCHS, "--storage", storage, "--name", "whole", "--tensorboard")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nepoch ") == EPOCHS
    return "whole"


def at_an_epoch(process: subprocess.Popen[str]) -> None:
    """Returns when the job has told of its first epoch."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch "):
            return
    raise AssertionError(f"the job told of no epoch: {process.communicate()}")


def test_killed_job_submitted_again(start_job: Callable, storage: Path, whole: str):
    """Killed, then its worker is, which is replaced. The last submission has a larger budget too, which must change
    nothing before it, and says the direction of the metric, which changes nothing."""
    arguments = ["train", *SMALL, "--storage", storage, "--name", "ended"]
    process = start_job(*arguments, "--epochs", EPOCHS - 1)
    at_an_epoch(process)
    process.kill()
    process.communicate(timeout=GIVE_UP)
    assert results.outcomes(str(storage), "ended").empty
    process = start_job(*arguments, "--epochs", EPOCHS, "--set", "evaluate.mode=min")
    at_an_epoch(process)
    family = psutil.Process().children(recursive=True)  # this session's nodes, and nobody else's
    max(filter(is_worker, family), key=psutil.Process.create_time).kill()  # that of the first may still be there
    output, errors = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, errors
    assert output.splitlines()[-1].startswith("ended: finished")
    assert 0 < 1 + output.count("\nepoch ") < EPOCHS
    assert len(results.events(str(storage), "ended", kind="resume")) == 2
    same(storage, whole, "ended")
    for name in (whole, "ended"):  # the floor of the full figures is on record once
        floors = results.events(str(storage), name, kind="floor")
        details = [json.loads(detail) for detail in floors["detail"]]
        assert {(one["split"], one["metric"]) for one in details} > {("test", "frechet_classifier")}
        assert not floors.assign(of=[str(one["of"]) for one in details]).duplicated(["of", "why"]).any()
        assert all(0 < one["share"] < 1 for one in details)
    board = results.leaderboard(str(storage), whole, metric="frechet_classifier/reconstructions", split="test")
    assert board.attrs["floor"]["value"] > 0


def is_worker(process: psutil.Process) -> bool:
    try:
        return "".join(process.cmdline()).startswith("ray::RayTrainWorker")
    except psutil.Error:  # it ended while we looked
        return False


def test_same_name(run_job: Callable, storage: Path, whole: str):
    arguments = ["train", *SMALL, "--storage", storage, "--name", whole]
    other = run_job(*arguments, "--epochs", EPOCHS, "--set", "model.beta=1", "--seed", 3)
    assert other.returncode == 2
    assert other.stderr.count("\n") == 1
    assert "model.beta was 0.25, now 1.0; seed was 0, now 3" in other.stderr


def test_tensorboard(storage: Path, whole: str):
    check_files(storage, whole, ["samples/reconstructions"])


def test_a_disk_that_fills_up_ends_the_job_by_a_line(start_job: Callable, judged: Callable, disk: Disk):
    """And with room again it goes on, until Ctrl-C."""
    arguments = ["train", *SMALL, "--epochs", 100_000, "--storage", judged(disk.place), "--name", "full"]
    first = start_job(*arguments)
    at_an_epoch(first)
    disk.fill()
    _, errors = first.communicate(timeout=GIVE_UP)
    assert first.returncode == 1, errors
    (line,) = errors.splitlines()
    assert line.startswith(f"error: {disk.place} is full ("), errors
    disk.free()
    recorded = set(results.metrics(str(disk.place), "full")["tick"])
    second = start_job(*arguments)
    at_an_epoch(second)
    second.send_signal(signal.SIGINT)
    _, errors = second.communicate(timeout=GIVE_UP)
    assert (second.returncode, errors) == (130, "interrupted: submit the same again to go on\n")
    assert results.outcomes(str(disk.place), "full").empty
    found = results.metrics(str(disk.place), "full")
    assert recorded < set(found["tick"])
    assert not found.duplicated(["run", "tick", "name"]).any()
