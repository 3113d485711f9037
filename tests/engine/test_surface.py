"""The loss around a checkpoint: filter norms, the checkpoint's own loss in the middle, and weights left as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gen.config import override
from gen.data.dataset import Dataset
from gen.data.stream import rows_of
from gen.distributed.machine import seed
from gen.engine.build import build_model
from gen.engine.freeze import Freezer
from gen.engine.surface import NOISE, filter_directions, loss_surface
from gen.nets.norms import SpectralNorm
from gen.phase import Batch, Model
from gen.zoo import ZOO, tiny
from tests.seams.house import data_of

CPU = torch.device("cpu")


def model_and_batch(entry: str, dataset: Dataset, **settings: object) -> tuple[Model, Batch]:
    model = build_model(override(tiny(ZOO[entry]), settings), dataset, CPU).eval()
    return model, rows_of(dataset, "test", torch.arange(8), CPU, torch.float32)


def as_filters(weight: Tensor, transposed: bool) -> Tensor:
    """A weight as one row a filter, which is all that gives one output."""
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


def test_each_filter_of_a_direction_has_the_norm_of_the_weights_filter() -> None:
    network = nn.Sequential(
        nn.Linear(5, 48),
        nn.Unflatten(1, (3, 4, 4)),
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 2, 4),
        SpectralNorm().bound(nn.ConvTranspose2d(2, 3, 2)),
        nn.Embedding(7, 3),
    )
    with torch.no_grad():
        network[2].weight[1] = 0  # a filter without a norm has no direction
    first, second = filter_directions(network, 1), filter_directions(network, 2)
    for (name, weight), one, two in zip(network.named_parameters(), first, second, strict=True):
        assert one.shape == weight.shape
        if weight.dim() < 2:  # biases and BatchNorm
            assert not one.any(), name
            continue
        transposed = name.startswith(("4.", "5."))
        norms = [as_filters(tensor.detach(), transposed).norm(dim=1) for tensor in (weight, one, two)]
        assert len(norms[0]) == {"0": 48, "2": 6, "4": 2, "5": 3, "6": 7}[name[0]]
        torch.testing.assert_close(norms[1], norms[0])
        torch.testing.assert_close(norms[2], norms[0])
        assert not torch.allclose(one, two)
    assert all(torch.equal(*pair) for pair in zip(first, filter_directions(network, 1), strict=True))


@pytest.mark.parametrize("player", ["critic", "generator"])
@pytest.mark.parametrize("entry", ["gan_mlp_small", "wgan_gp_mlp", "cdcgan", "hinge"])
def test_in_the_middle_the_loss_is_the_checkpoint_s_own(entry: str, player: str) -> None:
    """That of training on this batch: the player trains, everybody else is frozen, with the same noise."""
    model, batch = model_and_batch(entry, data_of(entry))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = loss_surface(model, batch, player, points=3, span=0.5)
    assert found.player == player
    assert found.steps.tolist() == [-0.5, 0.0, 0.5]
    assert found.losses.shape == (3, 3)
    assert found.losses.isfinite().all()
    assert len(found.losses.unique()) == 9
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(weight.requires_grad for weight in model.parameters())
    assert not model.training
    phases = list(model.phases())
    number = [phase.name for phase in phases].index(player)
    freezer = Freezer(model, phases)
    seed(CPU, NOISE)
    with torch.no_grad():
        prepared = model.prepare(batch)
    with freezer.thawing(number):
        seed(CPU, NOISE)
        assert phases[number].loss(prepared)[0].item() == found.losses[1, 1].item()


def test_the_loss_is_that_of_weights_moved_by_hand(digits: Dataset) -> None:
    model, batch = model_and_batch("vae_mlp", digits)
    found = loss_surface(model, batch, points=3)
    (phase,) = model.phases()
    assert found.player == phase.name
    Freezer(model, [phase])
    directions = [filter_directions(phase.player, NOISE + index) for index in (1, 2)]
    with torch.no_grad():
        for weight, one, two in zip(phase.player.parameters(), *directions, strict=True):
            weight += one - two  # the last column, the first row
        seed(CPU, NOISE)
        assert phase.loss(batch)[0].item() == pytest.approx(found.losses[0, 2].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("entry", "settings", "expected"),
    [
        ("gan_mlp", {"player": "judge"}, "player='judge' is not of this model; allowed: critic, generator"),
        ("gan_mlp", {"points": 4}, "points=4 is even"),
        ("gan_mlp", {"points": 1}, "at least 3"),
        ("gan_mlp", {"span": 0.0}, "span=0 is out of range"),
        ("gan_mlp", {"span": float("nan")}, "span=nan is out of range"),
        ("vqvae_gmm", {}, "no player of this model learns by steps"),
    ],
)
def test_what_cannot_be_plotted_is_refused(entry: str, settings: dict[str, object], expected: str) -> None:
    model, batch = model_and_batch(entry, data_of(entry))
    with pytest.raises(ValueError, match=expected):
        loss_surface(model, batch, **settings)  # type: ignore[arg-type]
