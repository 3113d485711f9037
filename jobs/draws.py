"""The configurations of a search that are known before it begins: draws, grids, and what goes before them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from gen.config import RunConfig, override
from gen.search.samplers import ENDLESS, GRID, TPE
from tune_spaces import Space, SpaceQuestions, draw, every

EXAMPLES = 64  # configurations that are looked at where nobody knows yet what will be proposed
GRIDDED = 10_000  # most configurations of a grid
DRAWN = 100_000  # most samples that are drawn before a search begins, some 3 ms each
COUNTED = 1_000  # a space of more configurations is not counted


def configurations(
    space: Space, sampler: str, first: Sequence[Mapping[str, Any]], alone: bool, asked: int | None
) -> tuple[Space, list[Mapping[str, Any]], str]:
    """The configurations of a search, the `first` ones and those of its sampler, as settings over a space's; of a
    sampler that learns, and of a search without an end, examples. With the space, which tells how many they are in all,
    and a line on those that there are not; "": none. `asked`: samples that the user asked for."""
    if sampler == GRID:
        grid = whole_grid(space)
        space = dataclasses.replace(space, samples=asked or len(first) + len(grid))
        return space, *different(space, [*first, *grid], asked)
    if sampler == TPE:
        SpaceQuestions(space)  # an error for what it cannot ask
    if sampler == TPE or space.samples == ENDLESS:
        some, _ = draws(dataclasses.replace(space, samples=min(space.samples, EXAMPLES)), first, alone, None)
        return space, some, ""
    return space, *draws(space, first, alone, asked)


def draws(
    space: Space, first: Sequence[Mapping[str, Any]], alone: bool, asked: int | None
) -> tuple[list[Mapping[str, Any]], str]:
    """The different configurations among the samples of a space, each as settings: the `first` ones, then draws. It is
    all that the space has if it is searched `alone`, by --only, and has no more. And a line that counts them where more
    samples were `asked` for; "" if not."""
    if space.samples > DRAWN:
        raise ValueError(
            f"samples={space.samples}: they are drawn before the first one begins, which would take hours; allowed: up "
            f"to {DRAWN}, or 0 with a limit, such as --time-budget 2d"
        )
    some = [*first, *(draw(space, space.config.seed, index) for index in range(len(first), space.samples))]
    some = some[: space.samples]
    there = every(space, COUNTED)
    if alone and there is not None and len(there) <= space.samples:
        return different(dataclasses.replace(space, samples=len(some) + len(there)), [*some, *there], asked)
    return different(space, some, asked)


def samples_of(space: Space, sampler: str, first: Sequence[Mapping[str, Any]], count: int) -> int:
    """How many samples are the first `count` different configurations of a search: more than these where some were
    drawn twice, and all where no fewer are those: with as many as the space has, a search may try all of these."""
    if sampler in (GRID, TPE):
        return count
    found = set[RunConfig]()
    drawn = (draw(space, space.config.seed, index) for index in range(len(first), space.samples))
    for number, one in enumerate(itertools.chain(first, drawn), start=1):
        found.add(override(space.config, one))
        if len(found) >= count:
            there = every(space, number)
            return number if there is None or len(there) > number else space.samples
    return space.samples


def first_in_words(start: str, first: int, samples: int) -> str:
    """What --start-from brings, in a line; "" without it."""
    if not start:
        return ""
    left = f", of which {first - samples} are left out, for there are {samples} samples" if samples < first else ""
    return f"start-from {start}: the search begins with {first} known configurations{left}"


def whole_grid(space: Space) -> list[dict[str, Any]]:
    """All configurations of a space. ValueError if a range is in it, or if they are too many."""
    if ranges := [
        key
        for key, domain in space.keys.items()
        if every(dataclasses.replace(space, keys={key: domain}, tied={}), GRIDDED) is None
    ]:
        raise ValueError(
            f"sampler=grid cannot try every value of {', '.join(ranges)}; name values by --search {ranges[0]}=V1,V2, "
            f"set one by --set {ranges[0]}=VALUE, or search by --only no more than --search names"
        )
    grid = every(space, GRIDDED)
    if grid is None:
        raise ValueError(
            f"sampler=grid has more than {GRIDDED:,} configurations; leave values out, or --sampler random"
        )
    return grid


def different(
    space: Space, some: Sequence[Mapping[str, Any]], asked: int | None
) -> tuple[list[Mapping[str, Any]], str]:
    """The different ones of some configurations, as many as the space has samples. And a line that counts them where
    more samples were `asked` for, or where configurations of a grid are left out; "" if not."""
    there = every(space, COUNTED)
    found = dict[RunConfig, Mapping[str, Any]]()
    for one in some:
        found.setdefault(override(space.config, one), one)
    found = dict(itertools.islice(found.items(), space.samples))
    if asked is None or len(found) >= asked:
        return list(found.values()), ""
    counted = f"{len(found)} different configuration{'s' * (len(found) != 1)}"
    if there is None:
        return list(found.values()), f"{asked} samples are {counted}: some were drawn twice"
    missed = sum(override(space.config, one) not in found for one in there)
    if not missed:
        return list(found.values()), f"{asked} samples are {counted}: the space has no more"
    lacks = f"{missed} of the {len(there)} that the space has are not among them; more samples draw these"
    return list(found.values()), f"{asked} samples are {counted}: {lacks}"


def runs_of(space: Space, config: RunConfig, settings: Mapping[str, Any], seeds: int) -> list[RunConfig]:
    """The runs of a configuration: under each condition of the space with each of so many seeds."""
    each = [dict(zip(space.each, values, strict=True)) for values in itertools.product(*space.each.values())]
    wholes = [override(config, {**settings, **condition}) for condition in each]
    return [with_seed(one, more) for one in wholes for more in range(seeds)]


def with_seed(config: RunConfig, number: int) -> RunConfig:
    """The run of a configuration with seed number `number`. Where few images keep their labels, the number also chooses
    which: the runs of a number have the same labelled images, whatever their configuration and their entry."""
    chosen = {"data.label_seed": config.data.label_seed + number} if config.data.labels else {}
    return override(config, {"seed": config.seed + number, **chosen}).resolve()
