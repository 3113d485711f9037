"""Confirmation as a race: the best configurations of a search train again with fresh seeds, until they fall behind.

The winner of a noisy search is partly luck. In the race every configuration that is still in gets the next seed; after
each seed a paired Wilcoxon test (Wilcoxon 1945) compares each with the leader, and drops it where it is worse at the
stated level. Figures go in and the state comes out; the order in which they came changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Figures = Mapping[str, Mapping[int, float]]
"""Configuration -> seed -> what its run came to; NaN for a run that failed."""


@dataclass(frozen=True)
class Drop:
    """A configuration that dropped out."""

    configuration: str
    rival: str  # the leader that it was compared with
    of: int  # seeds that both had
    chance: float  # to be as far behind, or farther, if neither were better
    why: str


@dataclass(frozen=True)
class Race:
    """How a race stands."""

    order: Sequence[str]  # configurations that are in, the leader first
    drops: Sequence[Drop]  # in the order in which they dropped out
    seeds: Sequence[int]  # that every configuration which is in has had
    means: Mapping[str, float] = field(default_factory=dict)  # of all that took part, over the seeds that each has had
    of: Mapping[str, int] = field(default_factory=dict)  # ... and of how many runs each mean is
    over: bool = False

    @property
    def leader(self) -> str:
        """Who won, or leads."""
        return self.order[0]


def race(entrants: Sequence[str], seeds: Sequence[int], figures: Figures, mode: str, level: float = 0.05) -> Race:
    """Where a race of `entrants`, the best of the search first, over `seeds` in their order stands. It is over when one
    is left, or all seeds were given. ValueError for a level that is no chance.

    `level` is of each test, of one configuration after one seed: the more tests, the more often one that is as good as
    the leader drops out. Of n seeds no chance is below 2 ** -n, so that at 0.05 nobody drops out before five.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} is out of range; allowed: more than 0 and less than 1, such as 0.05")
    sign = 1.0 if mode == "min" else -1.0
    order, drops, had = list(entrants), list[Drop](), list[int]()
    for seed in seeds:
        if len(order) == 1 or any(seed not in figures.get(one, {}) for one in order):
            break
        had.append(seed)
        cost = {one: [worst_last(sign * figures[one][past]) for past in had] for one in order}
        order.sort(key=lambda one: sum(cost[one]) / len(had))  # it keeps the order of those that are equal
        for one in order[1:]:
            chance = behind(cost[one], cost[order[0]])
            if chance < level:
                drops.append(Drop(one, order[0], len(had), chance, words(one, order[0], len(had), chance, level)))
        gone = {drop.configuration for drop in drops}
        order = [one for one in order if one not in gone]
    given = {one: [figures[one][seed] for seed in had[: count_of(one, drops, had)]] for one in entrants if had}
    means = {one: sum(values) / len(values) for one, values in given.items()}
    return Race(
        order,
        drops,
        had,
        means,
        {one: len(values) for one, values in given.items()},
        over=len(order) == 1 or len(had) == len(seeds),
    )


def next_runs(
    entrants: Sequence[str],
    seeds: Sequence[int],
    figures: Figures,
    mode: str,
    level: float = 0.05,
    at_once: int = 1,
    ahead: int = 0,
) -> list[tuple[str, int]]:
    """The next runs to train, at most `at_once`, as configuration and seed: those that the present seed lacks, the
    leader's first; then, for slots that would idle, those of up to `ahead` seeds more, which a test may prove needless.
    None when the race is over. Runs that are in training have no figure yet, and are named again."""
    now = race(entrants, seeds, figures, mode, level)
    if now.over:
        return []
    first = len(now.seeds)
    wanted = [(one, seed) for seed in seeds[first : first + 1 + ahead] for one in now.order]
    return [(one, seed) for one, seed in wanted if seed not in figures.get(one, {})][:at_once]


def behind(own: Sequence[float], leader: Sequence[float]) -> float:
    """The chance that a configuration is as far behind the leader as it is, or farther, if neither were better: a
    one-sided Wilcoxon test of the differences, seed by seed. Small costs are good; an infinite one is behind any."""
    from scipy import stats  # so late that nobody else waits for it

    pairs = list(zip(own, leader, strict=True))
    known = [mine - theirs for mine, theirs in pairs if math.isfinite(mine) and math.isfinite(theirs)]
    most = 2 * max(map(abs, known), default=0.5) + 1e-300  # a run that failed is farther than all others
    found = [
        0.0 if mine == theirs else mine - theirs if math.isfinite(mine - theirs) else math.copysign(most, mine - theirs)
        for mine, theirs in pairs
    ]
    if not any(found):
        return 1.0
    return float(stats.wilcoxon(found, alternative="greater", zero_method="zsplit").pvalue)


def worst_last(cost: float) -> float:
    """A cost, infinite if it is no finite number."""
    return cost if math.isfinite(cost) else math.inf


def count_of(configuration: str, drops: Sequence[Drop], had: Sequence[int]) -> int:
    """How many of the seeds that were given a configuration was compared by."""
    return next((drop.of for drop in drops if drop.configuration == configuration), len(had))


def words(configuration: str, rival: str, of: int, chance: float, level: float) -> str:
    """Why a configuration dropped out."""
    return f"behind {rival} over {of} seeds: a chance of {chance:.3g} if it were no worse, below {level:g}"
