"""Confirmation as a race: the best configurations of a search train again with fresh seeds, until they fall behind.

The winner of a noisy search is partly luck. In the race every configuration that is still in gets the next seed; after
each seed a paired Wilcoxon test (Wilcoxon 1945) compares each with the leader, and drops it where it is worse at the
stated level. Figures go in and the state comes out; the order in which they came changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Figures = Mapping[str, Mapping[int, float | None]]
"""Configuration -> seed -> what its run came to; NaN for a run that failed, None for one that is to be ranked no more:
its seed was given, and counts in no test and in no mean."""


@dataclass(frozen=True)
class Drop:
    """A configuration that dropped out."""

    configuration: str
    rival: str  # the leader that it was compared with
    of: int  # seeds that had been given
    chance: float  # to be as far behind, or farther, if neither were better
    why: str
    pairs: int  # seeds of which both have a figure, by which they were compared


@dataclass(frozen=True)
class Race:
    """How a race stands."""

    order: Sequence[str]  # configurations that are in, the leader first
    drops: Sequence[Drop]  # in the order in which they dropped out
    seeds: Sequence[int]  # that every configuration which is in has had
    means: Mapping[str, float] = field(default_factory=dict)  # of all that took part, over the seeds that each has had;
    # NaN: a run of these failed, or none of them is to be ranked
    of: Mapping[str, int] = field(default_factory=dict)  # ... and of how many runs each mean is
    over: bool = False

    @property
    def leader(self) -> str:
        """Who won, or leads."""
        return self.order[0]


def race(
    entrants: Sequence[str],
    seeds: Sequence[int],
    figures: Figures,
    mode: str,
    level: float,
    history: Sequence[Drop] = (),
) -> Race:
    """How a race of the configurations `entrants`, the best of the search first, stands over `seeds` in their order. It
    is over when one configuration of several is left, or all seeds were given: a configuration that enters alone gets
    all seeds. ValueError for a level that is no chance.

    `level` is of each test, of one configuration after one seed: the more tests, the more often a configuration that is
    as good as the leader drops out. Of n seeds no chance is below 2 ** -n: at 0.05 nobody drops out before the fifth.
    `history`: the drops that are on record, which stand whatever became of the figures since (a run that had failed was
    trained again, or a run is to be ranked no more); nobody else drops out of a seed before the last of them.

    Two configurations are compared by the seeds of which both have a figure that counts, and ordered by the mean of
    those that each has.
    """
    check_level(level)
    sign = 1.0 if mode == "min" else -1.0
    order, drops, had = list(entrants), list[Drop](), list[int]()
    decided = max((drop.of for drop in history), default=0)
    for seed in seeds:
        if len(order) == 1 < len(entrants) or any(seed not in figures.get(one, {}) for one in order):
            break
        had.append(seed)
        cost = {one: [cost_of(figures[one][past], sign) for past in had] for one in order}
        order.sort(key=lambda one: worst_last(mean(cost[one])))  # it keeps the order of those that are equal
        drops += [drop for drop in history if drop.of == len(had) and drop.configuration in order]
        gone = {drop.configuration for drop in drops}
        leader, *others = [one for one in order if one not in gone]
        for one in others if len(had) >= decided else ():
            pairs = both(cost[one], cost[leader])
            chance = behind(*zip(*pairs, strict=True)) if pairs else 1.0
            if chance < level:
                why = words(one, leader, len(pairs), chance, level)
                drops.append(Drop(one, leader, len(had), chance, why, len(pairs)))
        gone = {drop.configuration for drop in drops}
        order = [one for one in order if one not in gone]
    given = {one: [figures[one][seed] for seed in had[: count_of(one, drops, had)]] for one in entrants if had}
    return Race(
        order,
        drops,
        had,
        {one: mean(values) for one, values in given.items()},
        {one: sum(value is not None for value in values) for one, values in given.items()},
        over=len(order) == 1 < len(entrants) or len(had) == len(seeds),
    )


def next_runs(
    entrants: Sequence[str],
    seeds: Sequence[int],
    figures: Figures,
    mode: str,
    level: float,
    history: Sequence[Drop] = (),
    ahead: int = 0,
) -> list[tuple[str, int]]:
    """The runs to train next, the most urgent first, as configuration and seed: the runs of the present seed that have
    no figure, the leader's first; the runs of further seeds before which no test can drop anybody; then, for slots that
    would idle, the runs of up to `ahead` seeds more, which a test may prove needless. Empty when the race is over. Runs
    that are in training have no figure yet, and are named again."""
    now = race(entrants, seeds, figures, mode, level, history)
    if now.over:
        return []
    sure = len(seeds) if len(entrants) == 1 else fewest(level)
    last = max(len(now.seeds) + 1 + ahead, sure)
    wanted = [(one, seed) for seed in seeds[len(now.seeds) : last] for one in now.order]
    return [(one, seed) for one, seed in wanted if seed not in figures.get(one, {})]


def fewest(level: float) -> int:
    """Of how many seeds a test can find a chance below `level`: of n no chance is below 2 ** -n."""
    check_level(level)
    count = 1
    while 2.0**-count >= level:
        count += 1
    return count


def check_level(level: float) -> None:
    """ValueError for a level that is no chance."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} is out of range; allowed: more than 0 and less than 1, such as 0.05")


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


def cost_of(figure: float | None, sign: float) -> float | None:
    """A figure as a cost, the smaller the better, infinite if it is no finite number; None if it does not count."""
    return None if figure is None else worst_last(sign * figure)


def mean(values: Sequence[float | None]) -> float:
    """The mean of those that count; NaN if none does."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def both(own: Sequence[float | None], others: Sequence[float | None]) -> list[tuple[float, float]]:
    """The pairs of which both count."""
    return [(mine, theirs) for mine, theirs in zip(own, others, strict=True) if mine is not None and theirs is not None]


def worst_last(cost: float) -> float:
    """A cost, infinite if it is no finite number."""
    return cost if math.isfinite(cost) else math.inf


def count_of(configuration: str, drops: Sequence[Drop], had: Sequence[int]) -> int:
    """How many of the seeds that were given a configuration was compared by."""
    return next((drop.of for drop in drops if drop.configuration == configuration), len(had))


def words(configuration: str, rival: str, of: int, chance: float, level: float) -> str:
    """Why a configuration dropped out."""
    return f"behind {rival} over {of} seeds: a chance of {chance:.3g} if it were no worse, below {level:g}"
