"""Mode coverage through the judge: of fakes whose classes are known, on a set with classes and on stacked digits."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from gen.capabilities import Conditional, Imitates
from gen.config import override
from gen.data.dataset import Dataset
from gen.data.stream import from_uint8, rows_of
from gen.distributed.workers import ALONE, Workers
from gen.judge import Figure, Judge, judge_by, open_judge
from gen.judge.features import MODES, OBEDIENCE
from gen.judge.networks.classifier import ByChannel
from gen.judge.networks.extractors import Extractor, open_teller
from gen.judge.open import Features
from gen.phase import Batch, Model, Phase, Shape
from gen.results.storage import Storage
from gen.zoo import ZOO
from tests.fixtures.pair import Pair

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
NAMES = [f"{metric}/fakes" for metric in MODES]


class Copies(Model, Imitates):
    """Its fakes are the split's own images."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def phases(self) -> list[Phase]:
        return []

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"]}


class Repeats(Copies):
    """Its fakes are one image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.image.expand(len(batch["image"]), -1, -1, -1)}


class Obeys(Repeats, Conditional):
    """Its fakes are an image of the class that it is asked for."""

    classes = 10

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {"image": self.image[batch["label"]]}


class CopiesOnDemand(Copies, Conditional):
    """Its fakes are images of the class that it is asked for, the split's own."""

    classes = 1000


def values(judge: Judge, model: Model, images: int, split: str = "test") -> dict[str, float]:
    return {figure.metric: figure.value for figure in judge.figures(model, split, images, "raw", only=NAMES)}


def of_class(dataset: Dataset, extractor: Extractor, label: int) -> Tensor:
    """An image (1, C, H, W) of a class that the extractor knows for one."""
    (table,) = dataset.splits["test"]
    images = from_uint8(table["image"][table["label"] == label], CPU, torch.float32)
    return images[extractor.logits(images).argmax(1) == label][:1]


def test_real_images_as_fakes_reach_all_classes_and_one_image_one(digits: Dataset, judge: Judge) -> None:
    found = values(judge, Copies(), 360)
    assert (found["modes"], found["mode_share"]) == (10, 1)
    assert found["mode_divergence"] < 0.01
    assert found["mode_entropy"] == pytest.approx(math.log(10) - found["mode_divergence"])
    one = values(judge, Repeats(of_class(digits, judge.extractor, 7)), 360)
    assert one == pytest.approx({"modes": 1, "mode_share": 0.1, "mode_entropy": 0, "mode_divergence": math.log(10)})


def test_a_conditional_model_that_obeys_has_the_histogram_of_the_split(digits: Dataset, judge: Judge) -> None:
    """A split of three classes, most of them noughts."""
    (table,) = digits.splits["test"]
    rows = torch.cat([(table["label"] == label).nonzero()[:count, 0] for label, count in ((0, 30), (3, 15), (7, 15))])
    few = {name: column[rows] for name, column in table.items()}
    dataset = dataclasses.replace(digits, splits={**digits.splits, "test": (few,)})
    images = torch.cat([of_class(digits, judge.extractor, label) for label in range(10)])
    found = values(Judge(dataset, judge.extractor, CPU, 32), Obeys(images), 120)
    assert found["modes"] == 3
    assert found["mode_entropy"] == pytest.approx(1.5 * math.log(2), rel=1e-12)


def test_how_many_fakes_are_of_the_class_that_was_asked_for(digits: Dataset, judge: Judge) -> None:
    """All, none, and a tenth where each fake is of one class; the last batch is cut short."""
    images = torch.cat([of_class(digits, judge.extractor, label) for label in range(10)])
    name, count = f"{OBEDIENCE}/fakes", 250

    def obeyed(model: Model) -> float:
        (figure,) = judge.figures(model, "test", count, "raw", only=[name])
        assert (figure.n_real, figure.n_fake, figure.labels) == (0, count, "split")
        assert figure.features_hash == judge.extractor.weights_hash
        return figure.value

    assert obeyed(Obeys(images)) == 1
    assert obeyed(Obeys(images.roll(1, 0))) == 0
    asked = rows_of(digits, "test", torch.arange(count), CPU, torch.float32, mix=True)["label"]
    assert obeyed(Obeys(images[[7] * 10])) == pytest.approx(float((asked == 7).float().mean()))
    assert name not in judge.steers(Copies())


def test_the_figures_are_of_the_fakes_alone_and_say_who_told_the_classes(digits: Dataset, judge: Judge) -> None:
    planned = [one for one in judge.plan(Copies(), "test", 50, "raw") if one.metric in MODES]
    assert [one.name for one in planned] == NAMES
    about = {(one.n_real, one.n_fake, one.features, one.features_hash, one.labels) for one in planned}
    assert about == {(0, 50, "classifier", judge.extractor.weights_hash, None)}
    asked = judge.plan(Obeys(torch.zeros(10, 1, 8, 8)), "test", 50, "raw")
    assert {one.labels for one in asked if one.metric in MODES} == {"split"}
    assert not {name for name in judge.cheap(Copies()) if name in NAMES}
    assert set(NAMES) <= set(judge.steers(Copies()))
    assert judge.steers(Copies())[0] == "frechet_classifier/fakes"


