"""Searches on images without labels, over a first stage too."""

import json
from pathlib import Path

import pytest
import torch

from gen.config import DataConfig, TwoStageConfig, flat, override
from gen.data.dataset import open_dataset
from gen.data.sources import everywhere
from gen.engine import Home, fit
from gen.engine.build import build_model, steering
from gen.phase import Shape
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import tune
from jobs.plan import Plan, plan
from jobs.runs import on_first_stage
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
        config = override(tiny(ZOO["vqvae"]), {**settings, "data.augment.flip": True})
        home = Home(Storage(str(place / "results")), "first", "attempt")
        *_, last = fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home)
        assert last.ended == "finished"
    return place, source


@pytest.fixture(autouse=True)
def cache(trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(trained[0] / "cache"))


@pytest.mark.parametrize("name", STAGED)
def test_a_prior_takes_the_images_of_its_first_stage_as_they_are(name: str, trained: tuple[Path, str]) -> None:
    """The first stage was trained on mirror images too; the codes are those of images as they are."""
    place, source = trained
    config = on_first_stage(tiny(ZOO[name]), Storage(str(place / "results")), "first")
    assert config.data == DataConfig(everywhere(source))
    assert isinstance(config.model, TwoStageConfig)
    assert config.model.stage_one
    build_model(config, open_dataset(config.data), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"^data.augment changes images, and .* learns from codes"):
        build_model(override(config, {"data.augment.flip": True}), open_dataset(config.data), torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEARCHED if name not in STAGED])
def test_the_search_of_every_entry_opens(name: str, tmp_path: Path):
    arguments = ["--entry", name, "--storage", str(tmp_path / "results"), "--samples", "4"]
    config = tiny(ZOO[name])
    unpaired = "a" in config.model.build(Shape(1, config.data.size or 8, 10)).needs
    if unpaired:
        for domain in ("trainA", "trainB"):
            write(tmp_path / "pictures" / domain, files(60))
        arguments += ["--data", f"unpaired:{tmp_path}/pictures", "--size", "64"]
    wanted = plan(tune.main.make_context("tune", arguments).params)
    assert wanted.open().shape.classes == (0 if unpaired else 10)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
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


def test_a_named_space_is_searched_and_recorded_by_its_name(tmp_path: Path):
    def planned(*arguments: str) -> Plan:
        asked = ["--entry", "dcgan", "--storage", str(tmp_path / "results"), "--samples", "6", *arguments]
        return plan(tune.main.make_context("tune", asked).params)

    own, wide, games = planned(), planned("--space", "wide"), planned("--space", "wide_games")
    assert "named" not in own.about()
    assert (wide.about()["named"], games.about()["named"]) == ("wide", "wide_games")
    rate = "model.critic_optimizer.rate"
    assert wide.about()["tied"][rate] == "model.generator_optimizer.rate"
    assert json.loads(json.dumps(wide.about())) == wide.about()
    assert all(one.configs[0].model == own.asked.config.model for one in (own, wide, games))  # the entry's own first
    drawn = [flat(config) for config in wide.configs[1:]]
    assert {one["train.batch"] for one in drawn} == {64}
    assert all(one[rate] == one["model.generator_optimizer.rate"] for one in drawn)
    assert {one["model.objective"] for one in drawn} == {"non_saturating"}
    assert len({one.get("model.objective") for one in map(flat, games.configs)}) > 1
    family = planned("--space", "wide", "--set", "model.objective=wasserstein", "--set", "model.penalty=clipping")
    drawn = [flat(config) for config in family.configs[1:]]
    assert {(one["model.objective"], one["model.penalty"]) for one in drawn} == {("wasserstein", "clipping")}
    assert len({one["model.penalty.limit"] for one in drawn}) == 5
    assert family.open().shape.classes == 10
    with pytest.raises(ValueError, match=r"^space='wild' is no search space of family gan; allowed: losses, wide"):
        planned("--space", "wild")


@pytest.mark.parametrize("what", [["--sampler", "tpe"], ["--samples", "0", "--time-budget", "1h"]])
def test_seeds_of_what_is_proposed_on_the_way_are_no_rivals(what: list[str], tmp_path: Path):
    def planned(*arguments: str) -> Plan:
        asked = ["--entry", "vqvae", "--storage", str(tmp_path), "--epochs", "9", *what, *arguments]
        return plan(tune.main.make_context("tune", asked).params)

    with pytest.raises(ValueError, match=r"with seeds=2: [^\n]+; allowed: --seeds 1, or --grace 9, by which no run"):
        planned("--seeds", "2")
    assert planned("--seeds", "2", "--grace", "9").seeds == 2
    assert planned().seeds == 1


def options(*arguments: str) -> dict:
    """The options of jobs.tune, with these."""
    return dict(tune.main.make_context("tune", list(arguments)).params)


def test_a_population(tmp_path: Path) -> None:
    """A seed a member; settings that can change alone are searched; the note holds what decides."""
    asked = ["--entry", "wgan_gp_mlp", "--scheduler", "population", "--population", "5", "--epochs", "20"]
    found = plan(options(*asked, "--storage", str(tmp_path)))
    assert [config.seed for config in found.configs] == [0, 1, 2, 3, 4]
    assert found.configs[0].model == override(ZOO["wgan_gp_mlp"], {}).model  # the entry's own is the first
    assert set(found.space.keys) == {
        "model.generator_optimizer.rate",
        "model.critic_optimizer.rate",
        "model.penalty.weight",
    }
    assert "keeps the entry's model.latent, model.networks.generator_width, " in found.notice
    about = found.about()
    assert about["population"] == {"size": 5, "interval": 5, "quantile": 0.25}  # the space's grace
    assert "grace" not in about
    assert "takes over" not in found.notice
    alone = plan(options(*asked[:-1], "5", "--storage", str(tmp_path)))  # the interval is 5, of the family's own
    assert alone.notice.endswith("; no run takes over from another, for interval=5 is no less than the 5 epochs")
    file = tmp_path / "start.json"
    file.write_text('[{"model.latent": 8}]')
    with pytest.raises(ValueError, match=r"start-from brings model.latent=8, which cannot change while"):
        plan(options(*asked, "--storage", str(tmp_path), "--start-from", str(file)))


def test_no_scheduler(tmp_path: Path) -> None:
    found = plan(options("--entry", "gan_mlp", "--scheduler", "none", "--epochs", "7", "--storage", str(tmp_path)))
    assert found.space.grace == 7
    assert found.space.config.evaluate.full == "leaders"
    assert not {"grace", "reduction"} & found.about().keys()
