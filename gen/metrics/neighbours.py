"""Fidelity and diversity apart, by nearest neighbours of features: improved precision and recall (Kynkaanniemi et al.
2019, https://arxiv.org/abs/1904.06991), density and coverage (Naeem et al. 2020, https://arxiv.org/abs/2002.09797)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEAR = 3  # neighbours, for precision and recall: section 3.1 of their paper
DENSE = 5  # neighbours, for density and coverage: section 3.4 of theirs
AT_ONCE = 2**24  # distances held: 128 MiB of float64


def manifolds(real: Tensor, fakes: Tensor) -> dict[str, float]:
    """Precision, recall, density and coverage of features of fakes (M, D) against those of real images (N, D).

    Balls include their rims, and distances are float64. Time grows with (N + M)^2 D: 10,000 images a side with 64
    features take seconds on a core, 50,000 with 2,048 belong on a GPU. Memory does not grow with N M. NaN where a
    feature was not finite.
    ValueError unless each side has more images than `DENSE`.
    """
    if min(len(real), len(fakes)) <= DENSE:
        raise ValueError(
            f"{DENSE} nearest neighbours need at least {DENSE + 1} images a side, got {len(real)} and {len(fakes)}"
        )
    real, fakes = real.double(), fakes.double()
    if not (torch.isfinite(real).all() and torch.isfinite(fakes).all()):
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    centre = real.mean(0)  # keeps distances, and lowers their round-off, which grows with the squares
    real, fakes = real - centre, fakes - centre
    radii, fake_radii = ball_radii(real), ball_radii(fakes)
    near, dense = radii.unbind(1)
    inside, balls, recalled, covered = [], [], [], []
    for squares in distances(fakes, real):  # (m, N)
        inside.append((squares <= near).any(1))
        balls.append((squares <= dense).sum(1))
    for rows, squares in zip(torch.split(dense, rows_at_once(fakes)), distances(real, fakes), strict=True):  # (n, M)
        recalled.append((squares <= fake_radii[:, 0]).any(1))
        covered.append((squares <= rows[:, None]).any(1))
    return {
        "precision": share(inside),  # eq. 1 and 2 of Kynkaanniemi et al.
        "recall": share(recalled),
        "density": share(balls) / DENSE,  # eq. 4 of Naeem et al.
        "coverage": share(covered),  # eq. 6
    }


class Nearest:
    """The `count` nearest neighbours of each of some features (N, D), among features that come some at a time: more of
    them than memory holds. `distances` (N, count) are float64, the smallest first, and infinite while fewer have come;
    `places` (N, count) are those of the neighbours, the first of equally near ones first."""

    def __init__(self, features: Tensor, count: int) -> None:
        self.centre = features.double().mean(0)  # as in `manifolds`: keeps distances, and lowers their round-off
        self.features = features.double() - self.centre
        self.distances = self.features.new_full((len(features), count), torch.inf)
        self.places = torch.zeros((len(features), count), dtype=torch.int64, device=features.device)

    def add(self, start: int, others: Tensor) -> None:
        """Looks at features (M, D), which stand at the places from `start` on."""
        numbers, found = torch.arange(start, start + len(others), device=others.device), []
        for rows, squares in zip(
            torch.split(torch.arange(len(self.features)), rows_at_once(others)),
            distances(self.features, others.double() - self.centre),
            strict=True,
        ):
            all_distances = torch.cat([self.distances[rows], squares.sqrt()], dim=1)
            all_places = torch.cat([self.places[rows], numbers.expand(len(rows), -1)], dim=1)
            near, order = all_distances.sort(dim=1, stable=True)
            found.append((near[:, : self.count], all_places.gather(1, order[:, : self.count])))
        self.distances, self.places = (torch.cat(parts) for parts in zip(*found, strict=True))

    @property
    def count(self) -> int:
        """How many neighbours are wanted."""
        return self.distances.shape[1]


def nearer(distances: Tensor, others: Tensor) -> float:
    """The chance that one of `distances` (N,), drawn at random, is smaller than one of the `others` (M,); a tie counts
    one half. Of distances to the nearest training image, those of fakes and those of held-out images, it is what the
    test of Meehan et al. 2020 (https://arxiv.org/abs/2004.05675) looks at: above 1/2 fakes are nearer to training
    images than new images are. NaN where one is not finite, or where there is none."""
    if not (len(distances) and len(others) and torch.isfinite(distances).all() and torch.isfinite(others).all()):
        return float("nan")
    ordered, own = others.double().sort().values, distances.double().contiguous()
    above = len(ordered) - torch.searchsorted(ordered, own, right=True)
    equal = len(ordered) - above - torch.searchsorted(ordered, own)
    return float((above + 0.5 * equal).sum() / (len(distances) * len(ordered)))


def ball_radii(features: Tensor) -> Tensor:
    """Squared distances (N, 2) of each feature (N, D) to its `NEAR`-th and `DENSE`-th neighbour in the same set."""
    found, start = [], 0
    for squares in distances(features, features):
        squares.diagonal(start).fill_(torch.inf)  # no feature is its own neighbour
        nearest = squares.topk(DENSE, largest=False).values
        found.append(nearest[:, [NEAR - 1, DENSE - 1]])
        start += len(squares)
    return torch.cat(found)


def distances(rows: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """Squared distances between (N, D) and (M, D), some rows (n, M) at a time."""
    squares = columns.square().sum(1)
    for part in torch.split(rows, rows_at_once(columns)):
        yield torch.addmm(part.square().sum(1, keepdim=True) + squares, part, columns.mT, alpha=-2).clamp_(0)


def rows_at_once(columns: Tensor) -> int:
    """How many rows are compared with all `columns` at a time."""
    return max(AT_ONCE // len(columns), 1)


def share(parts: list[Tensor]) -> float:
    """Mean over the rows of all parts."""
    return float(torch.cat(parts).double().mean())
