"""Who decides which runs of a search go on, and with which settings: the options of jobs.tune about that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gen.checks import at_least
from gen.config import DataConfig, RunConfig, flat, override
from gen.record.names import Names
from gen.search.population import Rules
from tune_spaces import Space, SpaceQuestions, draw
from tune_spaces.changeable import changeable, only_changeable, searched

if TYPE_CHECKING:
    from gen.on_ray.population import Members
    from jobs.plan import Plan

ASHA, NONE, POPULATION = SCHEDULERS = ("asha", "none", "population")
SIZE, QUANTILE = 8, 0.25  # of a population
OWN = ("population", "interval", "quantile")  # options of a population
NOT = ("samples", "grace", "reduction")  # options that say nothing to one


@dataclass(frozen=True)
class Scheduling:
    """What was asked for."""

    name: str = ASHA  # one of SCHEDULERS
    size: int = SIZE
    interval: int | None = None  # epochs; None: the grace of the entry's space
    quantile: float = QUANTILE

    @property
    def stops(self) -> bool:
        """Whether runs are stopped."""
        return self.name == ASHA


def scheduling(options: dict[str, Any], several: bool) -> Scheduling:
    """Takes the options out of `options`. ValueError for one that says nothing to the scheduler that is asked for."""
    name, said = options.pop("scheduler"), {key: options.pop(key) for key in OWN}
    given = [key for key in OWN if said[key] is not None]
    if name != POPULATION:
        if given:
            raise ValueError(f"{given[0]}={said[given[0]]} is for --scheduler population")
        if name == NONE and (wrong := [key for key in ("grace", "reduction") if options[key] is not None]):
            raise ValueError(f"{wrong[0]}={options[wrong[0]]} is for --scheduler asha; with none no run is stopped")
        return Scheduling(name)
    if several:
        raise ValueError("a population is of one entry, whose runs take over from each other; name one by --entry")
    if wrong := [key for key in NOT if options[key] is not None]:
        raise ValueError(
            f"{wrong[0]}={options[wrong[0]]} says nothing to --scheduler population; it has --population N runs, none "
            "of which is stopped, and compares them every --interval epochs"
        )
    if options["confirm"] is not None:
        raise ValueError(
            f"confirm={options['confirm']}: a run of a population has no settings that another seed could begin with, "
            "for they change on the way; train its lineage's last settings by a search of their own"
        )
    if options["seeds"] not in (None, 1):
        raise ValueError(f"seeds={options['seeds']}: each run of a population has a seed of its own; allowed: 1")
    if options["sampler"] != "random":
        raise ValueError(f"sampler={options['sampler']}: a population begins with draws; allowed: random")
    found = {"size": said["population"], "interval": said["interval"], "quantile": said["quantile"]}
    found = {key: value for key, value in found.items() if value is not None}
    asked = Scheduling(name, **found)
    at_least("population", asked.size, 2)
    Rules(asked.interval or 1, asked.quantile, 0)
    return asked


def members_of(asked: Scheduling, space: Space, first: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The settings with which the runs of a population begin: the `first` ones, then draws. ValueError if one of the
    first ones has settings that cannot change on the way: runs take over weights from each other."""
    config, may = space.config, changeable(space.config)
    for one in first:
        own, whole = flat(override(config, one)), flat(config)
        if wrong := [key for key in {*own, *whole} if key not in may and own.get(key) != whole.get(key)]:
            raise ValueError(
                f"start-from brings {min(wrong)}={own.get(min(wrong))}, which cannot change while a run of a "
                f"population goes on; set it for all of them by --set {min(wrong)}=VALUE"
            )
    drawn = [*first, *(draw(space, config.seed, number) for number in range(len(first), asked.size))]
    return drawn[: asked.size]


def runs_of_members(config: RunConfig, drawn: Sequence[Mapping[str, Any]]) -> list[RunConfig]:
    """The runs of a population, each with a seed of its own."""
    return [override(config, {**one, "seed": config.seed + number}).resolve() for number, one in enumerate(drawn)]


def arrange(asked: Scheduling, space: Space, named: Mapping[str, Any]) -> tuple[Scheduling, Space, str]:
    """The space of a population, the epochs between its generations, and a line on what is not searched. `named`: what
    the user searches by name. And one on an interval without a generation. ValueError for intervals in which nothing is
    measured."""
    every = space.config.evaluate.every
    interval = asked.interval or -(-space.grace // every) * every
    if interval % every:
        raise ValueError(f"interval={interval} is no multiple of evaluate.every={every}: nothing is measured there")
    space, left = only_changeable(space, named)
    lines = []
    if left:
        lines.append(f"the population keeps the entry's {', '.join(left)}, which cannot change while a run goes on")
    if interval >= (epochs := space.config.budget.epochs):
        lines.append(f"no run takes over from another, for interval={interval} is no less than the {epochs} epochs")
    return dataclasses.replace(asked, interval=interval), space, "; ".join(lines)


def population(plan: Plan, hashes: Mapping[DataConfig, str], named: Names) -> Members | None:
    """The population of a search, if it is one."""
    from gen.on_ray.population import Members

    asked, space = plan.scheduling, plan.space
    if asked.name != POPULATION:
        return None
    assert asked.interval is not None
    rules = Rules(asked.interval, asked.quantile, space.config.seed)
    settings = {named.of(one, hashes[one.data]): searched(space, one) for one in plan.configs}
    return Members(rules, SpaceQuestions(space), settings)
