"""Measures of capabilities that no entry of the zoo has yet, on models of a few lines; statistics of real images."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from gen.capabilities import (
    Classifies,
    Conditional,
    Encodes,
    Imitates,
    ImportanceWeighted,
    Reconstructs,
    Translates,
)
from gen.config import DataConfig
from gen.data.dataset import Dataset, open_dataset
from gen.data.stream import from_uint8, mixture
from gen.distributed.workers import ALONE, Workers
from gen.judge import Figure, Judge
from gen.judge.networks.extractors import Extractor
from gen.judge.open import Features
from gen.phase import Batch, Shape
from gen.results.storage import Storage
from gen.zoo import ZOO
from tests.fixtures.pair import Pair
from tests.fixtures.still import Still
from tests.judge.test_judge import CPU, built

pytestmark = pytest.mark.slow


class Turner(Still, Translates):
    """Translates a into b and b into a by turning images upside down."""

    needs = frozenset({"a", "b"})
    sources: Mapping[str, str] = {"a": "b", "b": "a"}

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        return {column: batch[source].flip(2) for column, source in self.sources.items()}


class Labels(Still, Conditional, Classifies):
    """Tells the class by the first pixel, and imitates images whose first pixel tells the class."""

    classes = 10

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        images = torch.full_like(batch["image"], -1)
        images[:, 0, 0, 0] = batch["label"] / 9 * 2 - 1
        return {"image": images}

    def classify(self, batch: Batch) -> Tensor:
        return nn.functional.one_hot(((batch["image"][:, 0, 0, 0] + 1) / 2 * 9).round().long(), 10).float()


class Miscounts(Still, Imitates, Reconstructs):
    """Makes another number of images than it is asked for."""

    def __init__(self, rows: Callable[[int], int], column: str = "image") -> None:
        super().__init__()
        self.rows, self.column = rows, column

    def imitate(self, batch: Batch) -> dict[str, Tensor]:
        images = batch["image"]
        return {self.column: torch.zeros(self.rows(len(images)), *images.shape[1:])}

    reconstruct = imitate


class Exact(Still, ImportanceWeighted):
    """Standard normal pixels, with the exact posterior of a latent: each weight is p(x), whatever z."""

    density = "gaussian"

    def bound_terms(self, batch: Batch) -> dict[str, Tensor]:
        return {"distortion": -self.log_weights(batch), "rate": torch.zeros(len(batch["image"]))}

    def log_weights(self, batch: Batch) -> Tensor:
        torch.randn(len(batch["image"]))
        return -(batch["image"].flatten(1).square() + math.log(2 * math.pi)).sum(1) / 2


class Collapsed(Still, Encodes):
    """Three latents: one follows the label, one stands still at 2, one is the prior."""

    latent_size = 3

    def latent_posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        label = batch["label"].float()
        mean = torch.stack([label, torch.full_like(label, 2), torch.zeros_like(label)], 1)
        return mean, torch.zeros_like(mean)


class Means:
    """An extractor: means of rows and columns."""

    name, width, resize, weights_hash = "rotation", 16, "none", "0123"

    def __init__(self) -> None:
        self.seen = 0

    def features(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return torch.cat([images.mean((1, 2)), images.mean((1, 3))], 1)

    def logits(self, images: Tensor) -> Tensor:
        return self.features(images)

    def logits_of(self, features: Tensor) -> Tensor:
        return features


@pytest.fixture(scope="module")
def unpaired(digits: Dataset) -> Dataset:
    """Two tables of different lengths, in each split of other images."""
    images = digits.splits["train"][0]["image"]
    splits = {
        split: ({"a": images[start : start + 90]}, {"b": images[start + 90 : start + 130]})
        for split, start in (("train", 200), ("validation", 400), ("test", 0))
    }
    return Dataset("unpaired", Shape(1, 8), "unpaired", splits)


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def translated(workers: Workers, dataset: Dataset, images: int) -> list[Figure]:
    return Judge(dataset, Means(), CPU, 32).figures(Turner(), "test", images, "raw", workers)


def test_a_translation_has_one_fake_a_source_and_figures_a_column(unpaired: Dataset) -> None:
    found = by_name(translated(ALONE, unpaired, 1000))
    metrics = {name.split("/")[0] for name in found}
    assert metrics == {"frechet_rotation", "kid", "kid_spread", "precision", "recall", "density", "coverage"}
    a, b = found["frechet_rotation/translations/a"], found["frechet_rotation/translations/b"]
    assert (a.n_real, a.n_fake, b.n_real, b.n_fake) == (90, 40, 40, 90)  # fakes of column a come from b's images
    assert found["kid/translations/a"].n_fake == 40
    for column, source in Turner.sources.items():  # against the held-out images of the column itself
        flipped = from_uint8(unpaired.column("test", source), CPU, torch.float32).flip(2)
        reference = Judge(unpaired, Means(), CPU, 90).references.moments("test", column, ALONE)
        distance = reference.distance_to(Means().features(flipped))
        assert found[f"frechet_rotation/translations/{column}"].value == pytest.approx(distance, rel=1e-6)  # float32


@pytest.mark.parametrize("images", [1000, 13])  # 13: fewer than the features have dimensions
def test_two_workers_translate_as_one(images: int, unpaired: Dataset, pair: Pair) -> None:
    alone = translated(ALONE, unpaired, images)
    assert {figure.deficient for figure in alone if figure.metric == "frechet_rotation"} == {images == 13 or None}
    for together in pair.run(translated, unpaired, images):
        assert [figure.row()["protocol"] for figure in together] == [figure.row()["protocol"] for figure in alone]
        for one, other in zip(alone, together, strict=True):
            assert other.value == pytest.approx(one.value, rel=1e-6, abs=1e-12), one.name


@pytest.mark.parametrize("images", [47, 100])  # fewer than the split has, and each twice
def test_fakes_are_asked_for_the_labels_of_the_split_s_images(images: int, digits: Dataset) -> None:
    """In their proportions: a split in which most are noughts is imitated by a model that mostly makes noughts."""
    (table,) = digits.splits["test"]
    rows = torch.cat([(table["label"] == label).nonzero()[:count, 0] for label, count in ((0, 30), (3, 15), (7, 5))])
    few = ({name: column[rows] for name, column in table.items()},)
    dataset = dataclasses.replace(digits, splits={**digits.splits, "test": few})
    asked = list[float]()
    extractor = Means()
    judge = Judge(dataset, extractor, CPU, 9)

    def features(fakes: Tensor) -> Tensor:
        asked.extend(((fakes[:, 0, 0, 0] + 1) / 2 * 9).tolist())
        return Means().features(fakes)

    judge.references.moments("test", "image", ALONE)
    extractor.features = features  # type: ignore[method-assign]
    judge.figures(Labels(), "test", images, "raw", only=["frechet_rotation/fakes"])
    labels = few[0]["label"][mixture(50)].tolist()
    assert [round(label) for label in asked] == [labels[position % 50] for position in range(images)]
    if images == 100:
        assert Counter(map(round, asked)) == {0: 60, 3: 30, 7: 10}


def test_the_protocol_tells_that_fakes_were_asked_for_by_the_labels_of_the_split(digits: Dataset) -> None:
    """For they once were by all classes alike. What else is measured has the protocol that it always had."""
    judge = Judge(digits, Means(), CPU, 9)
    planned = judge.plan(Labels(), "test", 100, "raw")
    assert {(figure.subject, figure.labels) for figure in planned} == {("fakes", "split"), ("images", None)}
    assert all(dataclasses.replace(one, labels=None).protocol != one.protocol for one in planned if one.labels)
    others = [built("gan_mlp", digits), built("vae_mlp", digits), Turner()]
    assert {figure.labels for model in others for figure in judge.plan(model, "test", 100, "raw")} == {None}
    conditional = judge.plan(built("cvae", digits), "test", 100, "raw")
    assert {figure.labels for figure in conditional if figure.subject == "fakes"} == {"split"}
    assert {figure.labels for figure in conditional if figure.subject != "fakes"} == {None}
    about = {"features": "classifier", "features_hash": "0123456789abcdef", "resize": "none"}
    unconditional = Figure("frechet_classifier", "fakes", 1.0, 180, 300, "validation", "raw", **about)
    assert unconditional.protocol == "b4e6e18ad7c7ab63"  # as schema 1.0 had it


def test_accuracy_counts_labelled_images_only(digits: Dataset) -> None:
    """The table without labels is longer, and its rows repeat the labelled ones."""
    few = {name: column[:30].clone() for name, column in digits.splits["test"][0].items()}
    few["image"][:, 0, 0, 0] = (few["label"] * 255 / 9).round()
    few["label"][:3] = (few["label"][:3] + 1) % 10
    tables = (few, {"unlabelled": digits.splits["test"][0]["image"]})
    dataset = dataclasses.replace(digits, splits=dict.fromkeys(digits.splits, tables))
    found = by_name(Judge(dataset, Means(), CPU, 8).figures(Labels(), "test", 1000, "raw", only=["accuracy/images"]))
    assert found["accuracy/images"].value == 0.9
    assert found["accuracy/images"].n_real == 30


def test_the_importance_weighted_bound_is_exact_where_the_posterior_is(digits: Dataset) -> None:
    judge = Judge(digits, Means(), CPU, 32, importance=(50, 7))
    found = by_name(judge.figures(Exact(), "test", 1000, "raw"))
    images = from_uint8(digits.splits["test"][0]["image"][mixture(360)[:50]], CPU, torch.float32)
    nats = float((images.double().square() / 2 + math.log(2 * math.pi) / 2).flatten(1).sum(1).mean())
    bound, bits = found["importance_bound/images"], found["bits_per_dimension/images"]
    assert bound.value == pytest.approx(nats, rel=1e-6)
    assert bits.value == pytest.approx(nats / 64 / math.log(2) + math.log2(127.5), rel=1e-6)
    for figure in (bound, bits):
        assert (figure.n_samples, figure.n_fake, figure.likelihood) == (7, 50, "gaussian")
    more = Judge(digits, Means(), CPU, 32, importance=(50, 8)).plan(Exact(), "test", 1000, "raw")
    assert more[0].protocol != bound.protocol


@pytest.mark.parametrize(
    ("figure", "maker"), [("frechet_rotation/fakes", "imitate"), ("mse/reconstructions", "reconstruct")]
)
@pytest.mark.parametrize("rows", [lambda asked: asked - 1, lambda asked: asked + 1, lambda asked: 1])
def test_another_number_of_images_than_was_asked_for_is_refused(
    rows: Callable[[int], int], figure: str, maker: str, digits: Dataset
) -> None:
    judge = Judge(digits, Means(), CPU, 32)
    right = judge.figures(Miscounts(lambda asked: asked), "test", 50, "raw", only=[figure])
    assert [one.name for one in right] == [figure]
    message = rf"^Miscounts.{maker} made {rows(32)} images of column image for a batch of 32 rows; allowed: one a row"
    with pytest.raises(ValueError, match=message):
        judge.figures(Miscounts(rows), "test", 50, "raw", only=[figure])


def test_a_column_that_is_said_to_be_made_and_is_not_is_named(digits: Dataset) -> None:
    model = Miscounts(lambda asked: asked, column="picture")
    with pytest.raises(ValueError, match=r"^Miscounts.imitate made picture; wanted: image too"):
        Judge(digits, Means(), CPU, 32).figures(model, "test", 50, "raw", only=["frechet_rotation/fakes"])


def test_a_collapsed_posterior_is_told_by_its_units(digits: Dataset) -> None:
    judge = Judge(digits, Means(), CPU, 32)
    active, *rates = judge.figures(Collapsed(), "test", 50, "raw")
    labels = digits.splits["test"][0]["label"][mixture(360)[:50]].double()
    assert (active.name, active.value) == ("active_units/images", 1)
    assert [rate.value for rate in rates] == [pytest.approx(float(labels.square().mean() / 2), rel=1e-12), 2, 0]
    assert [rate.variant for rate in rates] == ["unit 0", "unit 1", "unit 2"]
    assert len({rate.protocol for rate in rates}) == 3
    assert [rate.name for rate in rates] == ["unit_rate/images"] * 3
    assert judge.steers(Collapsed()) == ["active_units/images"], "no run is selected by one of three of a name"
    assert judge.cheap(Collapsed()) == ["active_units/images"]


@pytest.mark.parametrize("entry", ZOO)
def test_a_figure_is_the_same_whatever_else_is_measured(
    entry: str, fitting: Callable[[str], Dataset], judging: Callable[[Dataset], Judge]
) -> None:
    dataset = fitting(entry)
    model, judge = built(entry, dataset), judging(dataset)
    whole = judge.figures(model, "validation", 270, "raw")
    planned = judge.plan(model, "validation", 270, "raw")
    assert [figure.protocol for figure in planned] == [figure.protocol for figure in whole]
    for name in {figure.name for figure in planned}:
        alone = judge.figures(model, "validation", 270, "raw", only=[name])
        assert alone == [figure for figure in whole if figure.name == name]


def test_what_nobody_asked_for_is_not_begun(digits: Dataset) -> None:
    """Errors of reconstructions need no features, and the score of fakes no real image's."""
    extractor = Means()
    judge = Judge(digits, extractor, CPU, 32)
    judge.figures(built("vqvae", digits), "test", 100, "raw", only=["mse/reconstructions", "used/images"])
    assert extractor.seen == 0
    extractor.name = "classifier"
    judge.figures(built("gan_mlp", digits), "test", 100, "raw", only=["inception_score/fakes"])
    assert extractor.seen == 100
    judge.figures(built("gan_mlp", digits), "test", 100, "raw", only=["kid/fakes"])
    assert extractor.seen == 300


