"""What a search was asked for: the options of jobs.tune as a space, runs and a budget."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from ray.tune.search.sample import Categorical, Domain

from gen.checks import at_least
from gen.config import DataConfig, Machine, RunConfig, TwoStageConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.engine.build import build_model, check_batch, check_memory, outline
from gen.engine.stage_one import check_stage
from gen.metrics.table import direction, is_known
from gen.phase import Model
from gen.record import names
from gen.results.renamed import to_present
from gen.search.budgets import Budget
from gen.search.samplers import ENDLESS, GRID, RANDOM, TPE
from gen.search.tpe import check_installed
from jobs.confirm import Confirm, check_confirm, confirm_of, searched_seeds
from jobs.draws import configurations, first_in_words, runs_of
from jobs.known import Known, known
from jobs.objectives import objectives, objectives_in_words
from jobs.options import Asked, check_ticks, look_at, pairs_of, resolve
from jobs.progress import decode_here
from jobs.schedulers import POPULATION, Scheduling, arrange, members_of, runs_of_members, scheduling
from tune_spaces import (
    InTurn,
    Space,
    check_objective,
    check_searchable,
    extend,
    pin,
    space_for,
)

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Plan:
    """A search that was asked for, with all of its runs."""

    asked: Asked
    space: Space
    configs: Sequence[RunConfig]  # each configuration under each condition with each seed, those of one next to each
    # other
    seeds: int
    sampler: str  # who proposes: one of SAMPLERS. Of what one that learns may propose, `configs` are examples
    most: int  # runs at a time; 0: as many as fit
    retry: bool  # runs that failed before are trained again
    budget: Budget  # what all runs may take together
    seconds: float  # after which it ends; submitted again, it goes on
    gpus: float | None  # of a run, all its workers together; None: one a worker, if there are any
    named: str = ""  # name of the space; "": the family's own
    whole: bool = False  # no run is stopped, for entries or conditions are to be compared
    begins: Known = field(default_factory=lambda: Known([]))  # what is tried before anything is drawn
    drawn: Sequence[Mapping[str, Any]] = ()  # the configurations of `configs`, as settings
    also: Sequence[str] = ()  # further figures that the search goes by, beside the one that steers its runs
    confirm: Confirm | None = None  # the best are trained again with fresh seeds
    scheduling: Scheduling = field(default_factory=Scheduling)  # who decides which runs go on
    notice: str = ""  # that there are fewer configurations than samples were asked for

    @property
    def endless(self) -> bool:
        """Whether only a limit ends the search."""
        return self.space.samples == ENDLESS

    def about(self) -> dict[str, Any]:
        """What the search is beside its settings: the rest of the note that says what its name stands for."""
        space = self.space
        keys = {key: words(domain) for key, domain in sorted(space.keys.items())}
        about: dict[str, Any] = {"space": keys}
        about |= {} if self.whole else {"grace": space.grace, "reduction": space.reduction}
        more: dict[str, Any] = {"sampler": "" if self.sampler == RANDOM else self.sampler, "named": self.named}
        more |= {"tied": dict(space.tied), "each": dict(space.each), "first": list(self.begins.first)}
        more |= {"start_from": self.begins.source, "also": list(self.also)}
        about |= {key: value for key, value in more.items() if value}
        if (rules := self.scheduling).name == POPULATION:
            about["population"] = {"size": rules.size, "interval": rules.interval, "quantile": rules.quantile}
        return about | {"samples": space.samples, "seeds": self.seeds}

    def runs_of(self, settings: Mapping[str, Any]) -> list[RunConfig]:
        """The runs of a configuration: under each condition with each seed."""
        return runs_of(self.space, self.space.config, settings, self.seeds)

    def note(self, data_hash: str) -> dict[str, Any]:
        """The note of the experiment, which says what its name stands for."""
        about = self.about()
        grows = {key: about.pop(key) for key in ("samples", "seeds")}
        if self.budget.price:  # of which the page makes money
            grows["price"] = {"device_hour": self.budget.price}
        return names.note(self.space.config, data_hash, job="tune", search=about, **grows)

    @functools.cached_property
    def datasets(self) -> Mapping[DataConfig, Dataset]:
        """Settings of data -> data set, of all runs. ValueError where one is missing or damaged."""
        return {
            data: open_dataset(data, self.asked.data_root, self.asked.download, runner=decode_here)
            for data in dict.fromkeys(one.data for one in self.configs)
        }

    def open(self) -> Dataset:
        """The data set of the first run. ValueError where one is missing or damaged, where a draw does not fit it, or
        where runs do not compare by the figure that is to steer them."""
        for found in self.datasets.values():
            check_stage(self.space.config, found)
        check_held_out(self.datasets)
        self.check(self.datasets)
        return self.datasets[self.configs[0].data]

    def look(self) -> None:
        """Checks what can be told before any image is read: what `open` checks, but for the images' contents."""
        found = {data: look_at(self.asked, data) for data in dict.fromkeys(one.data for one in self.configs)}
        known = {data: dataset for data, dataset in found.items() if dataset is not None}
        if len(known) == len(found):
            self.check(known)

    def check(self, datasets: Mapping[DataConfig, Dataset]) -> None:
        """ValueError where a draw does not fit the data, or where runs do not compare by what is to steer them."""
        config = dataclasses.replace(self.space.config, data=self.configs[0].data)
        figures = {"evaluate.metric": "", **({"evaluate.also": ""} if self.also else {})}  # `check_objective` tells
        blank = dataclasses.replace(self.asked, config=override(config, figures))
        dataset = datasets[config.data]
        blank.check(dataset)
        looks = isinstance(config.model, TwoStageConfig)  # to build a prior runs its first stage, on numbers
        built: dict[str, Model] = {}
        with torch.device("cpu" if looks else "meta"):
            for one in self.configs:
                if (key := repr(one.model)) not in built:
                    built[key] = outline(one, dataset.shape) or one.model.build(dataset.shape)  # each draw fits
                    check_memory(one, built[key], one.machine.device == "cpu")
                check_batch(one.train, built[key])
        model, judge = build_model(config, dataset, torch.device("cpu")), self.asked.naming_judge(dataset)
        measured, phases = judge.steers(model), [phase.name for phase in model.phases()]
        for metric in (config.evaluate.metric, *self.also):
            check_objective(self.space, judge.full_name(metric), self.configs, measured, phases)


