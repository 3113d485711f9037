"""Bad input: one clear line, exit status 2, nothing started, nothing written."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gen import results
from gen.record.names import note, write_note
from gen.zoo import ZOO
from jobs import sample, train, tune
from jobs.options import resolve
from tests.conftest import ROOT
from tests.fixtures.pictures import files, write

POPULATION = ["--entry", "gan_mlp", "--scheduler", "population"]
CASES = {
    "entry": (train, ["--entry", "vqvea"], "nearest valid: vqvae"),
    "no entry": (train, [], "Missing option '--entry'"),
    "option": (train, ["--entry", "vqvae", "--sett", "a=1"], "--set"),
    "data": (train, ["--entry", "vqvae", "--data", "mnits"], "nearest valid: mnist"),
    "setting": (train, ["--entry", "vqvae", "--set", "model.betta=1"], "model.beta"),
    "not a pair": (train, ["--entry", "vqvae", "--set", "model.beta"], "KEY=VALUE"),
    "type": (train, ["--entry", "vqvae", "--set", "model.beta=much"], "expected float"),
    "range": (train, ["--entry", "vqvae", "--set", "model.beta=-1"], "at least 0"),
    "not finite": (train, ["--entry", "vqvae", "--set", "model.beta=inf"], "allowed: finite numbers"),
    "running mean": (train, ["--entry", "vqvae", "--set", "model.optimizer.beta1=1"], "from 0 to below 1"),
    "weight decay": (train, ["--entry", "vqvae", "--set", "model.optimizer.weight_decay=-1"], "at least 0"),
    "seed": (train, ["--entry", "vqvae", "--seed", "-1"], "seed=-1 is out of range"),
    "long seed": (train, ["--entry", "vqvae", "--seed", "99999999999999999999"], "is out of range"),
    "batch": (train, ["--entry", "vqvae", "--set", "train.batch=99999999999999"], "from 1 to 1048576\n"),
    "another kind's": (
        train,
        ["--entry", "gan_mlp", "--set", "model.objective.a=1"],
        "choose a kind that has it, such as model.objective=least_squares",
    ),
    "leaf": (
        train,
        ["--entry", "gan_mlp", "--set", "learning_rate=1"],
        "nearest valid: model.generator_optimizer.rate",
    ),
    "said twice": (train, ["--entry", "vqvae", "--epochs", "3", "--set", "budget.epochs=4"], "say one of them"),
    "ticks": (train, ["--entry", "vqvae", "--epochs", "3", "--set", "evaluate.every=2"], "no multiple of"),
    "epochs": (train, ["--entry", "vqvae", "--epochs", "0"], "at least 1"),
    "workers": (train, ["--entry", "vqvae", "--workers", "0"], "at least 1"),
    "device": (train, ["--entry", "vqvae", "--device", "tpu"], "auto, cpu, cuda"),
    "micro-batches": (train, ["--entry", "vqvae", "--workers", "2", "--set", "train.micro_batches=3"], "multiple"),
    "name": (train, ["--entry", "vqvae", "--name", "../up"], "not a name"),
    "empty name": (train, ["--entry", "vqvae", "--name", ""], "name '' is not a name"),  # of a shell's empty variable
    "long name": (train, ["--entry", "vqvae", "--name", "n" * 201], "has 201 characters; allowed: at most 200"),
    "URI": (train, ["--entry", "vqvae", "--storage", "nope://bucket"], "not understood"),
    "set twice": (
        train,
        ["--entry", "vqvae", "--set", "model.beta=1", "--set", "model.beta=2"],
        "--set says model.beta=1 and model.beta=2; say one of them",
    ),
    "set twice by another name": (
        train,
        ["--entry", "vae_mlp", "--set", "model.width=8", "--set", "model.networks.width=16"],
        "--set says model.networks.width=8 and model.networks.width=16",
    ),
    "searched twice": (
        tune,
        ["--entry", "vqvae", "--search", "model.beta=1,2", "--search", "model.beta=3"],
        "--search says model.beta=1,2 and model.beta=3; say one of them",
    ),
    "set and searched": (
        tune,
        ["--entry", "vqvae", "--set", "model.beta=1", "--search", "model.beta=1,2"],
        "--search model.beta=1,2 searches what is set to 1 by",
    ),
    "set and searched by another name": (
        tune,
        ["--entry", "vae_mlp", "--set", "model.networks.width=8", "--search", "model.width=8,16"],
        "searches what is set to 8 by",
    ),
    "labels and searched labels": (
        tune,
        ["--entry", "classifier", "--labels", "20", "--search", "data.labels=20,50"],
        "--search data.labels=20,50 searches what is set to 20 by an option of its own",
    ),
    "only": (tune, ["--entry", "vqvae", "--only"], "only searches what --search names, which is nothing"),
    "space key": (tune, ["--entry", "vqvae", "--search", "model.betta=1,2"], "model.beta"),
    "space value": (tune, ["--entry", "vqvae", "--search", "model.beta=1,x"], "expected float"),
    "samples": (tune, ["--entry", "vqvae", "--samples", "0"], "at least 1"),
    "grace": (tune, ["--entry", "vqvae", "--grace", "0"], "at least 1"),
    "reduction": (tune, ["--entry", "vqvae", "--reduction", "1"], "at least 2"),
    "workers of a trial": (tune, ["--entry", "vqvae", "--workers", "2"], "allowed: 1"),
    "space range": (tune, ["--entry", "vqvae", "--search", "model.optimizer.beta1=0.5,1.5"], "from 0 to below 1"),
    "drawn micro-batches": (
        tune,
        ["--entry", "vqvae", "--search", "train.micro_batches=3", "--workers-per-trial", "2"],
        "must be a multiple of the number of workers, 2",
    ),
    "drawn model": (
        tune,
        ["--entry", "vqvae_bn", "--size", "64", "--search", "model.codebook.dimensions=16,32"],
        "dimensions=32 is not allowed",
    ),
    "drawn size": (
        tune,
        ["--entry", "vae_mlp", "--search", "model.networks.width=16,1000000", "--only", "--set", "machine.device=cpu"],
        "with their gradients and the optimiser's means; this machine has",
    ),
    "not of a population": (
        tune,
        ["--entry", "gan_mlp", "--interval", "3"],
        "interval=3 is for --scheduler population",
    ),
    "no stopping": (tune, ["--entry", "gan_mlp", "--scheduler", "none", "--grace", "3"], "with none no run is stopped"),
    "members": (tune, [*POPULATION, "--population", "1"], "population=1 is out of range; allowed: at least 2"),
    "quantile": (tune, [*POPULATION, "--quantile", "0.7"], "allowed: more than 0, up to 0.5"),
    "generations": (
        tune,
        [*POPULATION, "--interval", "3", "--set", "evaluate.every=2"],
        "no multiple of evaluate.every=2",
    ),
    "samples of a population": (
        tune,
        [*POPULATION, "--samples", "9"],
        "samples=9 says nothing to --scheduler population",
    ),
    "seeds of a population": (tune, [*POPULATION, "--seeds", "2"], "has a seed of its own; allowed: 1"),
    "sampler of a population": (tune, [*POPULATION, "--sampler", "grid"], "begins with draws; allowed: random"),
    "entries of a population": (tune, [*POPULATION, "--entry", "gan_mlp,lsgan_mlp"], "a population is of one entry"),
    "shapes of a population": (
        tune,
        [*POPULATION, "--search", "model.latent=8,16"],
        "search model.latent: it cannot change while a run of a population goes on; allowed: model",
    ),
    "metric": (train, ["--entry", "vqvae", "--set", "evaluate.metric=beauty/images"], "allowed: mse/reconstructions"),
    "leaders": (train, ["--entry", "vqvae", "--set", "evaluate.full=leaders"], "this is one run; allowed: all, none"),
}


SEEN = {  # without reading an image: a dry run refuses it too
    "data": (["--entry", "vqvae", "--data", "nosuch"], "unknown data set 'nosuch'"),
    "place": (["--entry", "vqvae", "--data", "images:/nowhere/at/all"], "/nowhere/at/all does not exist"),
    "originals": (
        ["--entry", "vqvae", "--data", "mnist"],
        "originals does not exist, and so holds nothing of mnist; name",
    ),
    "root": (
        ["--entry", "vqvae", "--data", "cifar10", "--data-root", "/usr"],
        "data folder /usr holds nothing of cifar10",
    ),
    "labels": (["--entry", "sgan", "--labels", "3"], "labels=3 is out of range; allowed: at least 10"),
    "images": (["--entry", "vqvae", "--set", "data.images=9"], "images=9 is out of range; allowed: at least 10"),
    "bucket": (["--entry", "vqvae", "--storage", "s3://"], "storage s3:// names no bucket"),
    "average": (
        ["--entry", "vqvae", "--set", "train.ema=1"],
        "train.ema=1 is out of range; allowed: from 0 to below 1",
    ),
    "features": (["--entry", "vqvae", "--set", "evaluate.features=beauty"], "unknown data set 'beauty'"),
    "figure": (["--entry", "vqvae", "--set", "evaluate.metric=beauty/images"], "allowed: mse/reconstructions"),
    "size": (["--entry", "vae_conv_bn", "--size", "24"], "size=24 must be a multiple of 16"),
    "column": (["--entry", "cyclegan", "--data", "digits"], "lacks column a, b that the entry needs"),
    "one image": (["--entry", "vae_conv_bn", "--size", "16", "--set", "train.batch=1"], "with BatchNorm, which"),
    "too large": (["--entry", "vae_mlp", "--set", "model.networks.width=1000000"], "with these settings, which take 4"),
    "no tensor": (["--entry", "vae_mlp", "--set", "model.networks.width=99999999999"], "make its sizes smaller"),
    "crop": (["--entry", "vqvae", "--set", "data.augment.margin=0.01"], "adds no pixel to images of 8"),
}


def refused(job, arguments, storage: Path) -> str:
    """The one line of a refusal that wrote nothing."""
    if "--storage" not in arguments:
        arguments = [*arguments, "--storage", str(storage)]
    result = CliRunner().invoke(job.main, arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not storage.exists()
    return result.stderr


@pytest.mark.parametrize("case", CASES)
def test_refusal_of_settings(case: str, tmp_path: Path):
    job, arguments, expected = CASES[case]
    assert expected in refused(job, arguments, tmp_path / "storage")


@pytest.mark.parametrize("job", [train, tune])
@pytest.mark.parametrize("case", SEEN)
def test_a_dry_run_refuses_what_can_be_seen(job, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    arguments, expected = SEEN[case]
    assert expected in refused(job, [*arguments, "--dry-run"], tmp_path / "storage")
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_refuses_what_is_in_the_way(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    arguments = ["--entry", "vqvae", "--storage", str(tmp_path / "file" / "storage"), "--dry-run"]
    assert f"{tmp_path / 'file'} is no folder" in refused(train, arguments, tmp_path / "storage")
    arguments = ["--entry", "vqvae", "--storage", str(tmp_path), "--name", "file", "--dry-run"]
    assert f"{tmp_path / 'file'} is a file; use another --name" in refused(train, arguments, tmp_path / "storage")
    place = results.Storage(str(tmp_path / "used"))
    write_note(place, "vqvae-digits", note(ZOO["vqvae"], "hash", job="train"))
    for job in (train, tune):
        asked = ["--entry", "vqvae", "--set", "model.beta=2", "--storage", place.place, "--dry-run"]
        assert "name vqvae-digits is in use with other settings" in refused(job, asked, tmp_path / "storage")


def test_too_few_images_for_a_game_or_for_batchnorm_in_a_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    source = f"images:{write(tmp_path / 'few', files(12))}"
    for job in (train, tune):
        line = refused(job, ["--entry", "gan_mlp", "--data", source], tmp_path / "storage")
        assert "too few, here 1 where it takes at least 2 (add images, or raise data.validation)" in line
    draws = ["--entry", "vae_conv_bn", "--size", "16", "--search", "train.batch=1,32"]
    assert "train.batch=1 is out of range for VAE with BatchNorm" in refused(tune, draws, tmp_path / "storage")


def test_data_folder_missing_empty_and_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "root"
    arguments = ["--entry", "vqvae", "--data", "mnist", "--data-root", str(root)]
    assert "does not exist" in refused(train, arguments, tmp_path / "storage")
    root.mkdir()
    assert "holds no" in refused(train, arguments, tmp_path / "storage")
    (root / "MNIST/raw").mkdir(parents=True)
    (root / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"cut"))
    assert "damaged" in refused(train, arguments, tmp_path / "storage")


def test_column_that_the_data_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Unpaired(type(ZOO["vae_mlp"].model)):
        def build(self, shape):
            model = super().build(shape)
            model.needs = frozenset({"a", "b"})
            return model

    monkeypatch.setitem(ZOO, "unpaired", dataclasses.replace(ZOO["vae_mlp"], entry="unpaired", model=Unpaired()))
    assert "lacks column a, b" in refused(train, ["--entry", "unpaired"], tmp_path / "storage")


def test_storage_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    arguments = ["--entry", "vqvae", "--storage", str(tmp_path / "file" / "storage")]
    assert "cannot be written" in refused(train, arguments, tmp_path / "storage")


@pytest.mark.parametrize("job", [train, tune])
def test_features_that_are_not_there(job, tmp_path: Path):
    weights = ["--set", f"machine.inception_weights={tmp_path / 'none.pth'}"]
    arguments = ["--entry", "vae_mlp", "--set", "evaluate.features=inception", *weights]
    assert "none.pth" in refused(job, arguments, tmp_path / "storage")


def test_features_of_images_that_have_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    source = f"images:{write(tmp_path / 'grey', files(20))}"
    asked = ["--entry", "vae_mlp", "--data", source, "--set", "evaluate.features=classifier"]
    assert "has no labels" in refused(train, asked, tmp_path / "storage")
    relative = resolve(train.main.make_context("train", [*asked[:4], "--set", "evaluate.features=images:grey"]).params)
    assert relative.config.evaluate.features == source


@pytest.mark.parametrize(("place", "why"), [("/proc/none", "No such file"), ("/etc/hostname", "File exists")])
def test_a_folder_that_no_picture_can_be_written_to(place: str, why: str):
    with pytest.raises(click.ClickException, match=f"out={place} cannot be written .{why}"):
        sample.write(Path(place, "picture.png"), b"", "")


def test_dry_run_takes_nothing(tmp_path: Path):
    arguments = ["--entry", "vqvae", "--set", "model.beta=2", "--storage", str(tmp_path / "storage"), "--dry-run"]
    result = CliRunner().invoke(train.main, arguments)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["model"]["beta"] == 2.0
    assert not (tmp_path / "storage").exists()
    result = CliRunner().invoke(tune.main, [*arguments, "--search", "model.networks.hidden=8,16"])
    search = json.loads(result.stdout)["search"]
    assert search["space"]["model.networks.hidden"] == [8, 16]
    assert "model.beta" not in search["space"]


@pytest.mark.slow
def test_a_reader_that_has_read_enough_is_no_error():
    """As in `python -m jobs.train ... --dry-run | head -1`: nobody reads the pipe when the job comes to print."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "jobs.train", "--entry", "vae_mlp", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_more_workers_than_the_cluster_has(run_job: Callable, tmp_path: Path):
    line = one_line(run_job("train", "--entry", "vae_mlp", "--workers", "5", "--storage", tmp_path / "storage"))
    assert "workers=5 with 1 CPU each do not fit: the cluster has 4 CPU, room for 4" in line
    assert not list((tmp_path).rglob("*.*"))


def test_second_live_attempt(run_job: Callable, tmp_path: Path):
    with results.Lease(results.Storage(str(tmp_path)), "busy"):
        before = sorted(tmp_path.rglob("*"))
        line = one_line(run_job("train", "--entry", "vae_mlp", "--storage", tmp_path, "--name", "busy"))
        assert "is being written by attempt" in line
        assert sorted(tmp_path.rglob("*")) == before
