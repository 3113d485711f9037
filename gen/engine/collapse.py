"""Whether a game of players has collapsed: a pure function of the numbers of its ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gen.config import WatchConfig

Figures = Mapping[str, float]
RECALL = "recall/fakes"
SPREAD = {"variance": "generator/variance", "distance": "generator/distance"}  # detector -> its figure


@dataclass(frozen=True)
class Scales:
    """What is usual in a model's game, as `Plays` says it."""

    losses: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # `Plays.scales`
    sums: Mapping[str, float] = field(default_factory=dict)  # `Plays.sums`


@dataclass(frozen=True)
class Reading:
    """What one detector reads at a tick, of the figure that is nearest to its bound."""

    detector: str  # which is the name of its setting too
    figure: str
    value: float
    bound: float  # the value at which it speaks
    above: bool = False  # whether large values are the bad ones

    @property
    def speaks(self) -> bool:
        """Whether the figure is at its bound or beyond."""
        return self.value >= self.bound if self.above else self.value <= self.bound

    @property
    def line(self) -> str:
        """The reading in words."""
        return f"{WORDS[self.detector]}: {self.figure} is {self.value:.3g}, bound {self.bound:.3g}"


@dataclass(frozen=True)
class Watched:
    """What earlier ticks told, as plain values, so that a run that goes on decides as one that never stopped."""

    highest: dict[str, float] = field(default_factory=dict)  # figure -> highest value so far
    streaks: dict[str, int] = field(default_factory=dict)  # detector -> ticks in a row at which it spoke
    lasting: dict[str, str] = field(default_factory=dict)  # detector of a collapse that lasts -> when and what it was

    @property
    def told(self) -> str:
        """The collapses that last, each with its epoch, in one line; "" if there are none."""
        return "; at ".join(self.lasting.values())

    @property
    def why(self) -> str:
        """The collapses that last, as the reason of a run's end; "" if there are none."""
        return f"collapsed at {self.told}" if self.told else ""


def look(
    before: Watched, figures: Figures, epoch: float, config: WatchConfig, scales: Scales
) -> tuple[Watched, list[Reading]]:
    """What is known after a tick with these figures, and the readings of the collapses that begin with it.

    A detector must speak at `config.ticks` ticks in a row; then its collapse lasts until it is silent. A tick without
    its figure, or where that is not finite, tells it nothing: things stay as they were."""
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    seen = {name: known[name] for name in SPREAD.values() if name in known}
    highest = before.highest | {name: max(value, before.highest.get(name, value)) for name, value in seen.items()}
    streaks, lasting, begun = dict(before.streaks), dict(before.lasting), list[Reading]()
    for detector in DETECTORS:
        reading = detector(known, highest, config, scales)
        if reading is None:
            continue
        name = reading.detector
        streaks[name] = streaks.get(name, 0) + 1 if reading.speaks else 0
        if not reading.speaks:
            lasting.pop(name, None)
        elif streaks[name] >= config.ticks and name not in lasting:
            lasting[name] = f"epoch {epoch:g}: {reading.line}"
            begun.append(reading)
    return Watched(highest, streaks, lasting), begun


def critic_wins(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads whether a player has nothing left to win, and so nothing to teach the others."""
    found = [
        Reading("margin", name, figures[name], least + config.margin * (nothing - least))
        for name, (least, nothing) in scales.losses.items()
        if name in figures and nothing > least
    ]
    return min(found, key=lambda one: one.value - one.bound) if config.margin and found else None


def gradients_vanish(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads the smallest gradient of a player, or of a first layer, which vanishes first."""
    norms = {name: value for name, value in figures.items() if name.endswith("gradient_norm")}
    name = min(norms, key=norms.__getitem__, default="")
    return Reading("vanishing", name, norms[name], config.vanishing) if config.vanishing and name else None


def gradients_explode(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads the largest gradient of a player, beside what is usual for its loss."""
    norms = {
        name: Reading("exploding", name, value, config.exploding * scales.sums.get(name.split("/")[0], 1), above=True)
        for name, value in figures.items()
        if name.endswith("gradient_norm")
    }
    return max(norms.values(), key=lambda one: one.value / one.bound) if config.exploding and norms else None


def variance_falls(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads whether the fakes have become blank."""
    return falls("variance", config.variance, figures, highest)


def distance_falls(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads whether the fakes have become alike."""
    return falls("distance", config.distance, figures, highest)


def falls(detector: str, share: float, figures: Figures, highest: Figures) -> Reading | None:
    """Reads a figure against a share of its highest value."""
    name = SPREAD[detector]
    return Reading(detector, name, figures[name], share * highest[name]) if share and name in figures else None


def recall_is_low(figures: Figures, highest: Figures, config: WatchConfig, scales: Scales) -> Reading | None:
    """Reads which share of the real images lies among the fakes."""
    return Reading("recall", RECALL, figures[RECALL], config.recall) if config.recall and RECALL in figures else None


DETECTORS: tuple[Callable[[Figures, Figures, WatchConfig, Scales], Reading | None], ...] = (
    critic_wins,
    gradients_vanish,
    gradients_explode,
    variance_falls,
    distance_falls,
    recall_is_low,
)
WORDS = {  # detector -> what has happened where it speaks
    "margin": "the critic wins",
    "vanishing": "gradients vanish",
    "exploding": "gradients explode",
    "variance": "the fakes are blank",
    "distance": "the fakes are alike",
    "recall": "the fakes miss most images",
}
