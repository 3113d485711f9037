"""The judges `classifier` and `rotation`: a small network trained once on the set itself, whose last features are
compared. It tells the classes or, for sets without labels, by which of four right angles an image was turned (Gidaris
et al. 2018, https://arxiv.org/abs/1803.07728).

Its distances are comparable only between runs that share its weights: they are never FID, which is Inception's. It was
trained to overlook what does not change the answer, so it barely sees weak noise on the pixels.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gen import tensors
from gen.data.dataset import Dataset
from gen.data.stream import Stream, from_uint8
from gen.phase import Shape

RECIPE = 1  # a change of the network or of its training makes another judge
WIDTH = 64  # features
SIDE = 4  # of the last maps
BATCH = 128
SEED = 0
RATE = 5e-3  # the highest, of a one-cycle schedule
IMAGES = 50_000  # to see in all, in whole epochs, ...
EPOCHS = (2, 20)  # ... of which no fewer and no more

exact = functools.partial(torch.backends.cudnn.flags, enabled=True, deterministic=True, allow_tf32=False)
"""Context in which a GPU convolves in whole float32, the same way each time."""


class Pool(nn.Module):
    """Averages maps (N, C, H, W) down to 4x4: by a mean where that divides the side, for PyTorch's adaptive pooling
    took half of the extractor's time even where the side was 4 already."""

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, 4, 4)."""
        side = maps.shape[-1]
        if side == SIDE:
            return maps
        if side % SIDE:
            return F.adaptive_avg_pool2d(maps, SIDE)
        return F.avg_pool2d(maps, side // SIDE)


class Classifier(nn.Module):
    """Three convolutions, or four above 32 pixels, that come down to 4x4, and a layer over all of it.

    That layer sees where things are: averages over places forget it, and got to 94 % of MNIST
    in an epoch in which this gets to 98 %.
    """

    def __init__(self, shape: Shape, name: str = "classifier") -> None:
        super().__init__()
        self.shape, self.name, self.width, self.resize = shape, name, WIDTH, "none"
        size, channels, layers = shape.size, shape.channels, list[nn.Module]()
        for width in (16, 32, 64) if size <= 32 else (16, 32, 64, 64):
            stride = 1 if size <= 4 or (size <= 16 and not layers) else 2
            layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.GroupNorm(width // 4, width), nn.ReLU()]
            size, channels = -(-size // stride), width
        self.body = nn.Sequential(*layers, Pool(), nn.Flatten(), nn.Linear(16 * 64, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, shape.classes)

    def features(self, images: Tensor) -> Tensor:
        """Features (N, 64), float32 and not negative, of images (N, C, H, W) in [-1, 1]: the last ReLU's."""
        with torch.autocast(images.device.type, enabled=False), exact():
            features: Tensor = self.body(images.float())
        return features

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [-1, 1]."""
        return self.logits_of(self.features(images))

    def logits_of(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, 64)."""
        logits: Tensor = self.head(features)
        return logits

    forward = logits

    @functools.cached_property
    def weights_hash(self) -> str:
        """What tells two judges apart; read only when the weights no longer change."""
        return weights_hash(self)


def recipe_hash(shape: Shape, name: str = "classifier", column: str = "image") -> str:
    """16 hexadecimal digits that name how a judge of images of `shape` is made; with the data hash, its cache key."""
    recipe = [RECIPE, name, column, WIDTH, BATCH, SEED, RATE, IMAGES, EPOCHS, dataclasses.asdict(shape)]
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]


def check_labelled(dataset: Dataset) -> None:
    """ValueError if the set has no labels, from which a classifier learns."""
    if "label" not in dataset.columns or dataset.shape.classes < 2:
        raise ValueError(
            f"data set {dataset.name} has no labels, which the classifier of frechet_classifier learns from"
        )


def train_classifier(dataset: Dataset, device: torch.device) -> Classifier:
    """A classifier of the training images; see `train_network`. ValueError if the set has no labels."""
    check_labelled(dataset)
    table = next(table for table in dataset.splits["train"] if "label" in table)
    stream = Stream((table,), SEED, BATCH, device, torch.float32)
    return train_network("classifier", dataset.shape, stream, lambda batch: (batch["image"], batch["label"]), device)


def train_rotation(dataset: Dataset, device: torch.device, column: str = "image") -> Classifier:
    """A network that tells the rotations of the training images in `column`; see `train_network`. Needs no labels."""
    stream = Stream(({column: dataset.column("train", column)},), SEED, BATCH, device, torch.float32)
    shape = dataclasses.replace(dataset.shape, classes=4)
    return train_network("rotation", shape, stream, lambda batch: turn(batch[column]), device)


def train_channel(dataset: Dataset, device: torch.device, classes: int) -> Classifier:
    """A classifier of single channels into so many classes, of a set whose label is the number that the classes of an
    image's channels are the digits of, the first channel's first; see `train_network`."""
    check_labelled(dataset)
    table = next(table for table in dataset.splits["train"] if "label" in table)
    stream = Stream((table,), SEED, BATCH, device, torch.float32)
    shape = dataclasses.replace(dataset.shape, channels=1, classes=classes)
    return train_network("channel", shape, stream, lambda batch: one_channel(batch, classes), device)


