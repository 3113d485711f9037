"""jobs.evaluate: what is missing and no more, by two workers over two Ray nodes, killed and begun again."""

import signal
from collections.abc import Callable

import pandas as pd
import pytest
import torch

from gen import results
from gen.config import DataConfig, override
from gen.data.dataset import open_dataset
from gen.engine.build import build_model
from gen.engine.fit import fit
from gen.judge import open_judge
from gen.judge.features import MODES
from gen.record import checkpoint
from gen.record.record import Home
from gen.zoo import ZOO, restore, tiny
from jobs.evaluate import main

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
NAME = "trained"
SMALL = {"budget.epochs": 1, "train.batch": 64, "evaluate.images": 80, "evaluate.full_images": 80}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trained(place: str, entries: list[str]) -> results.Storage:
    """An experiment with a finished run of each entry, as jobs.tune would leave it."""
    dataset, storage = open_dataset(DataConfig("digits")), results.Storage(place)
    for seed, entry in enumerate(entries):
        config = override(tiny(ZOO[entry]), {**SMALL, "seed": seed}).resolve()
        for _ in fit(config, dataset, device=CPU, home=Home(storage, NAME, results.new_attempt(), keep_last=False)):
            pass
    return storage


def added(storage: results.Storage) -> pd.DataFrame:
    """What jobs.evaluate wrote; no figure of the best weights is there twice."""
    frame = results.evals(storage, NAME, scope="best")
    assert not frame.duplicated(["run", "epoch", "protocol"]).any()
    begun = set(results.runs(storage, NAME)["attempt"])
    return frame[~frame["attempt"].isin(begun)]


def here(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """jobs.evaluate in this process: exit status, output, errors."""
    with pytest.raises(SystemExit) as ended:
        main.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out, output.err


@pytest.mark.long
def test_two_workers_killed_and_begun_again(
    run_job: Callable, start_job: Callable, s3: str, capsys: pytest.CaptureFixture[str]
):
    """What was on record when it was killed stays, the rest comes once, and then nothing is missing."""
    place = f"s3://key:secret@bucket/evaluated?endpoint_override={s3}&scheme=http"
    storage = trained(place, ["gan_mlp", "vae_mlp"])
    arguments = ["--storage", place, "--name", NAME, "--images", 120, "--split", "test", "--features", "rotation"]
    status, listed, _ = here(capsys, *arguments, "--dry-run")
    wanted = listed.count("  test  ")
    by = {name: listed.count(f"  120 images  {name}\n") for name in ("rotation", "classifier", "-")}
    assert (status, wanted) == (0, sum(by.values()))
    assert by["classifier"] == 2 * len(MODES), "the classes of fakes are told by the set's own classifier"
    assert added(storage).empty
    process = start_job("evaluate", *arguments, "--workers", 2)
    assert process.stdout is not None
    for line in process.stdout:
        if "  test  " in line:  # the rows of one run are on record
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < len(added(storage)) <= wanted
    done = run_job("evaluate", *arguments, "--workers", 2)
    assert done.returncode == 0, done.stderr
    frame = added(storage)
    assert len(frame) == wanted
    files = storage.list(f"{NAME}/evals")
    assert here(capsys, *arguments, "--workers", 2)[:2] == (0, f"{NAME}: 0 figures of 2 runs are missing\n")
    assert storage.list(f"{NAME}/evals") == files
    assert list(results.leaderboard(storage, NAME, "frechet_rotation/fakes", split="test")["rank"]) == [1, 2]
    as_one_worker_measures(storage, frame)


def as_one_worker_measures(storage: results.Storage, frame: pd.DataFrame) -> None:
    """The rows of each run are its figures and say which weights they are of."""
    dataset = open_dataset(DataConfig("digits"))
    rotation = override(ZOO["gan_mlp"], {"evaluate.features": "rotation"})
    judge = open_judge(dataset, rotation, CPU, storage=storage)
    configs = results.runs(storage, NAME).set_index("run")["config"]
    for run, rows in frame.groupby("run"):
        state = checkpoint.load_best(storage, NAME, str(run), CPU)
        model = build_model(restore(configs[run]), dataset, CPU).eval()
        model.load_state_dict(state["weights"])
        expected = {one.protocol: one.value for one in judge.figures(model, "test", 120, "raw")}
        for row in rows.to_dict("records"):
            assert row["value"] == pytest.approx(expected[row["protocol"]], rel=1e-6, abs=1e-9)
            for name in ("tick", "step", "epoch", "images"):
                assert row[name] == state[name]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> results.Storage:
    return trained(str(tmp_path_factory.mktemp("storage")), ["gan_mlp", "gan_mlp"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "fid"], "metrics=fid: not measured for these runs; allowed: coverage, density"),
        (
            ["--metrics", "frechet,kid"],
            "; the Frechet distance in the features of classifier is frechet_classifier; --features takes others\n",
        ),
        (["--metrics", "mse,beauty"], "precision, recall; mse needs a model that Reconstructs\n"),
        (
            ["--metrics", "inception_score", "--features", "rotation"],
            "recall; inception_score is not measured in the features of rotation, or not of so few images\n",
        ),
        (["--run", "nobody"], "run 'nobody' of trained has no stored weights; those that have: "),
        (["--best", 0], "best=0 is out of range; allowed: at least 1"),
        (["--best", 1, "--run", "x"], "run and best both choose runs"),
        (["--images", 1], "images=1 is out of range; allowed: at least 2"),
        (["--features", "mnits"], "unknown data set 'mnits'; nearest valid: mnist"),
        (["--features", "inception", "--inception-weights", "no.pth"], "no.pth"),
        (["--device", "tpu"], "machine.device='tpu' is not known; allowed: auto, cpu, cuda"),
        (["--name", "nothing"], "no experiment 'nothing'"),
        (["--metrics", ","], "metrics=',' names none"),
        (["--storage", __file__], "Not a directory"),
    ],
)
def test_what_does_not_fit_is_one_line(
    local: results.Storage, arguments: list, message: str, capsys: pytest.CaptureFixture[str]
):
    status, _, errors = here(capsys, "--storage", local.place, "--name", NAME, *arguments)
    assert status == 2
    assert errors.count("\n") == 1
    assert message in errors


def test_the_best_runs_and_the_metrics_that_are_asked_for(local: results.Storage, capsys: pytest.CaptureFixture[str]):
    ends = results.outcomes(local, NAME).sort_values("best")
    chosen = ["--storage", local.place, "--name", NAME, "--images", 100, "--metrics", "frechet_classifier,kid"]
    status, listed, _ = here(capsys, *chosen, "--best", 1, "--dry-run")
    lines = [line.split("  ") for line in listed.splitlines()[:-1]]
    assert status == 0
    assert {line[0] for line in lines} == {ends["run"].iloc[0]}
    assert [line[1:3] for line in lines] == [
        [split, name] for split in ("validation", "test") for name in ("frechet_classifier/fakes", "kid/fakes")
    ]
    twice = ["--split", "test", "--split", "test", "--run", ends["run"].iloc[0], "--run", ends["run"].iloc[0]]
    assert "2 figures of 1 runs are missing" in here(capsys, *chosen, *twice, "--dry-run")[1]
    assert here(capsys, "--storage", local.place, "--name", NAME)[1] == f"{NAME}: 0 figures of 2 runs are missing\n"
