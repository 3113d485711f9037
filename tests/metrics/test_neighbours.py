"""Precision, recall, density and coverage against scikit-learn's neighbours and numpy, and their expected values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from gen.metrics import neighbours
from gen.metrics.neighbours import Nearest, manifolds, nearer


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) + shift


def by_scikit_learn(real: Tensor, fakes: Tensor) -> dict[str, float]:
    one, other = real.numpy(), fakes.numpy()
    distances = np.sqrt(((other[:, None] - one[None]) ** 2).sum(-1))  # (M, N)

    def radii(points: np.ndarray, k: int) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k).fit(points).kneighbors()[0][:, -1]  # without the point itself

    return {
        "precision": (distances <= radii(one, 3)[None]).any(1).mean(),
        "recall": (distances <= radii(other, 3)[:, None]).any(0).mean(),
        "density": (distances <= radii(one, 5)[None]).sum(1).mean() / 5,
        "coverage": (distances <= radii(one, 5)[None]).any(0).mean(),
    }


@pytest.mark.parametrize("shift", [0.0, 0.7, 3.0])
@pytest.mark.parametrize(("count", "other"), [(200, 150), (6, 300), (300, 6)])
@pytest.mark.parametrize("at_once", [1, 1000, 2**24])
def test_equal_to_scikit_learn_whatever_is_held_at_once(
    count: int, other: int, shift: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "AT_ONCE", at_once)
    real, fakes = normal(count, 8, 0, 100.0), normal(other, 8, 1, 100.0 + shift)
    assert manifolds(real, fakes) == pytest.approx(by_scikit_learn(real, fakes), abs=1e-12)


def test_no_matrix_of_all_pairs_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "AT_ONCE", 1000)
    held = []
    plain = neighbours.distances

    def watched(rows: Tensor, columns: Tensor):  # type: ignore[no-untyped-def]
        for squares in plain(rows, columns):
            held.append(squares.numel())
            yield squares

    monkeypatch.setattr(neighbours, "distances", watched)
    manifolds(normal(300, 4, 0), normal(200, 4, 1))
    assert max(held) <= 1000
    assert sum(held) == 300 * 300 + 200 * 200 + 2 * 300 * 200


def test_expected_values_of_one_distribution() -> None:
    """Naeem et al., section 3.3: for equal distributions density is 1 on average, and coverage a ratio of counts."""
    count, other, repeats = 100, 150, 60
    found = [manifolds(normal(count, 3, i), normal(other, 3, 1000 + i)) for i in range(repeats)]
    missed = math.prod((count - i) / (count + other - i) for i in range(1, neighbours.DENSE + 1))
    for name, expected in (("density", 1.0), ("coverage", 1 - missed)):
        values = np.array([figures[name] for figures in found])
        error = values.std(ddof=1) / math.sqrt(repeats)
        assert error < 0.03
        assert abs(values.mean() - expected) < 4 * error, name


def test_what_each_of_them_sees() -> None:
    real, same, far = normal(400, 2, 0), normal(400, 2, 1), normal(400, 2, 2, 50.0)
    assert manifolds(real, far) == dict.fromkeys(("precision", "recall", "density", "coverage"), 0.0)
    whole, half = manifolds(real, same), manifolds(real, same[same[:, 0] > 0])
    assert min(whole["precision"], whole["recall"]) > 0.85
    assert half["precision"] > 0.85, "half of the modes are as good"
    assert half["recall"] < 0.7
    assert half["coverage"] < 0.7
    mixed = manifolds(real, torch.cat([same[:200], far[:200]]))
    assert mixed["precision"] < 0.55, "half of the fakes are far off"
    assert mixed["recall"] > 0.8


def test_too_few_images_and_features_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="at least 6 images a side, got 10 and 5"):
        manifolds(normal(10, 3, 0), normal(5, 3, 1))
    assert all(math.isnan(value) for value in manifolds(normal(10, 3, 0), normal(10, 3, 1) * math.inf).values())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 99))
def test_the_nearest_are_scikit_learn_s_however_they_come(parts: list[int], count: int, seed: int) -> None:
    others, features = normal(sum(parts), 3, seed, 100.0), normal(7, 3, seed + 1000, 100.0)
    found, start = Nearest(features, count), 0
    for part in torch.split(others, parts):
        found.add(start, part)
        start += len(part)
    there = min(count, len(others))
    distances, places = NearestNeighbors(n_neighbors=there).fit(others.numpy()).kneighbors(features.numpy())
    np.testing.assert_allclose(found.distances[:, :there], distances, rtol=1e-9)
    assert torch.equal(found.places[:, :there], torch.from_numpy(places))
    assert found.distances[:, there:].isinf().all()


def test_the_nearest_hold_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    features, others = normal(40, 3, 0), normal(30, 3, 1)
    whole, cut = Nearest(features, 4), Nearest(features, 4)
    whole.add(0, others)
    monkeypatch.setattr(neighbours, "AT_ONCE", 100)
    cut.add(0, others)
    assert torch.equal(whole.places, cut.places)
    torch.testing.assert_close(whole.distances, cut.distances)


def test_of_equally_near_ones_the_first_comes_first() -> None:
    found = Nearest(torch.zeros(1, 2), 2)
    for start in (0, 2):
        found.add(start, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert found.places.tolist() == [[0, 1]]


few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@given(few, few)
def test_who_is_nearer_is_mann_and_whitney_s_question(fakes: list[float], held_out: list[float]) -> None:
    chance = nearer(torch.tensor(fakes), torch.tensor(held_out))
    pairs = len(fakes) * len(held_out)
    assert chance == pytest.approx(mannwhitneyu(held_out, fakes).statistic / pairs)
    assert nearer(torch.tensor(held_out), torch.tensor(fakes)) == pytest.approx(1 - chance)


def test_nothing_is_nearer_where_a_distance_is_missing() -> None:
    assert math.isnan(nearer(torch.tensor([1.0, math.inf]), torch.tensor([1.0])))
    assert math.isnan(nearer(torch.tensor([]), torch.tensor([1.0])))
