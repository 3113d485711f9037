"""jobs.evaluate: what is missing and no more, over two Ray nodes, killed, and on object storage."""

import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from gen import results
from gen.config import DataConfig, override
from gen.data.dataset import open_dataset
from gen.engine import checkpoint
from gen.engine.fit import Home, build_model, fit
from gen.engine.judge import Judge, shared_classifier
from gen.zoo import ZOO, tiny

CPU = torch.device("cpu")
NAME = "trained"
SMALL = {"budget.epochs": 1, "train.batch": 64, "evaluate.images": 80, "evaluate.full_images": 80}
KEY = ["run", "epoch", "split", "protocol"]


def trained(place: str, entries: list[str]) -> results.Storage:
    """An experiment with a finished run of each entry, as jobs.tune would leave it."""
    torch.set_num_threads(1)
    dataset, storage = open_dataset(DataConfig("digits")), results.Storage(place)
    for seed, entry in enumerate(entries):
        config = override(tiny(ZOO[entry]), {**SMALL, "seed": seed}).resolved()
        for _ in fit(config, dataset, device=CPU, home=Home(storage, NAME, results.new_attempt(), keep_last=False)):
            pass
    return storage


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> results.Storage:
    return trained(str(tmp_path_factory.mktemp("storage")), ["gan_mlp", "gan_mlp", "vqvae"])


def added(storage: results.Storage) -> pd.DataFrame:
    """What jobs.evaluate wrote; no figure is there twice."""
    frame = results.evals(storage, NAME, scope="best")
    assert not frame.duplicated(KEY).any()
    begun = set(results.runs(storage, NAME)["attempt"])
    return frame[~frame["attempt"].isin(begun)]


def test_two_workers_measure_what_is_missing_and_a_second_time_nothing(run_job: Callable, storage: results.Storage):
    arguments = ["evaluate", "--storage", storage.place, "--name", NAME, "--images", 120, "--split", "test"]
    chosen = ["--metrics", "frechet_classifier,kid,psnr", "--workers", 2]
    (missing,) = (run_job(*arguments, *chosen, "--dry-run").stdout,)
    assert missing.count("  test  ") == 3 + 3 + 2
    assert added(storage).empty
    done = run_job(*arguments, *chosen)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  test  ") == 8
    frame = added(storage)
    assert len(frame) == 8
    files = storage.list(f"{NAME}/evals")
    again = run_job(*arguments, *chosen)
    assert (again.returncode, again.stdout) == (0, f"{NAME}: 0 figures of 3 runs are missing\n")
    assert storage.list(f"{NAME}/evals") == files

    dataset = open_dataset(DataConfig("digits"))
    judge = Judge(dataset, shared_classifier(dataset, storage, CPU), CPU, 500, storage)
    for run, rows in frame.groupby("run"):
        state = checkpoint.load_best(storage, NAME, str(run), CPU)
        (text,) = results.runs(storage, NAME).set_index("run").loc[[run], "config"]
        entry = "vqvae" if '"vqvae"' in text else "gan_mlp"
        model = build_model(tiny(ZOO[entry]), dataset, CPU).eval()
        model.load_state_dict(state["weights"])
        expected = {one.protocol: one.value for one in judge.figures(model, "test", 120, "raw")}
        for row in rows.to_dict("records"):
            assert row["value"] == pytest.approx(expected[row["protocol"]], rel=1e-6)
            assert [row[name] for name in ("tick", "step", "epoch", "images")] == [
                state[name] for name in ("tick", "step", "epoch", "images")
            ]


def test_killed_in_the_middle(start_job: Callable, run_job: Callable, storage: results.Storage):
    """Whatever was on record when it was killed stays, and the rest comes once."""
    arguments = ["evaluate", "--storage", storage.place, "--name", NAME, "--images", 90, "--split", "validation"]
    before = len(added(storage))
    wanted = run_job(*arguments, "--dry-run").stdout.count("  validation  ")
    process = start_job(*arguments)
    assert process.stdout is not None
    for line in process.stdout:
        if "  validation  " in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run_job(*arguments)
    assert done.returncode == 0, done.stderr
    assert len(added(storage)) == before + wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "fid"], "metrics=fid: not measured for these runs; allowed: coverage, density"),
        (["--run", "nobody"], "run 'nobody' of trained has no stored weights; those that have: "),
        (["--best", 0], "best=0 is out of range; allowed: at least 1"),
        (["--best", 1, "--run", "x"], "run and best both choose runs"),
        (["--images", 1], "images=1 is out of range; allowed: at least 2"),
        (["--features", "mnits"], "unknown data set 'mnits'; nearest valid: mnist"),
        (["--device", "tpu"], "machine.device='tpu' is not known; allowed: auto, cpu, cuda"),
    ],
)
def test_what_does_not_fit_is_one_line(run_job: Callable, storage: results.Storage, arguments: list, message: str):
    done = run_job("evaluate", "--storage", storage.place, "--name", NAME, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_best_runs_by_other_features_on_object_storage(run_job: Callable, s3: str, tmp_path: Path):
    place = f"s3://key:secret@bucket/evaluated?endpoint_override={s3}&scheme=http"
    storage = trained(place, ["vae_mlp", "vae_mlp"])
    arguments = ["evaluate", "--storage", place, "--name", NAME, "--best", 1, "--features", "rotation"]
    done = run_job(*arguments, "--metrics", "frechet_rotation,precision")
    assert done.returncode == 0, done.stderr
    ends = results.outcomes(storage, NAME)
    assert set(added(storage)["run"]) == {ends.sort_values("best")["run"].iloc[0]}
    assert len(added(storage)) == 6  # two splits of fakes' two figures and reconstructions' one
    assert set(added(storage)["features"]) == {"rotation"}
    board = results.leaderboard(storage, NAME, "frechet_rotation/fakes")
    assert board["rank"].notna().sum() == 1
