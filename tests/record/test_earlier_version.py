"""Experiments that version 1 of the settings left are read, ranked, resumed and extended.

`tests/fixtures/experiments-1.zip` was written by the last commit before version 2, on digits at one thread: two
searches of four runs (`jobs.tune`, entries vqvae and lsgan_mlp) and four runs of `jobs.train`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.engine.build import build_model
from gen.engine.fit import fit
from gen.engine.stage_one import weights_hash
from gen.judge import Figure, Judge
from gen.on_ray.preflight import check_name
from gen.phase import Shape
from gen.record import checkpoint
from gen.record.names import Names, note, read_note, write_note
from gen.record.record import Home
from gen.results import renamed
from gen.results.renamed import first_key
from gen.results.storage import Storage
from gen.zoo import entry, restore
from jobs import train, tune
from jobs.options import resolve
from jobs.plan import plan

CPU = torch.device("cpu")
ARCHIVE = Path(__file__).parents[1] / "fixtures" / "experiments-1.zip"
SMALL = ["--set", "evaluate.full_images=100", "--set", "evaluate.images=60", "--set", "train.batch=64", "--device=cpu"]
OFTEN = ["--set", "budget.checkpoint_seconds=0"]
GAN = [f"--set=model.{name}" for name in ("latent=4", "generator_width=8", "critic_width=8")]
VQVAE = ("hidden=8", "residual=4", "blocks=1", "codebook.codes=16", "codebook.dimensions=8")
SEARCHES = {  # as they were submitted then
    "search-vqvae": ["--entry=vqvae", "--grace=1", "--reduction=2", *(f"--set=model.{name}" for name in VQVAE)],
    "search-lsgan": ["--entry=lsgan_mlp", "--grace=2", "--reduction=2", *GAN],
}
SIZED = {"evaluate.full_images": 100, "evaluate.images": 60, "train.batch": 64, "machine.device": "cpu"}
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "train-wgan-gp": (
        "wgan_gp_mlp",
        {"model.latent": 4, "model.generator_width": 8, "model.critic_width": "8", "model.penalty": "5"},
    ),
    "train-cvae": ("cvae", {"model.width": 8, "model.latent": 3, "model.depth": "2"}),
    "train-vae": (
        "vae_mlp",
        {
            "model.width": 8,
            "model.latent": 3,
            "model.likelihood.kind": "gaussian",
            "model.likelihood.variance": "shared",
            "model.likelihood.least_deviation": 0.01,
        },
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    return tmp_path


@pytest.fixture
def plain(digits: Dataset) -> Dataset:
    """The digits without a first stage's codes."""
    splits = {
        split: tuple({name: column for name, column in table.items() if name != "codes"} for table in tables)
        for split, tables in digits.splits.items()
    }
    return Dataset(digits.name, digits.shape, digits.hash, splits, digits.manifest)


def configs(place: Path, experiment: str, more: tuple[str, ...] = ()) -> list[RunConfig]:
    """What the search submitted again would train."""
    asked = [*SEARCHES[experiment], *SMALL, *OFTEN, "--samples=4", "--max-epochs=4", *more]
    asked += [f"--storage={place}", f"--name={experiment}"]
    return list(plan(tune.main.make_context("tune", asked).params).configs)


def trained(experiment: str, **more: Any) -> RunConfig:
    name, settings = TRAINED[experiment]
    return override(entry(name), {**SIZED, "budget.epochs": 2, **settings, **more}).resolve()


@pytest.mark.parametrize("experiment", SEARCHES)
def test_a_search_submitted_again_draws_the_runs_that_are_there(experiment: str, place: Path) -> None:
    storage = Storage(str(place))
    begun = results.runs(storage, experiment).set_index("run")
    names = Names(storage, experiment)
    drawn = {names.of(config, begun["data_hash"].iloc[0]) for config in configs(place, experiment)}
    assert drawn == set(begun.index)
    grown = {names.of(config, begun["data_hash"].iloc[0]) for config in configs(place, experiment, ("--samples=6",))}
    assert drawn < grown
    assert len(grown) == 6


def test_splits_are_cut_as_the_experiment_began(place: Path) -> None:
    """By the classes in a new one; without a look at them in one of a version that did not."""

    def stratified(name: str, *more: str) -> bool:
        asked = ["--entry=vqvae", f"--storage={place}", f"--name={name}", *more]
        return resolve(train.main.make_context("train", asked).params).config.data.stratified

    assert [stratified("new"), stratified("new", "--set=data.stratified=false")] == [True, False]
    assert [stratified("search-vqvae"), stratified("search-vqvae", "--set=data.stratified=true")] == [False, True]
    (place / "search-vqvae" / "_experiment.json").unlink()
    assert not stratified("search-vqvae")
    config = entry("vqvae")
    for name, value in (("plain", False), ("alike", True)):
        write_note(Storage(str(place)), name, note(override(config, {"data.stratified": value}), "hash", job="train"))
        assert stratified(name) is value


@pytest.mark.parametrize("experiment", TRAINED)
def test_a_run_submitted_again_is_the_run_that_is_there(experiment: str, place: Path) -> None:
    storage = Storage(str(place))
    (row,) = results.runs(storage, experiment).to_dict("records")
    assert Names(storage, experiment).of(trained(experiment), row["data_hash"]) == row["run"]
    wanted = note(trained(experiment), row["data_hash"], job="train")
    del wanted["config"]  # of which version 1 told only what may not change
    assert read_note(storage, experiment) == wanted


