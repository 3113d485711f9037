"""The judge is itself judged: it classifies, it is the same each time, and its distance grows with what is wrong."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from gen.config import DataConfig
from gen.data.dataset import Dataset, Table, open_dataset
from gen.data.stream import from_uint8
from gen.judge.networks.classifier import (
    Classifier,
    accuracy,
    from_bytes,
    recipe_hash,
    to_bytes,
    train_classifier,
    weights_hash,
)
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from gen.phase import Shape

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def distance(judge: Classifier, one: Tensor, other: Tensor) -> float:
    """frechet_classifier between two sets of images in [-1, 1]."""
    both = []
    for images in (one, other):
        moments = Moments(64)
        for part in images.split(500):
            moments.add(judge.features(part))
        both.append((moments.mean(), moments.covariance()))
    return Reference.of(*both[0]).distance(*both[1])


def held_out(dataset: Dataset) -> Table:
    return dataset.splits["test"][0]


def test_digits_are_learnt(judge: Classifier, digits: Dataset) -> None:
    assert accuracy(judge, held_out(digits)["image"], held_out(digits)["label"]) >= 0.95
    assert not judge.training
    assert not any(weight.requires_grad for weight in judge.parameters())


def test_every_training_gives_the_same_weights_and_disturbs_nothing(judge: Classifier, digits: Dataset) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(77)
        state = torch.get_rng_state()
        with torch.no_grad():
            again = train_classifier(digits, CPU)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert weights_hash(again) == weights_hash(judge)


def test_bytes_come_back(judge: Classifier, digits: Dataset) -> None:
    data = to_bytes(judge)
    state = torch.get_rng_state()
    back = from_bytes(data, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_hash(back) == weights_hash(judge)
    images = from_uint8(held_out(digits)["image"], CPU, torch.float32)
    assert torch.equal(back.features(images), judge.features(images))
    assert back.shape == digits.shape
    for damaged in (b"", b"no archive", data[: len(data) // 2]):
        with pytest.raises(ValueError, match="damaged"):
            from_bytes(damaged, CPU)


def test_hashes_tell_judges_apart(judge: Classifier) -> None:
    other = from_bytes(to_bytes(judge), CPU)
    other.head.bias[0] += 1e-3
    assert weights_hash(other) != weights_hash(judge)
    assert recipe_hash(Shape(1, 28, 10)) == recipe_hash(Shape(1, 28, 10)) != recipe_hash(Shape(3, 28, 10))


@pytest.mark.parametrize("size", [8, 16, 28, 32, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_gives_64_features(size: int, channels: int) -> None:
    images = torch.randn(3, channels, size, size)
    judge = Classifier(Shape(channels, size, 7))
    assert judge.features(images).shape == (3, 64)
    assert judge.features(images.double()).dtype == torch.float32
    assert judge(images).shape == (3, 7)


def test_features_are_the_image_s_own(judge: Classifier, digits: Dataset) -> None:
    """No statistics of the batch: a fake's features do not depend on its neighbours."""
    images = from_uint8(held_out(digits)["image"][:20], CPU, torch.float32)
    alone = torch.cat([judge.features(image) for image in images.split(1)])
    torch.testing.assert_close(judge.features(images), alone, rtol=1e-4, atol=1e-4)


def test_a_set_without_labels_is_refused(digits: Dataset) -> None:
    splits = {split: ({"image": table["image"]},) for split, (table,) in digits.splits.items()}
    with pytest.raises(ValueError, match=r"^data set digits has no labels"):
        train_classifier(dataclasses.replace(digits, splits=splits), CPU)


def check_distance(judge: Classifier, images: Tensor, labels: Tensor) -> None:
    """frechet_classifier is near zero between two halves of the real set, and grows with each kind of damage."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    images, labels = images[order], labels[order]
    real, other = images.chunk(2)
    halves = distance(judge, real, other)
    noise = torch.randn(other.shape, generator=generator)
    noisy = [distance(judge, real, (other + level * noise).clamp(-1, 1)) for level in (0.2, 0.3, 0.4, 0.8, 1.6)]
    blurred = [distance(judge, real, gaussian_blur(other, [7, 7], [width])) for width in (0.6, 0.8, 1.2, 2.0)]
    lost = [distance(judge, real, other[labels[len(real) :] < left]) for left in (9, 7, 5, 3, 1)]
    for grown in (noisy, blurred, lost):
        assert sorted([halves, *grown]) == [halves, *grown]
        assert halves < grown[-1] / 20
    assert halves < lost[0] / 5, "even one class of ten that is missing stands out"
    assert halves < judge.features(real).var(0).sum() / 100, "near zero, on the scale of the features"
    assert distance(judge, real, real) < 1e-6 * halves


@pytest.mark.skipif(not (SHARED / "MNIST").is_dir(), reason="no real data beside the repository")
def test_mnist_is_learnt_and_its_distance_grows(tmp_path: Path) -> None:
    mnist = open_dataset(DataConfig("mnist"), str(SHARED), cache=str(tmp_path))
    judge = train_classifier(mnist, CPU)
    table = held_out(mnist)
    assert accuracy(judge, table["image"], table["label"]) >= 0.98
    check_distance(judge, from_uint8(table["image"], CPU, torch.float32), table["label"])
