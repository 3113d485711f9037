"""Plots of a codebook, checked by the artists of the matplotlib figure."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

from gen.pictures import codes

COUNTS = torch.tensor([3, 0, 50, 1, 0, 7, 9, 9])
VECTORS = np.random.default_rng(0).normal(size=(8, 5))


@pytest.fixture
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes.importlib.util, "find_spec", lambda name: None)


def test_a_bar_a_code_the_most_used_first() -> None:
    (axes,) = codes.use_histogram(COUNTS, "ten images").axes
    assert [bar.get_height() for bar in axes.patches] == sorted(COUNTS.tolist(), reverse=True)
    assert "75.0% of them used" in axes.get_title()
    (line,) = axes.lines
    assert list(line.get_ydata()) == [79 / 8, 79 / 8]


def dots(collection: object) -> np.ndarray:
    assert isinstance(collection, PathCollection)
    return np.asarray(collection.get_offsets())


@pytest.mark.usefixtures("without_umap")
def test_the_map_colours_codes_by_use_and_leaves_unused_ones_hollow() -> None:
    axes = codes.use_map(VECTORS, COUNTS.numpy(), "ten images").axes[0]
    points, method = codes.in_the_plane(VECTORS)
    assert f"8 codes by {method}" in axes.get_title()
    hollow, filled = axes.collections
    used = COUNTS.numpy() > 0
    assert np.array_equal(dots(hollow), points[~used])
    assert np.array_equal(dots(filled), points[used])
    assert filled.get_array().tolist() == COUNTS.numpy()[used].tolist()


@pytest.mark.usefixtures("without_umap")
@pytest.mark.parametrize("counts", [[0] * 8, [5] * 8, [1] + [0] * 7])
def test_the_map_of_a_codebook_that_is_unused_evenly_used_or_collapsed(counts: list[int]) -> None:
    figure = codes.use_map(VECTORS, np.array(counts), "ten images")
    figure.canvas.draw()


@pytest.mark.usefixtures("without_umap")
def test_principal_components_are_those_of_numpy() -> None:
    points, method = codes.in_the_plane(VECTORS)
    centred = VECTORS - VECTORS.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    assert method == "PCA"
    np.testing.assert_allclose(np.abs(points), np.abs(left * scale)[:, :2], rtol=0, atol=1e-12 * scale[0])


@pytest.mark.usefixtures("without_umap")
@pytest.mark.parametrize("shape", [(5, 1), (2, 4), (2, 1), (2, 2)])
def test_few_codes_and_few_dimensions_still_make_points_of_the_plane(shape: tuple[int, int]) -> None:
    points, _ = codes.in_the_plane(np.ones(shape) * np.arange(shape[0])[:, None])
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()


def test_umap_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in with its interface: umap-learn is an extra that brings a compiler."""

    class UMAP:
        def __init__(self, n_neighbors: int, random_state: int, n_jobs: int) -> None:
            assert (n_neighbors, random_state) == (7, 0)  # of eight codes each has seven others

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2] * 2

    stand_in = types.ModuleType("umap")
    stand_in.UMAP = UMAP  # type: ignore[attr-defined]
    stand_in.__spec__ = types.SimpleNamespace(name="umap")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "umap", stand_in)
    points, method = codes.in_the_plane(VECTORS)
    assert method == "UMAP"
    assert np.array_equal(points, VECTORS[:, :2] * 2)
    assert codes.in_the_plane(VECTORS[:4])[1] == "PCA"  # too few to have neighbours
