"""A plot of a loss over a plane through the weights: gen/engine/surface.py computes it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # takes a second to import, and a process that trains plots nothing
    from matplotlib.figure import Figure

WIDTH = 110  # characters of a line of the title
LEVELS = 15  # about so many contour lines


def plot_surface(steps: NDArray[Any], losses: NDArray[Any], title: str) -> Figure:
    """Losses (S, S), rows by the second direction, at steps (S,) along two directions: contour lines on the left, a
    heat map on the right, a cross at the weights themselves. Losses that are not finite stay white."""
    from matplotlib.figure import Figure

    shown = np.ma.masked_invalid(losses)
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    if shown.count() and np.ptp(shown.compressed()) > 0:
        lines = left.contour(steps, steps, shown, levels=LEVELS)
        left.clabel(lines, fontsize="x-small")
    mesh = right.pcolormesh(steps, steps, shown, shading="nearest")
    figure.colorbar(mesh, label="loss")
    for axes in (left, right):
        axes.plot(0, 0, "+", color="red", markersize=10)
        axes.set(xlabel="first direction", ylabel="second direction", aspect="equal")
    figure.suptitle(textwrap.fill(title, WIDTH))
    return figure
