"""What a search was asked for: the options of jobs.tune as a space, runs and a budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ray.tune.search.sample import Categorical, Domain

from gen.checks import at_least
from gen.config import Machine, RunConfig, TwoStageConfig, override
from gen.data.dataset import Dataset
from gen.engine.build import build_model
from gen.metrics.table import direction, is_known
from gen.record import names
from jobs.options import Asked, check_ticks, pair, resolve
from tune_spaces import InTurn, Space, check_objective, check_searchable, draw, extend, pin, space_for

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Plan:
    """A search that was asked for, with all of its runs."""

    asked: Asked
    space: Space
    configs: Sequence[RunConfig]  # each configuration with each seed, the seeds of one next to each other
    seeds: int
    most: int  # runs at a time; 0: as many as fit
    seconds: float  # after which it ends; submitted again, it goes on
    gpus: float | None  # of a run, all its workers together; None: one a worker, if there are any
    named: str = ""  # name of the space; "": the family's own

    def about(self) -> dict[str, Any]:
        """What the search is beside its settings: the rest of the note that says what its name stands for."""
        space = self.space
        keys = {key: words(domain) for key, domain in sorted(space.keys.items())}
        about: dict[str, Any] = {"space": keys, "grace": space.grace, "reduction": space.reduction}
        about |= {key: value for key, value in (("named", self.named), ("tied", dict(space.tied))) if value}
        return about | {"samples": space.samples, "seeds": self.seeds}

    def note(self, data_hash: str) -> dict[str, Any]:
        """The note of the experiment, which says what its name stands for."""
        about = self.about()
        grows = {key: about.pop(key) for key in ("samples", "seeds")}
        return names.note(self.space.config, data_hash, job="tune", search=about, **grows)

    def open(self) -> Dataset:
        """The data set. ValueError where it is missing or damaged, where a draw does not fit it, or where runs do not
        compare by the figure that is to steer them."""
        config = self.space.config
        dataset = dataclasses.replace(self.asked, config=override(config, {"evaluate.metric": ""})).open()
        looks = isinstance(config.model, TwoStageConfig)  # to build a prior runs its first stage, on numbers
        with torch.device("cpu" if looks else "meta"):
            for one in {repr(one.model): one.model for one in self.configs}.values():
                one.build(dataset.shape)  # each draw fits the images
        model, judge = build_model(config, dataset, torch.device("cpu")), self.asked.naming_judge(dataset)
        measured, metric = judge.steers(model), judge.full_name(config.evaluate.metric)
        check_objective(self.space, metric, self.configs, measured, [phase.name for phase in model.phases()])
        return dataset


def plan(options: dict[str, Any]) -> Plan:
    """The options of jobs.tune as a plan. ValueError for whatever is wrong with them."""
    changes = {key: options.pop(key) for key in ("samples", "grace", "reduction")}
    choices, named = dict(pair(text) for text in options.pop("choices")), options.pop("space") or ""
    metric, mode, seeds, most, time = (options.pop(key) for key in ("metric", "mode", "seeds", "most", "time"))
    longest, epochs = options.pop("max_epochs"), options["epochs"]
    if None not in (longest, epochs) and longest != epochs:
        raise ValueError(f"epochs={epochs} and max-epochs={longest} say the same thing differently; say one of them")
    options["epochs"] = epochs = longest if epochs is None else epochs
    workers, gpus = options.pop("workers_per_trial"), options.pop("gpus_per_trial")
    if options["workers"] not in (None, 1):
        raise ValueError(f"workers={options['workers']}: those of a search's run are --workers-per-trial; allowed: 1")
    options["workers"] = workers
    asked = resolve(options)
    check_gpus(gpus, asked.config.machine)
    space = space_for(asked.config, named)
    config, every = asked.config, asked.config.evaluate.every
    if not epochs and "budget.epochs" not in asked.pinned:
        config = override(config, {"budget.epochs": math.ceil(space.max_epochs / every) * every})
    check_ticks(config)
    full = "evaluate.full" in asked.pinned
    metric = metric or config.evaluate.metric or space.metric
    if is_known(metric):  # an unknown one is refused later, with the names of the entry's figures
        direction(metric, mode)
        direction(metric, config.evaluate.mode)
    config = override(
        config, {"evaluate.metric": metric, "evaluate.mode": ""} | ({} if full else {"evaluate.full": "leaders"})
    )
    space = dataclasses.replace(space, config=config, **{key: new for key, new in changes.items() if new is not None})
    if changes["grace"] is None:
        space = dataclasses.replace(space, grace=math.ceil(space.grace / every) * every)
    space = extend(pin(space, asked.pinned), choices)
    check_searchable(space)
    for name, value, low in (("samples", space.samples, 1), ("grace", space.grace, 1), ("seeds", seeds, 1)):
        at_least(name, value, low)
    at_least("reduction", space.reduction, 2)
    at_least("max-concurrent", most, 0)
    if space.grace % every:
        raise ValueError(f"grace={space.grace} is no multiple of evaluate.every={every}: nothing is measured there")
    drawn = [override(config, draw(space, config.seed, index)) for index in range(space.samples)]
    configs = [override(one, {"seed": one.seed + more}).resolve() for one in drawn for more in range(seeds)]
    asked = dataclasses.replace(asked, config=config)
    return Plan(asked, space, configs, seeds, most, seconds(time) if time else math.inf, gpus, named)


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


def seconds(text: str) -> float:
    """The seconds of a time such as "90", "90s", "30m", "2h" or "1.5d". ValueError for another text."""
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"time-budget={text!r} is no length of time; allowed: seconds, or such as 90s, 30m, 2h, 1.5d")
    return value