def referred(workers: Workers, dataset: Dataset, place: str) -> tuple[int, list[Tensor]]:
    """How many images were looked at, and the statistics."""
    extractor = Means()
    references = Judge(dataset, extractor, CPU, 32, Storage(place)).references
    found = references.moments("test", "image", workers)
    sample = references.sample("test", "image", 100, workers)
    return extractor.seen, [found.mean, found.covariance, found.root, sample]


def test_references_are_computed_once_by_all_workers_and_kept(
    digits: Dataset, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = str(tmp_path_factory.mktemp("references"))
    shares = pair.run(referred, digits, place)
    assert sum(seen for seen, _ in shares) == 360 + 100
    assert all(seen > 100 for seen, _ in shares)
    again, kept = referred(ALONE, digits, place)
    assert again == 0
    alone = referred(ALONE, digits, f"{place}/other")[1]
    for one, two, found, own in zip(shares[0][1], shares[1][1], kept, alone, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, found)
        torch.testing.assert_close(one, own, rtol=1e-6, atol=1e-6 * float(own.abs().max()))
    renamed = dataclasses.replace(digits, hash="other")
    assert referred(ALONE, renamed, place)[0] == 460  # another set has its own


def test_an_extractor_that_only_has_to_be_found_is_not_trained(
    digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("found")))
    assert Features().find(digits, storage).weights_hash == ""
    assert storage.folders("") == []
    trained: Extractor = Features().open(digits, CPU, storage=storage)
    assert Features().find(digits, storage).weights_hash == trained.weights_hash
    described = Features().describe(digits)
    assert (described.name, described.width) == (trained.name, trained.width)


