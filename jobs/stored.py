"""Which stored weights jobs.evaluate is asked to measure, how, and what of that is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from typing import Any

import torch

from gen import capabilities, results
from gen.capabilities import has
from gen.checks import at_least
from gen.config import DataConfig, EvaluateConfig, RunConfig, override
from gen.data.dataset import open_dataset
from gen.engine.build import build_model
from gen.judge import Features, Figure, Judge, judge_by
from gen.judge.features import MODES
from gen.metrics.table import FRECHET, METRICS, frechet_name
from gen.on_ray.scoring import Stored, Wanted
from gen.phase import Model
from gen.record import checkpoint
from gen.record.later import on_record
from gen.results.best import rank_runs
from gen.results.queries import run_of
from gen.results.ranking import costs
from gen.zoo import restore
from jobs.experiments import tell_fresh
from jobs.options import split_names
from jobs.places import absolute, data_at, storage_at
from jobs.progress import decode_here


def find(*, storage: str, name: str, runs: Sequence[str], best: int | None, **options: Any) -> Wanted:
    """The options of jobs.evaluate as one value. ValueError for whatever is wrong with them."""
    place = storage_at(storage)
    begun = results.runs(place, name).set_index("run")
    ticks = {run: tick for run in begun.index if (tick := checkpoint.best_tick(place, name, run))}
    if best is not None:
        at_least("best", best, 1)
        if runs:
            raise ValueError("run and best both choose runs; say one of them")
        tell_fresh(place, name)
        runs = list(rank_runs(place, name).dropna(subset=["best", "checkpoint"])["run"])[:best]
    runs = [run_of(run, begun.index, f"experiment {name}") or run for run in runs]
    for run in runs:
        if run not in ticks:
            known = ", ".join(ticks) or "none"
            raise ValueError(f"run {run!r} of {name} has no stored weights; those that have: {known}")
    if not ticks:
        raise ValueError(f"no run of {name} in {place} has stored weights")
    metrics, seconds = split_names("metrics", options["metrics"]), costs(place, name)
    images = options["images"] or 0
    if options["images"] is not None:
        at_least("images", images, 2)
    settings: dict[str, Any] = {"machine.device": options["device"], "machine.workers": options["workers"]}
    if options["importance_samples"] is not None:
        settings["evaluate.importance_samples"] = options["importance_samples"]
    if options["features"] is not None:
        settings["evaluate.features"] = data_at("features", options["features"])
    if options["inception_weights"]:
        settings["machine.inception_weights"] = absolute("inception-weights", options["inception_weights"])
    return Wanted(
        place,
        name,
        [
            Stored(
                run,
                ticks[run],
                begun["data_hash"][run],
                judged_as(begun["config"][run], settings),
                seconds.get(run, math.nan),
            )
            for run in dict.fromkeys(runs or ticks)
        ],
        tuple(dict.fromkeys(options["splits"])) or ("validation", "test"),
        images,
        metrics,
        absolute("data-root", options["data_root"]),
        options["download"],
    )


def missing(wanted: Wanted) -> Iterator[tuple[str, Figure]]:
    """Run and figure, for each wanted figure that the tables lack. ValueError for a metric that no run has."""
    known, had, able = on_record(wanted.storage, wanted.experiment), set[str](), set[str]()
    judges: dict[tuple[DataConfig, EvaluateConfig], Judge] = {}
    for data in dict.fromkeys(one.config.data for one in wanted.stored):
        # looks whether files were overwritten
        open_dataset(data, wanted.data_root, wanted.download, runner=decode_here)
    for one in wanted.stored:
        config, dataset = one.config, wanted.dataset(one)
        if (key := (config.data, config.evaluate)) not in judges:
            features = Features.of(config, wanted.data_root, wanted.download)
            extractor = features.find(dataset, wanted.storage)
            teller = features.find_teller(dataset, extractor, wanted.storage)
            judges[key] = judge_by(extractor, dataset, config.evaluate, torch.device("cpu"), teller=teller)
        model = build_model(config, dataset, torch.device("cpu"))
        able |= measurable(model)
        for split in wanted.splits:
            had |= {figure.metric for figure in judges[key].plan(model, split, wanted.images_of(one), "raw")}
            yield from ((one.run, figure) for figure in wanted.missing(judges[key], model, one, split, known))
    if absent := [metric for metric in wanted.metrics if metric not in had]:
        extractors = sorted({judge.extractor.name for judge in judges.values()})
        why = "".join(f"; {one}" for one in dict.fromkeys(reason(name, able, extractors) for name in absent) if one)
        allowed = ", ".join(sorted(had))
        raise ValueError(f"metrics={','.join(absent)}: not measured for these runs; allowed: {allowed}{why}")


def measurable(model: Model) -> set[str]:
    """The names of the metrics of which a model has the capability."""
    return {
        metric.name
        for metric in METRICS.values()
        if any(has(model, getattr(capabilities, one)) for one in metric.needs)
    }


def reason(name: str, able: Set[str], extractors: Sequence[str]) -> str:
    """Why models do not have a metric in the features of these extractors; "" if it is no metric. `able`: the metrics
    of which the models have the capability."""
    metric = FRECHET if name.startswith(f"{FRECHET}_") else name
    if metric not in METRICS:
        return ""
    if metric not in able:
        return f"{name} needs a model that {' or '.join(METRICS[metric].needs)}"
    if metric in (FRECHET, "fid"):
        called = ", ".join(dict.fromkeys(map(frechet_name, extractors)))
        return f"the Frechet distance in the features of {', '.join(extractors)} is {called}; --features takes others"
    if name in MODES:
        return f"{name} needs a data set with classes"
    return f"{name} is not measured in the features of {', '.join(extractors)}, or not of so few images"


def judged_as(text: str, settings: dict[str, Any]) -> RunConfig:
    """A run's config, from JSON, with the settings by which jobs.evaluate is asked to measure it."""
    return override(restore(text), settings)
