"""Runs by name: first stages, and searches over them on images without labels."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gen.config import override
from gen.data.dataset import open_dataset
from gen.data.sources import everywhere
from gen.engine import Home, fit
from gen.engine.fit import build_model, steering
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import train, tune
from jobs.plan import plan
from tests.data.pictures import files, write

Run = tuple[Path, str, str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A storage with the experiment "first", a VQ-VAE of images without labels; the images; the run."""
    place = tmp_path_factory.mktemp("place")
    source = f"images:{write(place / 'noise', files(60))}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", str(place / "cache"))
        settings = {"data.name": everywhere(source), "budget.epochs": 1, "evaluate.full_images": 10, "train.batch": 16}
        config = override(tiny(ZOO["vqvae"]), settings)
        home = Home(Storage(str(place / "results")), "first", "attempt")
        *_, last = fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home)
        assert last.ended == "finished"
    (run,) = Storage(str(place / "results")).folders("first/_checkpoints")
    return place, source, run


@pytest.fixture(autouse=True)
def cache(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(trained[0] / "cache"))


REFUSED = {
    "no such name": ("other", lambda run: "experiments: first"),
    "no such experiment": ("other/run", lambda run: "names no run with weights in .*; experiments: first$"),
    "no such run": ("first/run", lambda run: f"names no run with weights in .*; runs with weights: {run}$"),
    "no run": ("first/", lambda run: f"runs with weights: {run}$"),
    "outside": ("../first", lambda run: "experiments: first$"),
    "nothing": ("", lambda run: "stage-one='' names no one run"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_first_stages_that_are_none(case: str, trained: Run):
    text, expected = REFUSED[case]
    place, _, run = trained
    arguments = ["--entry", "vqvae_gmm", "--storage", str(place / "results"), "--stage-one", text]
    result = CliRunner().invoke(train.main, arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert re.search(expected(run), result.stderr.strip()), result.stderr


@pytest.mark.parametrize("name", [name for name, entry in ZOO.items() if entry.family.startswith(("gan", "prior"))])
def test_without_labels_searches_go_by_the_distance_of_what_rotations_tell(name: str, trained: Run):
    place, source, _ = trained
    stage = ["--stage-one", "first"] if ZOO[name].family.startswith("prior") else ["--data", source]
    arguments = ["--entry", name, "--storage", str(place / "results"), *stage, "--samples", "2"]
    wanted = plan(tune.main.make_context("tune", arguments).params)
    assert (wanted.space.config.evaluate.metric, wanted.space.config.evaluate.mode) == ("frechet/fakes", "min")
    dataset = wanted.open()
    model = build_model(wanted.configs[0], dataset, torch.device("cpu"))
    assert steering(wanted.configs[0], wanted.asked.described(dataset), model) == "frechet_rotation/fakes"