def one_channel(batch: dict[str, Tensor], classes: int) -> tuple[Tensor, Tensor]:
    """Of each image (N, C, H, W) of a batch one channel, drawn at random, (N, 1, H, W), and its class (N,)."""
    images, labels = batch["image"], batch["label"]
    channels = torch.randint(images.shape[1], (len(images),)).to(images.device)  # drawn on the CPU, as in `turn`
    digits = labels // classes ** (images.shape[1] - 1 - channels) % classes
    return images[torch.arange(len(images), device=images.device), channels][:, None], digits


class ByChannel(nn.Module):
    """Tells the class of an image whose channels are images of their own, by a classifier that sees one channel."""

    name, resize = "channel", "none"

    def __init__(self, of_channel: Classifier, channels: int) -> None:
        super().__init__()
        self.of_channel, self.channels, self.width = of_channel, channels, channels * WIDTH

    def features(self, images: Tensor) -> Tensor:
        """Features (N, C * 64) of images (N, C, H, W) in [-1, 1]: those of the channels, one behind the other."""
        return self.of_channel.features(images.flatten(0, 1)[:, None]).view(len(images), -1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [-1, 1]."""
        return self.logits_of(self.features(images))

    def logits_of(self, features: Tensor) -> Tensor:
        """Logits (N, K ** C) of features (N, C * 64): sums of the channels' K logits, the first channel's class the
        first digit."""
        found = features.new_zeros(len(features), 1)
        for part in features.chunk(self.channels, 1):
            found = (found[:, :, None] + self.of_channel.logits_of(part)[:, None]).flatten(1)
        return found

    @functools.cached_property
    def weights_hash(self) -> str:
        """As `Classifier.weights_hash`."""
        return self.of_channel.weights_hash


def turn(images: Tensor) -> tuple[Tensor, Tensor]:
    """Square images (N, C, H, W), each turned by 0 to 3 right angles at random, and by how many (N,)."""
    turns = torch.randint(4, (len(images),)).to(images.device)  # drawn on the CPU: the same on every device
    every = torch.stack([images.rot90(times, (2, 3)) for times in range(4)])  # (4, N, C, H, W)
    return every[turns, torch.arange(len(images), device=images.device)], turns


def train_network(
    name: str,
    shape: Shape,
    stream: Stream,
    examples: Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]],
    device: torch.device,
) -> Classifier:
    """A network that tells the classes of `examples`, (images, classes) of a batch, from a fixed seed.

    In evaluation mode. On a CPU always at one thread, in float32: the same weights on every call. torch's global
    generator and number of threads are left as they were.
    """
    epochs = min(max(math.ceil(IMAGES / stream.length), EPOCHS[0]), EPOCHS[1])
    steps = math.ceil(epochs * stream.length / BATCH)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), exact():
            torch.default_generator.manual_seed(SEED)  # weights are drawn on the CPU; other generators stay
            classifier = Classifier(shape, name).to(device)
            optimizer = torch.optim.Adam(classifier.parameters(), RATE, fused=True)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
            for step in range(steps):
                images, classes = examples(stream.rows(step, 0, BATCH))
                loss = F.cross_entropy(classifier(images), classes)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
    finally:
        torch.set_num_threads(threads)
    return classifier.eval().requires_grad_(False)


@torch.no_grad()
def accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (N, C, H, W) that get their label (N,)."""
    device = classifier.head.weight.device
    right = 0
    for part, label in zip(torch.split(images, 500), torch.split(labels, 500), strict=True):
        right += int((classifier(from_uint8(part, device, torch.float32)).argmax(1).cpu() == label.cpu()).sum())
    return right / len(labels)


def weights_hash(network: nn.Module) -> str:
    """16 hexadecimal digits of sha256 over the weights' names and bytes: what tells two judges apart."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {list(weight.shape)} ".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def to_bytes(classifier: Classifier) -> bytes:
    """The name, the shape and the weights, for `from_bytes`."""
    state = {name: weight.detach().cpu() for name, weight in classifier.state_dict().items()}
    return tensors.to_bytes({"name": classifier.name, "shape": dataclasses.asdict(classifier.shape), "weights": state})


def from_bytes(data: bytes, device: torch.device) -> Classifier:
    """The classifier that `to_bytes` stored, in evaluation mode. DamageError if the bytes are damaged."""
    with tensors.reading("the stored classifier is damaged; delete it, and it is trained anew"):
        stored = tensors.from_bytes(data)
        with torch.random.fork_rng(devices=[]):
            classifier = Classifier(Shape(**stored["shape"]), stored["name"])
        classifier.load_state_dict(stored["weights"])
    return classifier.to(device).eval().requires_grad_(False)