def test_the_set_s_own_classifier_tells_whatever_the_features_are(
    digits: Dataset, judge: Judge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("modes")))
    features = Features("rotation")
    named = features.find_teller(digits, features.find(digits, storage), storage)
    assert named is not None
    assert (named.name, named.weights_hash) == ("classifier", "")
    opened = open_judge(digits, override(ZOO["gan_mlp"], {"evaluate.features": "rotation"}), CPU, storage=storage)
    assert values(opened, Copies(), 100) == values(judge, Copies(), 100)
    found = features.find_teller(digits, features.find(digits, storage), storage)
    assert found is not None
    assert found.weights_hash == judge.extractor.weights_hash


def test_a_set_without_classes_has_no_modes(digits: Dataset, judge: Judge) -> None:
    tables = {split: ({"image": table["image"]},) for split, (table,) in digits.splits.items()}
    plain = dataclasses.replace(digits, shape=Shape(1, 8), splits=tables)
    assert Features().find_teller(plain, judge.extractor) is None
    assert Features().open_teller(plain, judge.extractor, CPU) is None
    assert not [
        one for one in Judge(plain, judge.extractor, CPU, 32).plan(Copies(), "test", 50, "raw") if one.metric in MODES
    ]


@pytest.fixture(scope="module")
def stacked(digits: Dataset) -> Dataset:
    """Three digits as the channels of an image; the test split has each of the 1,000 combinations four times."""
    chance = torch.Generator().manual_seed(0)
    splits = {}
    for split in ("train", "validation", "test"):
        (table,) = digits.splits["train" if split == "test" else split]
        images, labels = table["image"], table["label"]
        threes = torch.randint(len(images), (1500 if split == "train" else 200, 3), generator=chance)
        if split == "test":
            rows = [(labels == label).nonzero()[:, 0] for label in range(10)]
            wanted = torch.cartesian_prod(*[torch.arange(10)] * 3).repeat(4, 1)
            threes = torch.stack(
                [
                    rows[label][(17 * place + 7 * number) % len(rows[label])]
                    for number, three in enumerate(wanted.tolist())
                    for place, label in enumerate(three)
                ]
            ).view(-1, 3)
        splits[split] = ({"image": images[threes, 0], "label": labels[threes] @ torch.tensor([100, 10, 1])},)
    return Dataset("stacked_mnist", Shape(3, 8, 1000), "stacked", splits)


@pytest.fixture(scope="module")
def teller(stacked: Dataset) -> Extractor:
    return open_teller(stacked, CPU, lambda key, make: make())


def test_a_classifier_of_single_digits_tells_the_thousand_modes(stacked: Dataset, teller: Extractor) -> None:
    assert isinstance(teller, ByChannel)
    (table,) = stacked.splits["test"]
    images = from_uint8(table["image"], CPU, torch.float32)
    told = teller.logits(images).argmax(1)
    assert float((told == table["label"]).float().mean()) > 0.97
    by_hand = [teller.of_channel(images[:, [place]]).argmax(1) for place in range(3)]
    assert torch.equal(told, 100 * by_hand[0] + 10 * by_hand[1] + by_hand[2])


def test_real_stacks_reach_all_modes_and_those_of_one_combination_one(stacked: Dataset, teller: Extractor) -> None:
    judge = Judge(stacked, teller, CPU, 100)
    found = values(judge, Copies(), 4000)
    assert found["modes"] == 1000
    assert found["mode_share"] == 1
    assert found["mode_divergence"] < 0.02
    one = values(judge, Repeats(of_class(stacked, teller, 417)), 200)
    assert one == pytest.approx({"modes": 1, "mode_share": 0.001, "mode_entropy": 0, "mode_divergence": math.log(1000)})


def test_on_stacked_digits_the_classifier_of_all_modes_does_not_tell_them(
    stacked: Dataset, teller: Extractor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("stacked")))
    judge = open_judge(stacked, ZOO["gan_mlp"], CPU, storage=storage)
    assert judge.extractor.name == "classifier"
    planned = judge.plan(Copies(), "test", 50, "raw")
    assert {one.features for one in planned if one.metric in MODES} == {"channel"}
    assert {one.features_hash for one in planned if one.metric in MODES} == {teller.weights_hash}
    assert {one.features for one in planned if one.metric not in MODES} == {"classifier"}
    found = Features().find_teller(stacked, Features().find(stacked, storage), storage)
    assert found is not None
    assert found.weights_hash == teller.weights_hash


def counted(workers: Workers, dataset: Dataset, extractor: Extractor, teller: Extractor) -> list[Figure]:
    judge = judge_by(extractor, dataset, ZOO["gan_mlp"].evaluate, CPU, teller=teller)
    judge.batch = 32
    return judge.figures(CopiesOnDemand(), "test", 130, "raw", workers, only=[*NAMES, f"{OBEDIENCE}/fakes"])


def test_two_workers_count_as_one(stacked: Dataset, teller: Extractor, pair: Pair) -> None:
    alone = counted(ALONE, stacked, teller, teller)
    assert len(alone) == len(NAMES) + 1
    for together in pair.run(counted, stacked, teller, teller):
        assert together == alone