def test_a_part_of_a_split_that_is_sorted_by_class_has_all_classes(digits: Dataset) -> None:
    table = digits.splits["test"][0]
    order = table["label"].argsort()
    dataset = dataclasses.replace(digits, splits={"test": ({name: column[order] for name, column in table.items()},)})
    seen = []

    class Looks(Labels):
        def classify(self, batch: Batch) -> Tensor:
            seen.extend(batch["label"].tolist())
            return super().classify(batch)

    Judge(dataset, Means(), CPU, 32).figures(Looks(), "test", 60, "raw", only=["accuracy/images"])
    assert set(seen) == set(range(10))


def test_a_split_of_one_image_has_no_distance(digits: Dataset) -> None:
    one = tuple({name: column[:1] for name, column in table.items()} for table in digits.splits["test"])
    judge = Judge(dataclasses.replace(digits, splits={"test": one}), Means(), CPU, 32)
    names = {figure.metric for figure in judge.figures(built("vqvae", digits), "test", 100, "raw")}
    assert "mse" in names
    assert not any(name.startswith("frechet") for name in names)


def test_a_judge_knows_the_labels_that_a_model_is_not_given(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    few, whole = (open_dataset(DataConfig("digits", labels=labels)) for labels in (20, 0))
    assert Features().open(few, CPU).weights_hash == Features().open(whole, CPU).weights_hash
