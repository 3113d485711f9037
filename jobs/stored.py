"""Which stored weights jobs.evaluate is asked to measure, how, and what of that is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from gen import results
from gen.checks import at_least
from gen.config import DataConfig, EvaluateConfig, RunConfig, override
from gen.data.sources import everywhere
from gen.engine.build import build_model
from gen.judge import Features, Figure, Judge, judge_by
from gen.metrics.table import METRICS
from gen.on_ray.scoring import Stored, Wanted, on_record
from gen.record import checkpoint
from gen.results.best import rank_runs
from gen.zoo import restore
from jobs.options import split_names


def find(*, storage: str, name: str, runs: Sequence[str], best: int | None, **options: Any) -> Wanted:
    """The options of jobs.evaluate as one value. ValueError for whatever is wrong with them."""
    place, root = results.Storage(storage), options["data_root"]
    begun = results.runs(place, name).set_index("run")
    ticks = {run: tick for run in begun.index if (tick := checkpoint.best_tick(place, name, run))}
    if best is not None:
        at_least("best", best, 1)
        if runs:
            raise ValueError("run and best both choose runs; say one of them")
        runs = list(rank_runs(place, name).dropna(subset=["best", "checkpoint"])["run"])[:best]
    for run in runs:
        if run not in ticks:
            known = ", ".join(ticks) or "none"
            raise ValueError(f"run {run!r} of {name} has no stored weights; those that have: {known}")
    if not ticks:
        raise ValueError(f"no run of {name} in {place} has stored weights")
    metrics = split_names("metrics", options["metrics"])
    images = options["images"] or 0
    if options["images"] is not None:
        at_least("images", images, 2)
    settings: dict[str, Any] = {"machine.device": options["device"], "machine.workers": options["workers"]}
    if options["importance_samples"] is not None:
        settings["evaluate.importance_samples"] = options["importance_samples"]
    if options["features"] is not None:
        settings["evaluate.features"] = everywhere(options["features"])
    if options["inception_weights"]:
        settings["machine.inception_weights"] = str(Path(options["inception_weights"]).expanduser().absolute())
    return Wanted(
        place,
        name,
        [
            Stored(run, ticks[run], begun["data_hash"][run], judged_as(begun["config"][run], settings))
            for run in dict.fromkeys(runs or ticks)
        ],
        tuple(dict.fromkeys(options["splits"])) or ("validation", "test"),
        images,
        metrics,
        str(Path(root).expanduser().absolute()) if root else None,
        options["download"],
    )


def missing(wanted: Wanted) -> Iterator[tuple[str, Figure]]:
    """Run and figure, for all that is wanted and not on record. ValueError for a metric that no run has."""
    known, had = on_record(wanted.storage, wanted.experiment), set[str]()
    judges: dict[tuple[DataConfig, EvaluateConfig], Judge] = {}
    for one in wanted.stored:
        config, dataset = one.config, wanted.dataset(one)
        if (key := (config.data, config.evaluate)) not in judges:
            features = Features.of(config, wanted.data_root, wanted.download)
            extractor = features.find(dataset, wanted.storage)
            judges[key] = judge_by(extractor, dataset, config.evaluate, torch.device("cpu"))
        model = build_model(config, dataset, torch.device("cpu"))
        for split in wanted.splits:
            had |= {figure.metric for figure in judges[key].plan(model, split, wanted.images_of(one), "raw")}
            yield from ((one.run, figure) for figure in wanted.missing(judges[key], model, one, split, known))
    if absent := [metric for metric in wanted.metrics if metric not in had]:
        needs = [f"{name} needs a model that {' or '.join(METRICS[name].needs)}" for name in absent if name in METRICS]
        more = "".join(f"; {one}" for one in needs)
        allowed = ", ".join(sorted(had))
        raise ValueError(f"metrics={','.join(absent)}: not measured for these runs; allowed: {allowed}{more}")


def judged_as(text: str, settings: dict[str, Any]) -> RunConfig:
    """A run's config with other features and another machine."""
    return override(restore(text), settings)
