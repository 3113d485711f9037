"""Plots of a loss's surface, checked by the artists of the matplotlib figure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from gen.pictures.surface import plot_surface

STEPS = np.linspace(-1, 1, 5)


def test_lines_on_the_left_and_the_losses_themselves_on_the_right() -> None:
    losses = STEPS[:, None] ** 2 + 10 * STEPS
    losses[0, 4] = np.inf
    figure = plot_surface(STEPS, losses, "a title")
    left, right, bar = figure.axes
    assert (left.get_xlabel(), left.get_ylabel(), bar.get_ylabel()) == ("first direction", "second direction", "loss")
    assert len(left.collections[0].get_paths()) > 5
    (mesh,) = right.collections
    assert isinstance(mesh, QuadMesh)
    shown = np.ma.masked_invalid(mesh.get_array())
    assert shown.mask.sum() == 1
    assert shown.mask[0, 4]
    assert np.array_equal(shown.compressed(), losses[np.isfinite(losses)])
    for axes in (left, right):
        (cross,) = axes.lines
        assert cross.get_xydata().tolist() == [[0, 0]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1.5, np.nan])
def test_a_loss_that_is_the_same_everywhere_or_nowhere_finite_is_drawn_too(value: float) -> None:
    plot_surface(STEPS, np.full((5, 5), value), "a title").canvas.draw()
