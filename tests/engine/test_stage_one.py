"""Runs of two stages: codes are computed once, the first stage keeps still, and a checkpoint stands alone."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gen import results
from gen.capabilities import Imitates, has
from gen.config import RunConfig, StageOne, flat, identity, on_stage, override
from gen.damage import take_remarks
from gen.data.dataset import Dataset
from gen.data.stream import from_uint8
from gen.engine import stage_one
from gen.engine.build import build_model
from gen.engine.fit import fit
from gen.engine.stage_one import Staged, add_codes, check_stage, install, stage_of, weights_hash, with_codes
from gen.judge import Judge
from gen.models.vqvae import VQVAE
from gen.optimizers import RMSprop
from gen.phase import Model, Phase
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import ZOO, restore, tiny

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 2, "evaluate.images": 60, "evaluate.full_images": 80, "train.batch": 64}
PRIORS = [entry for entry in ZOO if hasattr(ZOO[entry].model, "stage_one")]


def plain(dataset: Dataset) -> Dataset:
    """The data set without codes."""
    fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(Dataset)}
    splits = {
        split: tuple({name: column for name, column in table.items() if name != "codes"} for table in tables)
        for split, tables in dataset.splits.items()
    }
    return Dataset(**{**fields, "splits": splits})


def trained(config: RunConfig, dataset: Dataset, judge: Judge, place: Path) -> str:
    """Trains to the end in experiment "e"; the run."""
    *_, last = fit(config, dataset, device=CPU, judge=judge, home=Home(Storage(str(place)), "e", "a"))
    assert last.ended == "finished", last
    return identity(config, dataset.hash)


@pytest.fixture(scope="session")
def first(digits: Dataset, judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, StageOne]:
    """A storage with a trained VQ-VAE, as a first stage."""
    place = tmp_path_factory.mktemp("first")
    config = override(tiny(ZOO["vqvae"]), SMALL)
    run = trained(config, plain(digits), judge, place)
    weights = checkpoint.load_best(Storage(str(place)), "e", run, CPU)["weights"]
    return Storage(str(place)), stage_of(config, "e", run, weights, digits.hash)


def prior(entry: str, stage: StageOne) -> RunConfig:
    return override(on_stage(tiny(ZOO[entry]), stage), SMALL)


def test_codes_are_the_first_stage_s_and_computed_once(
    digits: Dataset, first: tuple[Storage, StageOne], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, stage = first
    config = prior("vqvae_gmm", stage)
    dataset = with_codes(config, plain(digits), storage, CPU, str(tmp_path))
    model = stage.model.build(digits.shape)
    model.load_state_dict(checkpoint.load_best(storage, "e", stage.run, CPU)["weights"])
    for split, (table,) in dataset.splits.items():
        expected = model.eval().codes({"image": from_uint8(table["image"], CPU, torch.float32)})  # type: ignore[operator]
        assert torch.equal(table["codes"].long(), expected), split
        assert table["codes"].dtype == torch.int16  # uint8 would be taken for an image
        assert len(table["codes"]) == len(table["image"]) == len(table["label"])
    monkeypatch.setattr(stage_one, "build", lambda *_: pytest.fail("computed again"))
    again = with_codes(config, plain(digits), storage, CPU, str(tmp_path))
    assert isinstance(again, Staged)
    assert torch.equal(again.splits["train"][0]["codes"], dataset.splits["train"][0]["codes"])


@pytest.mark.parametrize("damage", ["manifest", "array", "shape", "absent", "bit"])
def test_a_damaged_cache_is_computed_again(
    damage: str, digits: Dataset, first: tuple[Storage, StageOne], tmp_path: Path
) -> None:
    storage, stage = first
    config = prior("vqvae_gmm", stage)
    dataset = with_codes(config, plain(digits), storage, CPU, str(tmp_path))
    whole = dataset.splits["train"][0]["codes"].clone()  # not of the file, which is about to be cut
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    file = folder / "train-0-codes.npy"
    if damage == "manifest":
        (folder / "manifest.json").write_text("{")
    elif damage == "array":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "shape":
        np.save(file, np.zeros((3, 2, 2), np.int16))
    elif damage == "bit":
        data = file.read_bytes()
        file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    else:
        shutil.rmtree(folder)
    again = with_codes(config, plain(digits), storage, CPU, str(tmp_path))
    assert torch.equal(again.splits["train"][0]["codes"], whole)
    assert any(line.startswith(f"cache {folder} was damaged") for line in take_remarks()) == (damage != "absent")
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path != folder]


def test_other_weights_or_images_are_other_codes(
    digits: Dataset, first: tuple[Storage, StageOne], tmp_path: Path
) -> None:
    storage, stage = first
    weights = dict(checkpoint.load_best(storage, "e", stage.run, CPU)["weights"])
    name = next(iter(weights))
    nudged = {**weights, name: weights[name] + 1e-6}
    wider = override(ZOO["vqvae"], {"model.beta": 1.0}).model
    hashes = {weights_hash(stage.model, weights), weights_hash(stage.model, nudged), weights_hash(wider, weights)}
    assert len(hashes) == 3
    for one in (stage, dataclasses.replace(stage, hash="other")):
        add_codes(plain(digits), one, weights, CPU, str(tmp_path))
    add_codes(dataclasses.replace(plain(digits), hash="0"), stage, weights, CPU, str(tmp_path))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3


@pytest.mark.parametrize("entry", PRIORS)
def test_the_first_stage_keeps_still_and_the_checkpoint_stands_alone(
    entry: str, digits: Dataset, judge: Judge, first: tuple[Storage, StageOne], tmp_path: Path
) -> None:
    storage, stage = first
    config = prior(entry, stage)
    dataset = with_codes(config, plain(digits), storage, CPU, str(tmp_path / "cache"))
    run = trained(config, dataset, judge, tmp_path)
    state = checkpoint.load_best(Storage(str(tmp_path)), "e", run, CPU)
    inside = {name[6:]: value for name, value in state["weights"].items() if name.startswith("first.")}
    original = checkpoint.load_best(storage, "e", stage.run, CPU)["weights"]
    assert inside.keys() == original.keys()
    assert all(torch.equal(value, original[name]) for name, value in inside.items())
    assert restore(state["config"]) == config.resolve()  # with its first stage
    # what a user does with it later needs neither codes nor the first stage's run
    model = build_model(restore(state["config"]), plain(digits), CPU).eval()
    model.load_state_dict(state["weights"])
    assert has(model, Imitates)
    table = digits.splits["test"][0]
    assert model.imitate({"image": torch.zeros(4, 1, 8, 8), "label": table["label"][:4]})["image"].shape == (4, 1, 8, 8)
    again = {figure.name: figure.value for figure in judge.figures(model, "test", 80, "raw")}
    rows = results.evals(str(tmp_path), "e", scope="best", split="test", run=run)
    assert again == pytest.approx({f"{row.metric}/{row.subject}": row.value for row in rows.itertuples()})


def test_the_tables_tell_the_first_stage(
    digits: Dataset, judge: Judge, first: tuple[Storage, StageOne], tmp_path: Path
) -> None:
    storage, stage = first
    config = prior("vqvae_gmm", stage)
    run = trained(config, with_codes(config, plain(digits), storage, CPU, str(tmp_path / "cache")), judge, tmp_path)
    (row,) = results.runs(str(tmp_path), "e").to_dict("records")
    assert restore(row["config"]).model.stage_one == stage  # type: ignore[attr-defined]
    (settings,) = results.settings(str(tmp_path), "e").to_dict("records")
    assert settings["model.stage_one.run"] == stage.run
    assert settings["model.stage_one.hash"] == stage.hash
    assert run != identity(prior("vqvae_gmm", dataclasses.replace(stage, hash="other")), digits.hash)
    assert row["data_hash"] == digits.hash  # figures of priors and of other models are of the same images
    assert row["parameters"] == build_model(config, digits, CPU).count_learned()
    assert set(flat(config)) >= {"model.stage_one.model.networks.hidden"}


def test_a_model_called_first_is_no_first_stage(digits: Dataset) -> None:
    class Holds(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = tiny(ZOO["vqvae"]).model.build(digits.shape)

        def phases(self) -> list[Phase]:
            return []

    model = Holds()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    install(model, digits)
    install(model, plain(digits))  # which a model of two stages refuses
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_does_not_belong_together_is_refused(
    digits: Dataset, judge: Judge, first: tuple[Storage, StageOne], tmp_path: Path
) -> None:
    storage, stage = first
    config = prior("vqvae_gmm", stage)
    with pytest.raises(ValueError, match="was opened without codes"):
        next(fit(config, plain(digits), device=CPU, judge=judge))
    check_stage(config, digits)
    with pytest.raises(ValueError, match=rf"^first stage e/{stage.run} was trained on data of hash {digits.hash}, and"):
        check_stage(config, dataclasses.replace(digits, hash="other"))
    with pytest.raises(ValueError, match=rf"^first stage e/{stage.run} has other weights by now: {stage.hash}, they"):
        with_codes(prior("vqvae_gmm", dataclasses.replace(stage, hash="old")), digits, storage, CPU, str(tmp_path))
    with pytest.raises(ValueError, match=r"run gone of experiment e at .* has no stored weights"):
        with_codes(prior("vqvae_gmm", dataclasses.replace(stage, run="gone")), digits, storage, CPU, str(tmp_path))
    with pytest.raises(ValueError, match=r"^vae_mlp has no first stage; leave --stage-one out$"):
        on_stage(ZOO["vae_mlp"], stage)


WEIGHTS = {"w": torch.arange(6.0).view(2, 3)}
HASHES = {  # what the first version hashed to, by what is said of vqvae's settings
    "635ff69395046a0a": {},
    "4d4dd5f2badd7e40": {
        "model.likelihood": "gaussian",
        "model.likelihood.variance": "shared",
        "model.likelihood.variance.least_deviation": 0.01,
    },
    "2b7cd49b804a94f2": {"model.likelihood": "gaussian", "model.likelihood.variance": "fixed"},
    "fe1497d90a341e5e": {
        "model.codebook.update": "loss",
        "model.optimizer.decay": "linear",
        "model.optimizer.decay_end": 5,
    },
}


@pytest.mark.parametrize("known", HASHES)
def test_a_first_stage_is_known_as_in_the_first_version(known: str) -> None:
    assert weights_hash(override(ZOO["vqvae"], HASHES[known]).model, WEIGHTS) == known


def test_a_first_stage_of_other_networks_is_known_as_in_the_first_version() -> None:
    assert weights_hash(ZOO["vqvae_bn"].model, WEIGHTS) == "01d2481256981f27"


def test_settings_that_come_later_leave_a_first_stage_what_it_is_until_they_are_used() -> None:
    """Else a new setting of the VQ-VAE would orphan every prior that was trained on one."""

    @dataclasses.dataclass(frozen=True)
    class Later(VQVAE.Config):
        steps: int = 1

    old = weights_hash(VQVAE.Config(), WEIGHTS)
    assert weights_hash(Later(), WEIGHTS) == old
    others = {weights_hash(Later(steps=2), WEIGHTS), weights_hash(VQVAE.Config(optimizer=RMSprop()), WEIGHTS)}
    assert len(others | {old}) == 3
