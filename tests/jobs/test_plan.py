"""Searches on images without labels, over a first stage too."""

from pathlib import Path

import pytest
import torch

from gen.config import TwoStageConfig, override
from gen.data.dataset import open_dataset
from gen.data.sources import everywhere
from gen.engine import Home, fit
from gen.engine.build import build_model, steering
from gen.phase import Shape
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import tune
from jobs.plan import plan
from tests.fixtures.pictures import files, write
from tune_spaces import space_for
from tune_spaces.spaces import SPACES

SEARCHED = [name for name, config in ZOO.items() if config.family in SPACES]  # a family may have no space yet
STAGED = [name for name, config in ZOO.items() if isinstance(config.model, TwoStageConfig)]


def goes_by_fakes_of_images_alone(name: str) -> bool:
    """Whether an entry's search is ranked by fakes and takes images that nobody has labelled."""
    needs = tiny(ZOO[name]).model.build(Shape(1, tiny(ZOO[name]).data.size or 8, 10)).needs
    return space_for(ZOO[name]).metric == "frechet/fakes" and needs <= {"image", "codes"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A storage with the experiment "first", a VQ-VAE trained on images without labels; and those images."""
    place = tmp_path_factory.mktemp("place")
    source = f"images:{write(place / 'noise', files(60))}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", str(place / "cache"))
        settings = {"data.name": everywhere(source), "budget.epochs": 1, "evaluate.full_images": 10, "train.batch": 16}
        config = override(tiny(ZOO["vqvae"]), settings)
        home = Home(Storage(str(place / "results")), "first", "attempt")
        *_, last = fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home)
        assert last.ended == "finished"
    return place, source


@pytest.fixture(autouse=True)
def cache(trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(trained[0] / "cache"))


@pytest.mark.parametrize("name", [name for name in SEARCHED if name not in STAGED])
def test_the_search_of_every_entry_opens(name: str, tmp_path: Path):
    arguments = ["--entry", name, "--storage", str(tmp_path / "results"), "--samples", "4"]
    wanted = plan(tune.main.make_context("tune", arguments).params)
    assert wanted.open().shape.classes == 10
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [name for name in SEARCHED if goes_by_fakes_of_images_alone(name)])
def test_without_labels_searches_go_by_the_distance_of_what_rotations_tell(name: str, trained: tuple[Path, str]):
    place, source = trained
    stage = ["--stage-one", "first"] if name in STAGED else ["--data", source]
    arguments = ["--entry", name, "--storage", str(place / "results"), *stage, "--samples", "2"]
    wanted = plan(tune.main.make_context("tune", arguments).params)
    assert wanted.space.config.evaluate.metric == "frechet/fakes"
    dataset = wanted.open()
    model = build_model(wanted.configs[0], dataset, torch.device("cpu"))
    assert steering(wanted.configs[0], wanted.asked.naming_judge(dataset), model) == "frechet_rotation/fakes"
