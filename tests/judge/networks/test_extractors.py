"""Every extractor is itself judged, by the same tests: its distance grows with what is wrong with images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from gen.data.dataset import Dataset, Table
from gen.data.stream import from_uint8, to_uint8
from gen.judge.networks import extractors
from gen.judge.networks.classifier import Classifier
from gen.judge.networks.extractors import Extractor, default_name, open_extractor
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from gen.metrics.table import frechet_name

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
WIDTHS = {"classifier": 64, "rotation": 64, "inception_64": 64}  # of those that the sanity tests judge
IMAGES = {"classifier": 1797, "rotation": 1797, "inception_64": 160}  # digits at most: Inception takes 20 ms an image
DAMAGE = {"classifier": 4, "rotation": 4, "inception_64": 2}  # levels of each kind
NOISE, BLUR = (0.3, 0.8, 1.2, 1.6), (0.6, 1.2, 1.6, 2.0)  # deviations: of pixels on the scale [-1, 1], in pixels


@pytest.fixture(scope="module")
def rotation(digits: Dataset) -> Extractor:
    return open_extractor("", unlabelled(digits), CPU)


@pytest.fixture(scope="module", params=sorted(WIDTHS))
def extractor(request: pytest.FixtureRequest, digits: Dataset, inception_home: Path) -> Extractor:
    trained = {"classifier": "judge", "rotation": "rotation"}
    if request.param in trained:
        fixture: Extractor = request.getfixturevalue(trained[request.param])
        return fixture
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(inception_home))
        return open_extractor(request.param, digits, CPU)


def rounded(images: Tensor) -> Tensor:
    return from_uint8(to_uint8(images), CPU, torch.float32)


def moments(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor]:
    found = Moments(extractor.width)
    found.add(extractor.features(rounded(images)))
    return found.mean(), found.covariance()


def test_features_and_logits(extractor: Extractor, digits: Dataset) -> None:
    images = from_uint8(digits.splits["test"][0]["image"][:5], CPU, torch.float32)
    features, logits = extractor.features(images), extractor.logits(images[:2])
    assert features.shape == (5, extractor.width) == (5, WIDTHS[extractor.name])
    assert features.dtype == logits.dtype == torch.float32
    assert len(logits) == 2
    assert not features.requires_grad
    assert len(extractor.weights_hash) == 16
    int(extractor.weights_hash, 16)
    alone = torch.cat([extractor.features(image) for image in torch.split(images, 1)])
    torch.testing.assert_close(features, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_distance_grows_with_what_is_wrong(extractor: Extractor, digits: Dataset) -> None:
    """Near zero between halves of the real set; monotone in noise, in blur and in the number of classes lost."""
    tables = [digits.splits[split][0] for split in ("train", "validation", "test")]
    images = torch.cat([from_uint8(table["image"], CPU, torch.float32) for table in tables])
    labels = torch.cat([table["label"] for table in tables])
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)[: IMAGES[extractor.name]]
    real, other = images[order].chunk(2)
    left = labels[order][len(real) :]
    reference, features = Reference.of(*moments(extractor, real)), extractor.features(rounded(other))

    def of(part: Tensor) -> float:
        return reference.distance(part.mean(0), part.mT.cov())

    levels = DAMAGE[extractor.name]
    noise = torch.randn(other.shape, generator=generator)
    halves = of(features.double())
    noisy = [reference.distance(*moments(extractor, other + level * noise)) for level in NOISE[:levels]]
    blurred = [
        reference.distance(*moments(extractor, gaussian_blur(other, [7, 7], [width]))) for width in BLUR[:levels]
    ]
    lost = [of(features[left < classes].double()) for classes in (5, 3, 1)]
    for grown in (noisy, blurred, lost):
        assert sorted([halves, *grown]) == [halves, *grown]
        assert halves < grown[-1] / 10
    assert halves < float(reference.covariance.trace()) / 20, "near zero, on the scale of the features"


def test_names(digits: Dataset, extractor: Extractor) -> None:
    assert extractor.name in extractors.NAMES
    expected = {"classifier": "frechet_classifier", "rotation": "frechet_rotation"}
    assert frechet_name(extractor.name) == expected.get(extractor.name, "frechet_inception_64"), (
        "a fid has 2,048 dimensions"
    )
    assert default_name(digits) == "classifier"


def unlabelled(dataset: Dataset) -> Dataset:
    splits = {split: ({"image": table["image"]},) for split, (table,) in dataset.splits.items()}
    return dataclasses.replace(dataset, splits=splits, shape=dataclasses.replace(dataset.shape, classes=0))


def test_rotations_are_told_without_labels(digits: Dataset, rotation: Extractor) -> None:
    assert isinstance(rotation, Classifier)
    assert rotation.name == default_name(unlabelled(digits)) == "rotation"
    images = from_uint8(digits.splits["test"][0]["image"], CPU, torch.float32)
    right = [
        float((rotation.logits(images.rot90(turns, (2, 3))).argmax(1) == turns).double().mean()) for turns in range(4)
    ]
    assert min(right) > 0.8, "0, 1 and 8 look alike when turned by half"
    assert not rotation.training


def test_a_column_has_its_own_rotations(digits: Dataset) -> None:
    one: Table = {"a": digits.splits["train"][0]["image"][:100]}
    other: Table = {"b": digits.splits["train"][0]["image"][100:200]}
    unpaired = dataclasses.replace(unlabelled(digits), splits={"train": (one, other)})
    judges = [open_extractor("rotation", unpaired, CPU, column=column) for column in ("a", "b")]
    assert judges[0].weights_hash != judges[1].weights_hash
    assert [judge.name for judge in judges] == ["rotation", "rotation"]


def test_what_is_trained_is_kept_by_set_recipe_and_column(digits: Dataset) -> None:
    kept: dict[str, bytes] = {}
    made = []

    def store(key: str, make) -> bytes:  # type: ignore[no-untyped-def]
        if key not in kept:
            made.append(key)
            kept[key] = make()
        return kept[key]

    small = dataclasses.replace(
        digits, splits={"train": ({name: column[:200] for name, column in digits.splits["train"][0].items()},)}
    )
    first, second = (open_extractor("classifier", small, CPU, kept=store) for _ in range(2))
    assert first.weights_hash == second.weights_hash
    assert made == list(kept)
    assert len(made) == 1
    # another set without labels is judged by the same weights, and the name says whose they are
    borrowed = open_extractor("", dataclasses.replace(unlabelled(digits), hash="0" * 16), CPU, other=small, kept=store)
    assert len(made) == 1
    assert borrowed.name == "classifier:digits"
    assert frechet_name(borrowed.name) == "frechet_classifier"
    open_extractor("rotation", small, CPU, kept=store)
    assert len(made) == 2


def test_what_cannot_be_is_refused_in_one_line(digits: Dataset) -> None:
    with pytest.raises(ValueError, match=r"^extractor 'vgg' is not known; allowed: inception, "):
        open_extractor("vgg", digits, CPU)
    with pytest.raises(ValueError, match=r"^data set digits has no labels"):
        open_extractor("classifier", unlabelled(digits), CPU)

    def kept(key: str, make: Callable[[], bytes]) -> bytes:
        raise AssertionError("it looks for what can never have been made")

    with pytest.raises(ValueError, match=r"^data set digits has no labels"):
        open_extractor("classifier", unlabelled(digits), CPU, kept=kept)
    larger = dataclasses.replace(digits, name="large", shape=dataclasses.replace(digits.shape, size=16))
    with pytest.raises(ValueError, match=r"^the features of large are of images of 1 x 16 x 16, those of digits are"):
        open_extractor("", digits, CPU, other=larger)
    with pytest.raises(ValueError, match="name one extractor, not two"):
        open_extractor("inception", digits, CPU, other=digits)