def plan(options: dict[str, Any], several: bool = False) -> Plan:
    """The options of jobs.tune for one entry, which may be one of several, as a plan. ValueError for whatever is wrong
    with them."""
    scheduler = scheduling(options, several)
    changes = {key: options.pop(key) for key in ("samples", "grace", "reduction")}
    choices, named, alone = pairs_of("search", options.pop("choices")), options.pop("space") or "", options.pop("alone")
    metric, mode, seeds, most, time = (options.pop(key) for key in ("metric", "mode", "seeds", "most", "time"))
    confirm = confirm_of(options.pop("confirm"), options.pop("level"), seeds)
    budget = budget_of(*(options.pop(key) for key in ("total_epochs", "device_time", "cost", "price")))
    retry = options.pop("retry")
    sampler, start = options.pop("sampler"), options.pop("start") or ""
    if sampler == TPE:
        check_installed()
    longest, epochs = options.pop("max_epochs"), options["epochs"]
    if None not in (longest, epochs) and longest != epochs:
        raise ValueError(f"epochs={epochs} and max-epochs={longest} say the same thing differently; say one of them")
    options["epochs"] = epochs = longest if epochs is None else epochs
    workers, gpus = options.pop("workers_per_trial"), options.pop("gpus_per_trial")
    if options["workers"] not in (None, 1):
        raise ValueError(f"workers={options['workers']}: those of a search's run are --workers-per-trial; allowed: 1")
    options["workers"] = workers
    asked = resolve(options)
    seeds = searched_seeds(asked) if confirm else 1 if seeds is None else seeds
    check_gpus(gpus, asked.config.machine)
    check_choices(asked, choices, alone)
    space = space_for(asked.config, named)
    if alone:
        space = dataclasses.replace(space, keys={}, tied={})
    config, every = asked.config, asked.config.evaluate.every
    if not epochs and "budget.epochs" not in asked.pinned:
        config = override(config, {"budget.epochs": math.ceil(space.max_epochs / every) * every})
    check_ticks(config)
    full = "evaluate.full" in asked.pinned
    metric, also = objectives(metric, mode, confirm)
    check_said(asked, metric, also)
    metric = metric or config.evaluate.metric or space.metric
    if is_known(metric):  # an unknown one is refused later, with the names of the entry's figures
        direction(metric, mode)
        direction(metric, config.evaluate.mode)
    config = override(
        config, {"evaluate.metric": metric, "evaluate.mode": ""} | ({} if full else {"evaluate.full": "leaders"})
    )
    if also:
        config = override(config, {"evaluate.also": ",".join(also)})
    if confirm and "evaluate.leaders" not in asked.pinned:  # who is to be confirmed is chosen by full figures
        config = override(config, {"evaluate.leaders": max(config.evaluate.leaders, confirm.count * seeds)})
    space = dataclasses.replace(space, config=config, **{key: new for key, new in changes.items() if new is not None})
    space = extend(pin(space, asked.pinned), choices)
    check_searchable(space)
    kept = ""
    if scheduler.name == POPULATION:
        scheduler, space, kept = arrange(scheduler, space, choices)
        space = dataclasses.replace(space, samples=scheduler.size)
    compares = several or bool(space.each)
    whole = compares or not scheduler.stops
    if whole:
        check_whole(changes["grace"], config.budget.epochs, [*space.each] or ["entry"])
        if compares and not full:
            config = override(config, {"evaluate.full": "all"})
        space = dataclasses.replace(space, config=config, grace=config.budget.epochs)
    elif also and changes["grace"] is None:  # no one figure tells who loses
        space = dataclasses.replace(space, grace=config.budget.epochs)
    elif changes["grace"] is None:
        space = dataclasses.replace(space, grace=math.ceil(space.grace / every) * every)
    time_left = seconds("time-budget", time) if time else math.inf
    if changes["samples"] == 0:
        check_end(sampler, time_left, budget)
        space = dataclasses.replace(space, samples=ENDLESS)
    for name, value, low in (("samples", space.samples, 1), ("grace", space.grace, 1), ("seeds", seeds, 1)):
        at_least(name, value, low)
    if seeds > 1 and (sampler == TPE or space.samples == ENDLESS) and space.grace < config.budget.epochs:
        what = "sampler=tpe" if sampler == TPE else "samples=0"
        raise ValueError(
            f"{what} with seeds={seeds}: seeds of what is proposed on the way would be rivals at the rungs; allowed: "
            f"--seeds 1, or --grace {config.budget.epochs}, by which no run is stopped"
        )
    at_least("reduction", space.reduction, 2)
    at_least("max-concurrent", most, 0)
    if space.grace % every:
        raise ValueError(f"grace={space.grace} is no multiple of evaluate.every={every}: nothing is measured there")
    begins = known(asked.storage, asked.name, config, asked.pinned, start, alone)
    if scheduler.name == POPULATION:
        drawn = members_of(scheduler, space, begins.first)
        configs, line = runs_of_members(config, drawn), kept
    else:
        space, drawn, line = configurations(space, sampler, begins.first, alone, changes["samples"])
        configs = [run for one in drawn for run in runs_of(space, config, one, seeds)]
    stops = "" if whole else objectives_in_words(metric, also, space.grace, config.budget.epochs)
    notice = "; ".join(filter(None, [first_in_words(start, len(begins.first), space.samples), line, stops]))
    asked = dataclasses.replace(asked, config=config)
    of_search = (asked, space, configs, seeds, sampler, most, retry, budget, time_left, gpus)
    found = Plan(*of_search, named, whole, begins, drawn, also, confirm, scheduler, notice)
    if confirm:
        check_confirm(found)
    return found


