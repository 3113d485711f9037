"""Samplers: which settings the next configuration of a search has. Values in, values out.

A sampler is built anew from what is on record, and then proposes what it would have proposed: what it proposes depends
on the seed, on the number of the configuration, and on what it was told, in the order of the numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROPOSAL = "proposal"  # kind of the rows of `events` that hold proposals, one a run
QUEUE = "queue"  # who proposed what was known before
RANDOM, GRID, TPE = SAMPLERS = ("random", "grid", "tpe")  # who proposes the rest
ENDLESS = 1_000_000_000  # samples of a search that only a budget ends

Settings = Mapping[str, Any]  # dotted key -> plain value


@dataclass(frozen=True)
class Score:
    """What became of a configuration: the mean over its runs, and how far the shortest of them came."""

    value: float  # of the figure that the search goes by; NaN: a run of it failed, or measured nothing finite
    epoch: float  # that all of its runs reached
    whole: bool  # whether all of its runs went to their end, and none was stopped
    others: tuple[float, ...] = ()  # of the further figures of a search that goes by several; NaN as for `value`


class Sampler(ABC):
    """A supply of configurations by their numbers, from 0 up."""

    learns: bool = False  # whether what it proposes depends on what it hears

    @abstractmethod
    def propose(self, number: int) -> Settings | None:
        """The settings of configuration `number`, which is begun with that; None if there are no more."""

    def begin(self, number: int, settings: Settings) -> None:  # noqa: B027 - nothing, where results do not matter
        """Hears that configuration `number` was begun which it did not propose. Numbers come in their order."""

    def learn(self, number: int, score: Score) -> None:  # noqa: B027
        """Hears what became of a configuration that was begun."""


class Drawn(Sampler):
    """Configurations that each depend on their number alone: without end, and in no need of results."""

    def __init__(self, draw: Callable[[int], Settings]) -> None:
        self.draw = draw

    def propose(self, number: int) -> Settings:
        """The draw of this number."""
        return self.draw(number)


class Listed(Sampler):
    """Configurations of a list, such as all those of a grid, one after another."""

    def __init__(self, settings: Sequence[Settings]) -> None:
        self.settings = settings

    def propose(self, number: int) -> Settings | None:
        """The configuration at this place; None behind the last."""
        return self.settings[number] if number < len(self.settings) else None


class Queued(Sampler):
    """Known configurations first, under the first numbers; then those of another sampler, which hears of all."""

    def __init__(self, first: Sequence[Settings], then: Sampler) -> None:
        self.first, self.then, self.learns = first, then, then.learns

    def propose(self, number: int) -> Settings | None:
        """A known configuration, or what the other sampler proposes under this number."""
        if number >= len(self.first):
            return self.then.propose(number)
        self.then.begin(number, self.first[number])
        return self.first[number]

    def begin(self, number: int, settings: Settings) -> None:
        """Tells the other sampler."""
        self.then.begin(number, settings)

    def learn(self, number: int, score: Score) -> None:
        """Tells the other sampler."""
        self.then.learn(number, score)


@dataclass(frozen=True)
class Choice:
    """A question with so many answers, which are told by their places."""

    count: int


@dataclass(frozen=True)
class Span:
    """A question that a number answers: from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False  # even in the logarithm
    whole: bool = False  # only whole numbers
    step: float | None = None  # only `low` plus multiples of this

    def holds(self, value: Any) -> bool:
        """Whether a value is among the answers."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return number and self.low <= value <= self.high and (not self.whole or value == int(value))


Question = Choice | Span
Answer = Callable[[str, Question], Any]  # name of a question and the question -> a place, or a number


class Questions(ABC):
    """A search space as questions, each with a name. Which come next may depend on the answers so far: the variance of
    one likelihood is asked for only where that likelihood was chosen."""

    @abstractmethod
    def ask(self, answer: Answer) -> Settings:
        """The settings that follow from the answers to all questions. A question may come twice, and has one answer."""

    @abstractmethod
    def find(self, settings: Settings) -> Mapping[str, tuple[Question, Any]]:
        """The questions to which settings that are known are an answer, by name, with these answers. Settings outside
        the space answer none."""


def score(values: Sequence[tuple[float, float, bool]]) -> Score:
    """The score of a configuration from its runs: of each the value, the epoch, and whether it went to its end."""
    of_all, epochs, wholes = zip(*values, strict=True)
    mean = sum(of_all) / len(of_all) if all(map(math.isfinite, of_all)) else math.nan
    return Score(mean, min(epochs), all(wholes))
