"""Runs by the names that people type, such as EXPERIMENT/RUN; the first stage that such a name gives a config."""

from __future__ import annotations

import dataclasses

from gen import results
from gen.config import AugmentConfig, RunConfig, on_stage
from gen.engine.stage_one import CPU, stage_of
from gen.record import checkpoint
from gen.record.best import best_run
from gen.results.queries import run_of, shown
from gen.zoo import restore
from jobs.experiments import experiments_of


def find_run(storage: results.Storage, text: str) -> tuple[str, str]:
    """Experiment and run that `text` names: EXPERIMENT/RUN, EXPERIMENT (its best run), or RUN of any experiment; RUN
    may be a beginning that no other has. ValueError if there is none, or more than one."""
    experiment, sign, run = text.partition("/")
    experiments = experiments_of(storage)
    if sign:
        with_weights = storage.folders(f"{experiment}/_checkpoints") if experiment in experiments else []
        found = run_of(run, with_weights, f"experiment {experiment}") if run else None
        if found is None:
            there = f"runs with weights: {shown(with_weights) or 'none'}"
            if experiment not in experiments:
                there = f"experiments: {', '.join(experiments) or 'none'}"
            raise ValueError(f"stage-one={text!r} names no run with weights in {storage}; {there}")
        return experiment, found
    if text in experiments:
        return text, best_run(storage, text)
    holders = [
        (name, run)
        for name in experiments
        for run in storage.folders(f"{name}/_checkpoints")
        if text and run.startswith(text)
    ]
    holders = [(name, run) for name, run in holders if run == text] or holders
    if len(holders) != 1:
        found_in = ", ".join(f"{name}/{run}" for name, run in holders)
        there = f"it is {found_in}" if holders else f"experiments: {', '.join(experiments) or 'none'}"
        raise ValueError(f"stage-one={text!r} names no one run in {storage}; give EXPERIMENT/RUN; {there}")
    return holders[0]


def on_first_stage(config: RunConfig, storage: results.Storage, text: str) -> RunConfig:
    """`config` on the first stage that `text` names, and on the data of that stage: its codes are those of images as
    they are, however they were changed while it trained. ValueError if they do not fit."""
    on_stage(config, None)  # refuses what has no first stage before anything is read
    experiment, run = find_run(storage, text)
    state = checkpoint.load_best(storage, experiment, run, CPU)
    first = restore(state["config"])
    rows = results.queries.read(storage, experiment, "runs", {"run": run})
    if rows.empty:
        raise ValueError(f"run {run} of {experiment} has not ended; submit it again, so that it does")
    stage = stage_of(first, experiment, run, state["weights"], str(rows["data_hash"].iloc[-1]))
    data = dataclasses.replace(first.data, augment=AugmentConfig())
    return dataclasses.replace(on_stage(config, stage), data=data)