def check_end(sampler: str, seconds_left: float, budget: Budget) -> None:
    """ValueError if a search without a number of samples has no end."""
    if sampler == GRID:
        raise ValueError("samples=0 is for samplers without an end; a grid has one: leave --samples out")
    if seconds_left == math.inf and not budget.limits:
        raise ValueError(
            "samples=0 has no end; allowed: at least 1, or 0 with a limit, which is --time-budget, --epoch-budget, "
            "--device-budget or --cost-budget"
        )


def check_said(asked: Asked, metric: str | None, also: Sequence[str]) -> None:
    """ValueError where --metric and --set name different figures: one of them would be dropped."""
    for key, name in {"evaluate.metric": metric, "evaluate.also": ",".join(also)}.items():
        if name and asked.said.get(key, name) != name:
            raise ValueError(f"{key}={asked.said[key]} by --set and {name} by --metric; say one of them")


def check_choices(asked: Asked, choices: Mapping[str, str], alone: bool) -> None:
    """ValueError if --search names a setting that has one value by another option, or --only lacks something to
    search."""
    if alone and not choices:
        raise ValueError("only searches what --search names, which is nothing; say --search KEY=V1,V2 too")
    for name, values in choices.items():
        for key in to_present(asked.config.family, {name: values}):
            if key in asked.said:
                raise ValueError(
                    f"--search {key}={values} searches what is set to {asked.said[key]} by an option of its own or "
                    "--set; say one of them"
                )


