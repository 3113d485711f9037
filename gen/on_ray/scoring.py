"""Measures the stored best weights of runs: the figures that each run lacks, written after each run."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch

from gen.capabilities import Plays, has
from gen.config import RunConfig
from gen.damage import take_remarks
from gen.data.dataset import Dataset, check_trained_on
from gen.distributed.machine import set_threads
from gen.distributed.memory import fitting
from gen.distributed.workers import Workers
from gen.engine.build import build_model
from gen.engine.per_process import dataset_of, judge_of
from gen.judge import Figure, Judge
from gen.judge.judge import Tell, silence
from gen.phase import Model
from gen.pictures import grids
from gen.record import checkpoint
from gen.record.floors import measure_floors, record
from gen.record.later import Known, Rows, join, later_rows, of_attempt, on_record, picture_rows
from gen.results.floor import ONE_FLOOR, lacking
from gen.results.ledger import Slot
from gen.results.storage import Storage


@dataclass(frozen=True)
class Stored:
    """The best weights of a run."""

    run: str
    tick: int
    data_hash: str
    config: RunConfig  # the run's own, but for the features and the machine that are asked for
    cost: float = math.nan  # seconds of the run, with those of measuring it before; NaN: it has not ended

    @property
    def epoch(self) -> float:
        """Epochs that these weights were trained for."""
        return float(self.tick * self.config.evaluate.every)


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, as a driver sends it to its workers. Picklable."""

    storage: Storage
    experiment: str
    stored: Sequence[Stored]
    splits: Sequence[str]
    images: int  # 0: as many as each run's full protocol
    metrics: Sequence[str]  # none: all
    data_root: str | None
    download: bool

    def missing(self, judge: Judge, model: Model, one: Stored, split: str, known: Known) -> list[Figure]:
        """The figures of one split that are wanted and that the tables lack, without their values."""
        planned = judge.plan(model, split, self.images_of(one), self.weights_of(one))
        had: Collection[str] = known.get((one.run, one.epoch), ())
        return [
            figure
            for figure in planned
            if (not self.metrics or figure.metric in self.metrics) and figure.protocol not in had
        ]

    def images_of(self, one: Stored) -> int:
        """Images to measure a run by."""
        return self.images or one.config.evaluate.full_images

    def weights_of(self, one: Stored) -> str:
        """Which weights a run keeps."""
        return "ema" if one.config.train.ema else "raw"

    def dataset(self, one: Stored) -> Dataset:
        """The run's images. ValueError if they are not those that it was trained on."""
        found = dataset_of(one.config.data, self.data_root, self.download, one.data_hash)
        check_trained_on(found, one.run, one.data_hash)
        return found


def score_worker(sent: Mapping[str, Any]) -> None:
    """The function of a Ray Train worker: `sent` holds "wanted", "attempt" and "queue", from which the driver prints
    rows, and texts that say what is measured. A worker in the place of one that broke measures what is missing then."""
    import ray.train.torch

    from gen.on_ray.alive import end_with_head  # which imports Ray; jobs that refuse bad input do not wait for it

    end_with_head()
    wanted: Wanted = sent["wanted"]
    set_threads(wanted.stored[0].config.machine.threads)
    workers, device = Workers.current(), ray.train.torch.get_device()
    first = workers.rank == 0
    known = workers.share(on_record(wanted.storage, wanted.experiment) if first else {})
    slot = Slot(wanted.storage, wanted.experiment, f"{sent['attempt']}-{uuid.uuid4().hex[:8]}", kind="evaluated")
    looked = set[tuple[Any, ...]]()  # for which floors are lacking
    for number, one in enumerate(wanted.stored, 1):
        told = partial(say, sent["queue"], f"measuring run {number} of {len(wanted.stored)}: ")
        tell = told if first else silence
        with fitting(device, workers):
            rows = score(wanted, one, known, device, workers, tell=tell)
        if not rows:
            continue
        kinds = {(one.data_hash, *(row[column] for column in ONE_FLOOR)) for row in rows["evals"]}
        if kinds - looked:  # floors first: nobody looks at a run again that has its figures
            looked |= kinds
            place, figures = (wanted.storage, wanted.experiment), pd.DataFrame(rows["evals"])
            asked = workers.share(lacking(*place, figures) if first else {})
            judge = judge_of(one.config, wanted.data_root, wanted.download, wanted.storage, device, workers)
            for of_floor in measure_floors(*place, asked, judge, workers.size, workers, tell):
                record(slot, sent["attempt"], of_floor)
        if first:
            slot.extend(of_attempt(rows, sent["attempt"]))
            sent["queue"].put(
                [(row["split"], row["metric"], row["subject"], row["value"], one.run) for row in rows["evals"]]
            )


def say(queue: Any, start: str, text: str) -> None:
    """Puts a text for the driver, behind its `start`, into a queue."""
    queue.put(start + text)


def score(
    wanted: Wanted,
    one: Stored,
    known: Known,
    device: torch.device,
    workers: Workers,
    pictures: bool = False,
    tell: Tell = silence,
) -> Rows:
    """The rows of the figures that a run lacks, of the seconds that these took and, if `pictures`, of its grids; the
    rows name no attempt yet. Empty if no figure is missing. `tell` hears what is measured next."""
    config, dataset = one.config, wanted.dataset(one)
    judge = judge_of(config, wanted.data_root, wanted.download, wanted.storage, device, workers)
    start = time.perf_counter()  # not of opening data and judge, which a process does once, whichever run comes first
    state = checkpoint.load_best(wanted.storage, wanted.experiment, one.run, device)
    model = build_model(config, dataset, device)
    checkpoint.put_weights(model, state["weights"], one.run)
    model.eval().requires_grad_(False)
    here = {"experiment": wanted.experiment, "run": one.run}
    here |= {name: state[name] for name in ("tick", "step", "epoch", "images")}
    figures = list[Figure]()
    for split in wanted.splits:
        names = {figure.name for figure in wanted.missing(judge, model, one, split, known)}
        if names:
            images, weights = wanted.images_of(one), wanted.weights_of(one)
            figures += judge.figures(model, split, images, weights, workers, names, tell)
    for line in take_remarks():
        tell(line)
    if not figures:
        return {}
    failures, rows = list[str](), dict[str, Any]()
    if pictures:
        tell("pictures")
        drawn = list(grids(model, dataset, device, failed=failures.append))
        rows = picture_rows(wanted.storage, here, drawn, failures)
    return join(rows, later_rows(here, figures, time.perf_counter() - start, one.cost, has(model, Plays)))