def test_a_later_version_reads_the_notes_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, config = Storage(str(tmp_path)), override(entry("lsgan_mlp"), {"model.latent": 4})
    write_note(storage, "now", note(config, "hash", job="train"))
    for module in ("gen.record.names", "gen.results.renamed", "gen.config.identity"):
        monkeypatch.setattr(sys.modules[module], "VERSION", renamed.VERSION + 1)
    assert read_note(storage, "now") == {**note(config, "hash", job="train"), "version": renamed.VERSION}


def test_the_first_notes_of_version_2_told_no_config(tmp_path: Path) -> None:
    storage, config = Storage(str(tmp_path)), override(entry("lsgan_mlp"), {"model.latent": 4})
    told = note(config, "hash", job="train")
    del told["config"]
    storage.put("now/_experiment.json", json.dumps(told).encode())
    assert read_note(storage, "now") == told
    check_name(storage, "now", note(config, "hash", job="train"))


def test_a_search_over_a_setting_that_has_another_form_now_is_the_same_search(place: Path) -> None:
    """Version 1 took weights for the penalty, of which 0 was none."""
    storage, asked = Storage(str(place)), ["--entry=wgan_gp_mlp", "--search=model.penalty=0,10", "--data=digits"]
    noted = json.loads(storage.get("train-wgan-gp/_experiment.json") or b"")
    wanted = plan(tune.main.make_context("tune", [*asked, *GAN, *SMALL]).params)
    about = wanted.about()
    told = {**about["space"], "model.penalty": [0.0, 10.0]}
    of_then = {first_key("gan", key): domain for key, domain in told.items()}
    storage.put("old/_experiment.json", json.dumps({**noted, "search": {**about, "space": of_then}}).encode())
    found = read_note(storage, "old")
    assert found is not None
    assert found["search"]["space"] == about["space"]


def test_every_recorded_config_is_restored_and_settings_have_their_present_names(place: Path) -> None:
    storage = Storage(str(place))
    for experiment in storage.folders(""):
        for text in results.runs(storage, experiment)["config"]:
            config = restore(text)
            assert config.evaluate.mode == ""
            assert identity(config, "data") == identity(restore(json.dumps(json.loads(text))), "data")
    settings = results.settings(storage, "search-vqvae")
    assert sorted(settings["model.likelihood"]) == ["bernoulli", "gaussian", "gaussian", "mse"]
    assert set(settings["model.networks.hidden"]) == {8}
    assert "model.hidden" not in settings
    assert results.settings(storage, "train-wgan-gp")["model.penalty.weight"].item() == 5.0


@pytest.mark.parametrize(("experiment", "ranked"), [("search-vqvae", 1), ("search-lsgan", 2)])
def test_its_runs_are_ranked(experiment: str, ranked: int, place: Path) -> None:
    board = results.leaderboard(str(place), experiment)
    assert board["rank"].notna().sum() == ranked
    assert len(board) == 4


def test_its_figures_have_the_protocols_that_they_have_today_but_for_a_conditional_model_s_fakes(
    place: Path, judge: Judge, plain: Dataset
) -> None:
    names = [field.name for field in dataclasses.fields(Figure)]
    for experiment in Storage(str(place)).folders(""):
        rows = pq.read_table(place / experiment / "evals").to_pylist()
        assert rows
        for row in rows:
            assert Figure(**{name: row.get(name) for name in names}).protocol == row["protocol"]
    rows = pq.read_table(place / "train-cvae" / "evals").to_pylist()
    planned = judge.plan(build_model(trained("train-cvae"), plain, CPU), "validation", 100, "raw")
    assert {figure.metric for figure in planned if figure.labels} >= {
        row["metric"] for row in rows if row["subject"] == "fakes"
    }
    for name in ("bound/images", "frechet_classifier/fakes"):
        board = results.leaderboard(str(place), "train-cvae", name)
        assert board["rank"].to_list() == [1]
        assert board.attrs["protocol"]["labels"] is None


def test_a_prior_finds_its_first_stage(place: Path) -> None:
    storage = Storage(str(place))
    (text,) = results.runs(storage, "train-prior")["config"]
    stage = restore(text).model.stage_one
    weights = checkpoint.load_best(storage, stage.experiment, stage.run, CPU)["weights"]
    assert weights_hash(stage.model, weights) == stage.hash
    model = restore(text).model.build(Shape(1, 8, 10))
    (run,) = results.runs(storage, "train-prior")["run"]
    model.load_state_dict(checkpoint.load_best(storage, "train-prior", run, CPU)["weights"])


@pytest.mark.parametrize("experiment", TRAINED)
def test_a_run_goes_on_as_one_of_today_would(
    experiment: str, place: Path, plain: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """Two epochs by version 1 and two more of today against four of today: the same numbers, bit for bit on the
    processor that trained the first two, and to round-off on another."""
    torch.set_num_threads(1)
    config = trained(experiment, **{"budget.epochs": 4})
    found = {}
    for side, storage in (("grown", Storage(str(place))), ("whole", Storage(str(tmp_path / "whole")))):
        run = Names(storage, experiment).of(config, plain.hash)
        home = Home(storage, experiment, results.new_attempt(), run=run)
        judged = dataclasses.replace(config, evaluate=dataclasses.replace(config.evaluate, full="none"))
        ticks = list(fit(judged, plain, device=CPU, judge=judge, home=home))
        assert len(ticks) == (2 if side == "grown" else 4)
        state = checkpoint.load(storage, f"{checkpoint.folder(experiment, run)}/last.pt", CPU)
        assert state is not None
        found[side] = state["stepper"]["model"]
    for name, value in found["grown"].items():
        torch.testing.assert_close(value, found["whole"][name], rtol=1e-3, atol=1e-4)
    ends = results.outcomes(str(place), experiment)
    assert ends["epochs"].to_list() == [4.0]