def check_whole(grace: int | None, epochs: int, beside: Sequence[str]) -> None:
    """ValueError if halving is asked for among runs that are to be compared by `beside`: some would end early."""
    if grace is not None and grace < epochs:
        raise ValueError(
            f"grace={grace} would stop runs for their {' and '.join(beside)}, by which they are to be compared; "
            f"allowed: {epochs}, the epochs, or leave it out"
        )


def check_held_out(datasets: Mapping[DataConfig, Dataset]) -> None:
    """ValueError unless all of the data sets have the same validation and test images, with the same labels."""
    if len({one.held_out for one in datasets.values()}) > 1:
        shown = "; ".join(f"{one.name}, labels={data.labels}: {one.held_out}" for data, one in datasets.items())
        raise ValueError(f"the runs' validation and test images are not the same: hashes {shown}")


def check_gpus(gpus: float | None, machine: Machine) -> None:
    """ValueError unless each worker of a run can use its share of `gpus`."""
    if gpus is None:
        return
    wrong, workers = f"gpus-per-trial={gpus:g}", machine.workers
    if not 0 < gpus < math.inf:
        raise ValueError(f"{wrong} is out of range; allowed: more than 0")
    if machine.device == "cpu":
        raise ValueError(f"{wrong} and device=cpu say opposite things; say one of them")
    if workers == 1 and gpus > 1:
        raise ValueError(f"{wrong}: one worker uses one GPU; allowed: up to 1, or more with --workers-per-trial")
    if workers > 1 and gpus != workers:
        raise ValueError(f"{wrong}: {workers} workers use a GPU each; allowed: {workers}")


def words(value: Any) -> Any:
    """A domain as a value that JSON can hold."""
    if isinstance(value, (Categorical, InTurn)):
        return [words(choice) for choice in (value.choices if isinstance(value, InTurn) else value.categories)]
    if isinstance(value, Domain):
        return f"{value.get_sampler()} {value.domain_str}"  # type: ignore[no-untyped-call]
    return {key: words(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def budget_of(epochs: int | None, device_time: str | None, cost: float | None, price: float | None) -> Budget:
    """The budget of a search beside its wall time. ValueError for what is no budget, or money without a price."""
    if epochs is not None:
        at_least("epoch-budget", epochs, 1)
    for name, value in (("cost-budget", cost), ("price", price)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}={value:g} is out of range; allowed: more than 0")
    if (cost is None) != (price is None):
        said, lacks = ("cost-budget", "price") if price is None else ("price", "cost-budget")
        raise ValueError(f"{said} goes with {lacks}: say --cost-budget AMOUNT and --price AMOUNT, of a device-hour")
    device_seconds = seconds("device-budget", device_time) if device_time else math.inf
    money = math.inf if cost is None else cost
    return Budget(math.inf if epochs is None else epochs, device_seconds, money, price or 0.0)


def seconds(option: str, text: str) -> float:
    """The seconds of a time such as "90", "90s", "30m", "2h" or "1.5d". ValueError for another text."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{option}={text!r} is no length of time; allowed: seconds, or such as 90s, 30m, 2h, 1.5d")
    return value
