"""Population-based training (Jaderberg et al. 2017, https://arxiv.org/abs/1711.09846): which runs go on from another's
weights, and with which settings.

The runs of a search are the members of a population. Every `interval` epochs they are compared, all at the same epoch:
the worst go on from the state of one of the best, with its settings changed a little, and the others as they are. A
generation waits for the last of its members, so what is decided depends on their values alone, and not on which of
them was fast: the same values give the same lineage, on any number of slots and after any kill.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gen.checks import at_least
from gen.metrics.table import WORST
from gen.search.samplers import Choice, Question, Questions, Settings, Span

FACTORS = (0.8, 1.2)  # one of which a number is multiplied by
RESAMPLE = 0.25  # chance that a setting is drawn anew instead
ROUNDED = 1e-9  # of a step: 0.3 / 0.1 is a little less than three


@dataclass(frozen=True)
class Rules:
    """How a population is compared."""

    interval: int  # epochs between two generations
    quantile: float  # share of the members that go on from another, and of those from which they do
    seed: int

    def __post_init__(self) -> None:
        at_least("interval", self.interval, 1)
        if not 0 < self.quantile <= 0.5:
            raise ValueError(f"quantile={self.quantile:g} is out of range; allowed: more than 0, up to 0.5")


@dataclass(frozen=True)
class Turn:
    """What was decided about a member of a generation, and with which settings it goes on."""

    run: str
    epoch: int
    value: float  # its own at that epoch; NaN: not finite
    before: Settings  # with which it came there
    settings: Settings  # with which it goes on
    source: str = ""  # the run from whose state it goes on; "": from its own
    source_value: float = math.nan
    why: str = ""


class Population:
    """The members of a population, and the generation that is to be complete next.

    `members`: run -> the settings that it begins with, in the order of their numbers. `history`: what earlier attempts
    decided, which stands. A member that has ended, or broke, is compared no more; one that was away when its generation
    was complete goes on as it was.
    """

    def __init__(
        self,
        members: Mapping[str, Settings],
        questions: Questions,
        mode: str,
        epochs: int,
        rules: Rules,
        history: Iterable[Turn] = (),
    ) -> None:
        self.questions, self.rules, self.sign = questions, rules, -1 if mode == "min" else 1
        self.numbers = {run: number for number, run in enumerate(members)}
        self.settings = dict(members)  # run -> with which it goes on
        self.taken: dict[str, Turn] = {}  # run -> where it went on from another the last time
        self.generations = list(range(rules.interval, epochs, rules.interval))  # epochs that are to be compared
        self.come: dict[str, float] = {}  # run that waits for its generation -> value
        self.over: set[str] = set()  # runs that ended, or broke
        decided = sorted((turn for turn in history if turn.run in self.numbers), key=lambda turn: turn.epoch)
        for turn in decided:
            self.keep(turn)
        self.generations = [
            epoch for epoch in self.generations if epoch > max((one.epoch for one in decided), default=0)
        ]

    @property
    def next(self) -> int | None:
        """The epoch at which members wait for each other next; None: they go on to their end."""
        return self.generations[0] if self.generations else None

    def arrive(self, run: str, epoch: float, value: float | None) -> list[Turn]:
        """Notes a member that waits at the next generation; gives what is decided if it was the last one."""
        if run in self.numbers and self.next is not None and epoch >= self.next:
            self.come[run] = math.nan if value is None else value
        return self.complete()

    def end(self, run: str) -> list[Turn]:
        """Notes a member for which no generation waits any more; gives what is decided if the others have come."""
        self.over.add(run)
        self.come.pop(run, None)
        return self.complete()

    def awaits(self, run: str) -> bool:
        """Whether a run waits for other members of its generation."""
        return run in self.come

    def complete(self) -> list[Turn]:
        """What is decided about each member, in the order of their numbers, if all that have not ended have come."""
        if self.next is None or not self.come or self.numbers.keys() - self.over - self.come.keys():
            return []
        made = list(self.decide(self.generations.pop(0), self.come))
        self.come = {}
        for turn in made:
            self.keep(turn)
        return made

    def keep(self, turn: Turn) -> None:
        """Takes over what was decided about a member."""
        self.settings[turn.run] = turn.settings
        if turn.source:
            self.taken[turn.run] = turn

    def decide(self, epoch: int, values: Mapping[str, float]) -> Iterable[Turn]:
        """Truncation selection, section 4.1.1 there: a share of the members, the worst, each go on from one of as many,
        the best, drawn among them. Who is no worse than the one drawn, or finds none whose value is finite, stays."""
        ranked = sorted(values, key=lambda run: (-self.merit(values[run]), self.numbers[run]))
        count = min(math.ceil(len(ranked) * self.rules.quantile), len(ranked) // 2)
        best = [run for run in ranked[:count] if math.isfinite(self.merit(values[run]))]
        worst = ranked[len(ranked) - count :]
        for run in sorted(values, key=self.numbers.__getitem__):
            value, own = values[run], self.settings[run]
            why = f"{said(value)} at epoch {epoch} is not among the worst {count} of {len(ranked)}"
            if run in worst and best:
                draw = np.random.default_rng([self.rules.seed, epoch, self.numbers[run]])
                source = best[draw.integers(len(best))]
                theirs = values[source]
                if self.merit(value) < self.merit(theirs):
                    why = (
                        f"{said(value)} at epoch {epoch} is among the worst {count} of {len(ranked)}: it goes on from "
                        f"{source}, which has {theirs:.6g}"
                    )
                    yield Turn(run, epoch, value, own, self.explore(run, epoch, source), source, theirs, why)
                    continue
                why = f"{said(value)} at epoch {epoch} is no worse than that of {source}"
            elif run in worst:
                why = f"no other value at epoch {epoch} is finite"
            yield Turn(run, epoch, value, own, own, why=why)

    def explore(self, run: str, epoch: int, source: str) -> Settings:
        """The settings of `source`, each changed a little, by chances that depend on the seed, on the run's number, on
        the epoch and on the setting."""
        known = self.questions.find(self.settings[source])

        def answer(name: str, question: Question) -> Any:
            draw = np.random.default_rng([self.rules.seed, epoch, self.numbers[run], zlib.crc32(name.encode())])
            asked, before = known.get(name, (None, None))
            if asked != question or draw.random() < RESAMPLE:
                return resample(question, draw)
            return perturb(question, before, draw)

        return {**self.settings[source], **self.questions.ask(answer)}

    def merit(self, value: float) -> float:
        """What is compared, the larger the better: what is not finite, or below the floor, is the worst."""
        return self.sign * value if abs(value) < WORST else -math.inf


def said(value: float) -> str:
    """A value in words."""
    return "a value below the floor" if WORST <= abs(value) < math.inf else f"{value:.6g}"


def perturb(question: Question, before: Any, draw: np.random.Generator) -> Any:
    """An answer near the one before: the next choice up or down, or the number times one of FACTORS."""
    if isinstance(question, Choice):
        near = [place for place in (before - 1, before + 1) if 0 <= place < question.count]
        return int(draw.choice(near)) if near else before
    found = fit(question, before * float(draw.choice(FACTORS)))
    if question.whole and found == before:
        found = fit(question, before + float(draw.choice((-1, 1))) * (question.step or 1))
    return found


def resample(question: Question, draw: np.random.Generator) -> Any:
    """Any answer, drawn evenly."""
    if isinstance(question, Choice):
        return int(draw.integers(question.count))
    if question.log:
        return fit(question, math.exp(draw.uniform(math.log(question.low), math.log(question.high))))
    return fit(question, draw.uniform(question.low, question.high))


def fit(span: Span, value: float) -> Any:
    """The number nearest to `value` that a span has."""
    value = min(max(value, span.low), span.high)
    if span.step is not None:
        most = math.floor((span.high - span.low) / span.step + ROUNDED)
        value = min(span.low + min(round((value - span.low) / span.step), most) * span.step, span.high)
    return round(value) if span.whole else float(value)
