"""Models that know their training images by heart, that make new ones, and that make none: what is told of each."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gen.capabilities import Imitates
from gen.data.stream import from_uint8, mixture
from gen.judge import Judge
from gen.judge.nearest import NEAR, at_places, nearest_images
from gen.phase import Model
from gen.pictures.nearest import ROWS, fakes_beside_nearest

CPU = torch.device("cpu")


class Copies(Model, Imitates):
    """Its fakes are the images that it holds, one after another."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images, self.next, self.unused = images, 0, nn.Parameter(torch.zeros(()))

    def phases(self) -> list:
        return []

    def imitate(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        rows = torch.arange(self.next, self.next + len(batch["image"])) % len(self.images)
        self.next += len(rows)
        return {"image": from_uint8(self.images[rows], CPU, torch.float32)}


def test_what_was_learned_by_heart_is_found_image_by_image(judge: Judge) -> None:
    training = judge.dataset.column("train", "image")
    chosen = mixture(len(training))[:250]  # more than a batch of the judge's
    found = nearest_images(judge, Copies(training[chosen]), "image", images=250)
    assert torch.equal(found.real[:, 0], found.fakes)
    assert torch.equal(found.fakes, training[chosen])
    assert found.distances[:, 0].max() < 1e-3 * found.distances[:, 1].median()
    assert (found.distances.diff(dim=1) >= 0).all()
    assert found.nearer > 0.99
    assert found.training == len(training)
    assert found.real.shape == (250, NEAR, *training.shape[1:])


def test_new_images_are_as_near_as_held_out_ones_and_noise_is_farther(judge: Judge) -> None:
    new = judge.dataset.column("validation", "image")
    found = nearest_images(judge, Copies(new), "image", images=len(new))
    # the standard error of the chance is below 0.03 with 142 and 360 images: four of them
    assert abs(found.nearer - 0.5) < 0.12
    noise = torch.randint(0, 256, (100, *new.shape[1:]), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert nearest_images(judge, Copies(noise), "image", images=100).nearer < 0.1


def test_places_count_through_all_columns() -> None:
    columns = [torch.full((2, 1, 1, 1), 7, dtype=torch.uint8), torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)]
    found = at_places(columns, torch.tensor([[0, 2], [4, 1]]))
    assert found.flatten().tolist() == [7, 0, 2, 7]


def test_a_split_without_images_is_an_error(judge: Judge) -> None:
    with pytest.raises(ValueError, match="no test images of column a"):
        nearest_images(judge, Copies(judge.dataset.column("train", "image")), "a")


def test_the_picture_holds_the_first_fakes_and_the_nearest_ones() -> None:
    fakes = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 1, 2, 2)
    real = (fakes[:, None] + 100).expand(20, 3, 1, 2, 2)
    distances = torch.arange(20.0).flip(0)[:, None].expand(20, 3)
    png = fakes_beside_nearest(fakes, real, distances, "what it is")
    image = Image.open(io.BytesIO(png))
    assert image.text["Description"] == "what it is"
    scale = image.height // (3 * ROWS + 1)
    pixels = np.asarray(image)[::scale, ::scale]
    rows = pixels[1::3]  # the first line of each row's images
    assert [sorted(set(row.tolist()) - {255}) for row in rows] == [
        sorted({n, n + 100, 19 - n, 119 - n}) for n in range(ROWS)
    ]
