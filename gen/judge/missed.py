"""Whether the full figures of a game say that its fakes miss the images: it collapsed, whatever its ticks told."""

from __future__ import annotations

from collections.abc import Iterable

from gen.judge.figure import Figure

BOUNDS = {"recall": 0.01, "coverage": 0.02}  # metric -> value at which the fakes miss nearly all images
DETECTOR = "full"  # what the detail of such an event calls it


def missed(figures: Iterable[Figure]) -> list[Figure]:
    """The full figures that are at their bounds or below: of validation images, if any of these figures is, else of the
    other splits."""
    low = [figure for figure in figures if figure.metric in BOUNDS and figure.value <= BOUNDS[figure.metric]]
    return [figure for figure in low if figure.split == "validation"] or low


def line_of(low: Iterable[Figure]) -> str:
    """One line that names figures at their bounds, with their values."""
    return "the fakes miss most images: " + ", ".join(
        f"{figure.name} is {figure.value:.3g}, bound {BOUNDS[figure.metric]:g}" for figure in low
    )
