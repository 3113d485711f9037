"""A model that is built wrong is told so before it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gen.capabilities import Fits, Imitates, Reconstructs, TwoStage, has
from gen.config import RunConfig, TwoStageConfig, override
from gen.data.dataset import Dataset
from gen.engine.build import build_model, outline, steering
from gen.engine.fit import fit
from gen.engine.freeze import batch_norms
from gen.judge import Judge
from gen.phase import Batch, Model, Shape
from gen.zoo import ZOO, tiny
from tests.fixtures.still import Still

CPU = torch.device("cpu")


class Undeclared(Still, Reconstructs):
    """It is to be fitted, and does not say so."""

    def fit(self, draw: Callable[[int], Batch]) -> None:
        raise AssertionError("nobody calls it")

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"]}


class Declared(Undeclared, Fits):
    """It says so."""


class Unfitted(Declared):
    """Its settings leave nothing to fit."""

    without = frozenset({Fits})


class Trainer(Still, Reconstructs):
    """A part of it is called as the method of others."""

    def __init__(self) -> None:
        super().__init__()
        self.fit = nn.Identity()

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.fit(batch["image"])}


class Imitator(Still, Imitates):
    """One grey image for each that is asked for."""

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": torch.zeros_like(batch["image"])}


@dataclass(frozen=True)
class Builds:
    """Settings of a model that has none."""

    kind: type[Model]

    def build(self, shape: Shape) -> Model:
        return self.kind()


def config(kind: type[Model]) -> RunConfig:
    return RunConfig("toy", "toy", Builds(kind))


def test_a_method_fit_that_nobody_would_call_is_refused(digits: Dataset, judge: Judge) -> None:
    message = r"^Undeclared has a method fit that nobody calls: name Fits .* among its bases, or give .* another name$"
    with pytest.raises(ValueError, match=message):
        build_model(config(Undeclared), digits, CPU)
    with pytest.raises(ValueError, match=message):
        next(fit(config(Undeclared), digits, device=CPU, judge=judge))


@pytest.mark.parametrize("kind", [Declared, Unfitted, Trainer, Still])
def test_others_are_built(kind: type[Model], digits: Dataset) -> None:
    assert isinstance(build_model(config(kind), digits, CPU), kind)


def test_a_model_that_can_do_nothing_is_told_where_to_name_what_it_can(digits: Dataset, judge: Judge) -> None:
    with pytest.raises(ValueError, match=r"nothing to be measured by: name a capability among the bases of Still, "):
        steering(config(Still), judge, Still())


def test_a_model_that_can_do_something_is_told_of_its_images(digits: Dataset, judge: Judge) -> None:
    few = tuple({name: column[:1] for name, column in table.items()} for table in digits.splits["validation"])
    alone = Judge(
        dataclasses.replace(digits, splits={**digits.splits, "validation": few}), judge.extractor, CPU, judge.batch
    )
    with pytest.raises(ValueError, match=r"nothing to be measured by: its validation images are too few, .* Imitates$"):
        steering(config(Imitator), alone, Imitator())


@pytest.mark.parametrize("entry", ZOO)
def test_single_images_are_refused_where_batchnorm_would_see_them(
    entry: str, fitting: Callable[[str], Dataset]
) -> None:
    config, dataset = override(tiny(ZOO[entry]), {"train.batch": 1}), fitting(entry)
    model = build_model(tiny(ZOO[entry]), dataset, CPU)
    if any(batch_norms(phase.player) for phase in model.phases()):
        with pytest.raises(ValueError, match=r"^train.batch=1 is out of range for .* with BatchNorm.*at least 2"):
            build_model(config, dataset, CPU)
    else:
        build_model(config, dataset, CPU)


def test_the_norm_of_a_setting_decides(fitting: Callable[[str], Dataset]) -> None:
    asked = {"train.batch": 1, "model.networks.generator_norm": "layer", "model.networks.critic_norm": "spectral"}
    build_model(override(tiny(ZOO["dcgan"]), asked), fitting("dcgan"), CPU)
    over_all = {"train.batch": 1, "train.micro_batches": 2, "train.sync_batchnorm": True}
    build_model(override(tiny(ZOO["dcgan"]), over_all), fitting("dcgan"), CPU)


@pytest.mark.parametrize("entry", ZOO)
def test_augmentation_that_would_change_nothing_is_refused(entry: str, fitting: Callable[[str], Dataset]) -> None:
    dataset = fitting(entry)

    def build(**settings: object) -> Model:
        changes = {f"data.augment.{key}": value for key, value in settings.items()}
        return build_model(override(tiny(ZOO[entry]), changes), dataset, CPU)

    if has(build(), TwoStage):
        with pytest.raises(
            ValueError, match=r"^data.augment changes images, and .* learns from codes, .*leave .* out$"
        ):
            build(flip=True)
        return
    build(flip=True, margin=0.125)
    side = dataset.shape.size
    message = rf"^data.augment.margin=\S+ adds no pixel to images of {side}; allowed: 0, .* at least {1 / side:g}$"
    with pytest.raises(ValueError, match=message):
        build(margin=0.4 / side)


@pytest.mark.parametrize("penalty", ["one_centred", "zero_centred", "dragan", "r1"])
def test_penalties_stay_finite_under_bf16(
    penalty: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    dataset = fitting("wgan_gp")
    asked = {"model.penalty": penalty, "train.precision": "bf16", "budget.epochs": 2, "evaluate.full": "none"}
    config = override(tiny(ZOO["wgan_gp"]), {**asked, "evaluate.images": 32})
    *_, last = fit(config, dataset, device=CPU, judge=judging(dataset))
    assert last.ended == "finished", last.why
    assert last.metrics["critic/penalty"] >= 0


@pytest.mark.parametrize("entry", [name for name in ZOO if not isinstance(ZOO[name].model, TwoStageConfig)])
def test_an_outline_is_the_model_without_its_numbers(entry: str) -> None:
    config = tiny(ZOO[entry])
    shape = Shape(1, config.data.size or 8, 10)
    for norm in ("batch", "spectral"):
        if hasattr(getattr(config.model, "networks", None), "critic_norm"):
            config = override(config, {"model.networks.critic_norm": norm})
        drawn, outlined = config.model.build(shape), outline(config, shape)
        assert outlined is not None
        wanted = {name: tuple(one.shape) for name, one in drawn.state_dict().items()}
        assert {name: tuple(one.shape) for name, one in outlined.state_dict().items()} == wanted
        assert all(one.is_meta for one in (*outlined.parameters(), *outlined.buffers()))
