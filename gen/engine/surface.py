"""The loss around given weights, on a plane of two random directions: Visualizing the Loss Landscape of Neural Nets,
Li et al. 2018, https://arxiv.org/abs/1712.09913."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gen.checks import at_least
from gen.distributed.machine import seed
from gen.engine.freeze import Freezer
from gen.phase import Batch, Model

NOISE = 0x73757266  # the seed of directions, and of what a loss draws at random: the same at every point
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)  # their weights are (in, out, ...)


@dataclass(frozen=True)
class Surface:
    """A player's loss at weights + a first + b second, where `first` and `second` are directions."""

    player: str  # its phase's name
    steps: Tensor  # (S,): the values of a, and of b; the middle one is 0
    losses: Tensor  # (S, S), float64, on the CPU: a row for each b, a column for each a


def loss_surface(model: Model, batch: Batch, player: str = "", points: int = 21, span: float = 1.0) -> Surface:
    """The loss of a player on a fixed batch while its weights move along two filter-normalised directions, each from
    -span to span in so many points; everybody else stays. `model` itself is left as it is.

    The loss is the one that training lowers: the player is in training mode, all others are frozen. `player` is the
    name of a phase; by default the first one. ValueError as of `check_plane`."""
    name = check_plane(model, player, points, span)
    model = copy.deepcopy(model)
    phases = list(model.phases())
    number = [phase.name for phase in phases].index(name)
    freezer = Freezer(model, phases)
    device = next(model.parameters()).device
    seed(device, NOISE)
    with torch.no_grad():
        prepared = model.prepare(batch)
    moving = phases[number].player
    centres = [weight.detach().clone() for weight in moving.parameters()]
    first, second = (filter_directions(moving, NOISE + index) for index in (1, 2))
    steps = torch.linspace(-span, span, points, dtype=torch.float64)
    steps[points // 2] = 0  # exactly
    losses = torch.empty(points, points, dtype=torch.float64, device=device)
    with freezer.thawing(number) as weights:
        for row, b in enumerate(steps.tolist()):
            for column, a in enumerate(steps.tolist()):
                with torch.no_grad():
                    for weight, centre, one, two in zip(weights, centres, first, second, strict=True):
                        weight.copy_(centre + a * one + b * two)
                seed(device, NOISE)
                losses[row, column] = phases[number].loss(prepared)[0].detach()
    return Surface(name, steps, losses.cpu())


def check_plane(model: Model, player: str = "", points: int = 21, span: float = 1.0) -> str:
    """The name of the phase whose player moves. ValueError for a model without phases, a player that is not of the
    model, an even number of points (which leaves the middle out), or a span of nothing."""
    at_least("points", points, 3)
    if points % 2 == 0:
        raise ValueError(f"points={points} is even and leaves the weights themselves out; allowed: odd numbers from 3")
    if not 0 < span < math.inf:
        raise ValueError(f"span={span:g} is out of range; allowed: finite numbers above 0")
    names = [phase.name for phase in model.phases()]
    if not names:
        raise ValueError("no player of this model learns by steps, so it has no loss to plot; name another run")
    if player and player not in names:
        raise ValueError(f"player={player!r} is not of this model; allowed: {', '.join(names)}")
    return player or names[0]


def filter_directions(player: nn.Module, number: int) -> list[Tensor]:
    """A random direction for each parameter of a player: normal noise in which each filter has the norm of the player's
    own filter; zero for biases and for the parameters of norms (section 4). A filter is all that gives one output."""
    transposed = {
        id(weight) for part in player.modules() if isinstance(part, TRANSPOSED) for weight in part.parameters()
    }
    generator = torch.Generator().manual_seed(number)
    found = []
    for weight in player.parameters():
        if weight.dim() < 2:
            found.append(torch.zeros_like(weight))
            continue
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
        outputs = 1 if id(weight) in transposed else 0
        axes = [axis for axis in range(weight.dim()) if axis != outputs]
        norms = [torch.linalg.vector_norm(one, dim=axes, keepdim=True) for one in (weight.detach(), noise)]
        found.append(noise * (norms[0] / norms[1]))
    return found
