"""Plots of curves, checked by the artists of the matplotlib figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gen.pictures.curves import BAND, EPOCH, Shown, axis_name, plot

ONE, OTHER = Shown("a1 rate=0.1 (2 seeds)", "seed=0"), Shown("a1 rate=0.1 (2 seeds)", "seed=1")
ALONE = Shown("c3 rate=0.2")
RUNS = {"a": ONE, "b": OTHER, "c": ALONE}
VALUES = {"a": [1.0, 2.0, 3.0], "b": [3.0, 6.0], "c": [5.0, 5.0, 5.0]}


def lines(quantity: str = "mse", split: str = "validation", name: str = "mse/reconstructions") -> pd.DataFrame:
    """The numbers of three runs, one of which ended an epoch early."""
    rows = [
        {"run": run, "name": name, "quantity": quantity, "split": split, "epoch": float(epoch), "value": value}
        for run, values in VALUES.items()
        for epoch, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows)


@pytest.mark.filterwarnings("error")
def test_the_mean_over_seeds_has_a_band_where_all_of_them_have_a_value() -> None:
    figure = plot(lines(), RUNS, "a title")
    (axes,) = figure.axes
    drawn = {line.get_gid(): line for line in axes.lines}
    mean = f"mean {ONE.configuration} mse/reconstructions"
    assert set(drawn) == {*(f"{run} mse/reconstructions" for run in RUNS), mean}
    assert drawn[mean].get_xdata().tolist() == [1, 2, 3]
    assert np.array_equal(drawn[mean].get_ydata(), [2, 4, np.nan], equal_nan=True)
    (band,) = axes.collections
    reach = np.array([2**0.5, 8**0.5])  # the deviation of two values is that of their difference, over root 2
    heights = {tuple(point) for path in band.get_paths() for point in path.vertices.round(6)}
    for epoch, centre, half in ((1.0, 2.0, reach[0]), (2.0, 4.0, reach[1])):
        assert {(epoch, round(centre - half, 6)), (epoch, round(centre + half, 6))} <= heights
    figure.canvas.draw()


def test_seeds_are_told_apart_and_configurations_by_colour() -> None:
    figure = plot(lines(), RUNS, "a title")
    (axes,) = figure.axes
    of = {line.get_gid().split()[0]: line for line in axes.lines}
    assert of["a"].get_marker() != of["b"].get_marker()
    assert tuple(of["a"].get_color()) == tuple(of["b"].get_color()) == tuple(of["mean"].get_color())
    assert tuple(of["c"].get_color()) != tuple(of["a"].get_color())
    assert of["mean"].get_linewidth() > of["c"].get_linewidth() > of["a"].get_linewidth()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [
        "mse/reconstructions (validation)",
        ONE.configuration,
        ALONE.configuration,
        *("seed=0", "seed=1"),
        BAND,
    ]


@pytest.mark.parametrize(
    ("quantity", "split", "expected"),
    [
        ("mse", "validation", "mse (squared, on the scale [-0.5, 0.5]; small is good)"),
        ("accuracy", "validation", "accuracy (share of the images; large is good)"),
        ("accuracy", "train", "accuracy (share of the images)"),  # of a critic, say
        ("held_out_accuracy", "train", "held_out_accuracy (share of the images)"),
        ("frechet_classifier", "validation", "frechet_classifier (squared, in features; small is good)"),
        ("accuracy_a", "train", "accuracy_a (share of the images)"),
        ("train_seconds", "train", "train_seconds (seconds)"),
        ("loss", "train", "loss (no unit)"),
    ],
)
def test_axes_have_names_with_units_and_the_direction(quantity: str, split: str, expected: str) -> None:
    frame = lines(quantity, split)
    assert axis_name(frame) == expected
    (axes,) = plot(frame, RUNS, "a title").axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (EPOCH, expected, "a title")
