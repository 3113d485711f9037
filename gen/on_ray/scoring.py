"""Workers that measure stored weights: each run's figures that are missing, and a file of rows after each run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
import torch.distributed

from gen.config import RunConfig
from gen.data.dataset import Dataset, check_trained_on
from gen.distributed.machine import set_threads
from gen.distributed.workers import Workers
from gen.engine.build import build_model
from gen.engine.per_process import dataset_of, judge_of
from gen.judge import Figure, Judge
from gen.phase import Model
from gen.pictures import grids
from gen.record import checkpoint
from gen.results.lease import holder_of
from gen.results.ledger import Slot
from gen.results.queries import evals
from gen.results.schema import LATER_SECONDS
from gen.results.storage import Storage

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> rows."""

Known = Mapping[tuple[str, float], set[str]]
"""(run, epoch of its best weights) -> protocols of the figures on record."""


@dataclass(frozen=True)
class Stored:
    """The best weights of a run."""

    run: str
    tick: int
    data_hash: str
    config: RunConfig  # as they are to be judged: the run's own, with other features where those are asked for

    @property
    def epoch(self) -> float:
        """How long they were trained."""
        return float(self.tick * self.config.evaluate.every)


@dataclass(frozen=True)
class Wanted:
    """What a driver sends to its workers. Picklable."""

    storage: Storage
    experiment: str
    stored: Sequence[Stored]
    splits: Sequence[str]
    images: int  # 0: as many as each run's full protocol
    metrics: Sequence[str]  # none: all
    data_root: str | None
    download: bool

    def missing(self, judge: Judge, model: Model, one: Stored, split: str, known: Known) -> list[Figure]:
        """The figures of one split that are wanted and not on record, without their values."""
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
        found = dataset_of(one.config.data, self.data_root, self.download)
        check_trained_on(found, one.run, one.data_hash)
        return found


def on_record(storage: Storage, experiment: str) -> Known:
    """What `evals` holds of best weights."""
    found: dict[tuple[str, float], set[str]] = {}
    frame = evals(storage, experiment, scope="best")
    for run, epoch, protocol in zip(frame["run"], frame["epoch"], frame["protocol"], strict=True):
        found.setdefault((run, float(epoch)), set()).add(protocol)
    return found


def score_worker(sent: Mapping[str, Any]) -> None:
    """The function of a Ray Train worker: `sent` holds "wanted", "attempt" and "lines", the queue that the driver
    prints from. A worker that stands in for one that broke goes on with what is missing then."""
    import ray.train.torch

    wanted: Wanted = sent["wanted"]
    set_threads(wanted.stored[0].config.machine.threads)
    workers, device = Workers.current(), ray.train.torch.get_device()
    box = [on_record(wanted.storage, wanted.experiment) if workers.rank == 0 else None]
    if workers.size > 1:
        torch.distributed.broadcast_object_list(box, src=0)
    known = box[0]
    assert known is not None
    slot = Slot(wanted.storage, wanted.experiment, f"{sent['attempt']}-{uuid.uuid4().hex[:8]}", kind="evaluated")
    for one in wanted.stored:
        rows = score(wanted, one, known, device, workers)
        if workers.rank == 0 and rows:
            if holder_of(wanted.storage, wanted.experiment) != sent["attempt"]:
                raise RuntimeError(f"the lease of {wanted.experiment!r} is no longer this job's; nothing was written")
            slot.extend(of_attempt(rows, sent["attempt"]))
            sent["lines"].put(
                [(row["split"], row["metric"], row["subject"], row["value"], one.run) for row in rows["evals"]]
            )


def of_attempt(rows: Rows, attempt: str) -> Rows:
    """Rows with their attempt, for a slot."""
    return {table: [{**row, "attempt": attempt} for row in of_table] for table, of_table in rows.items()}


def score(
    wanted: Wanted, one: Stored, known: Known, device: torch.device, workers: Workers, pictures: bool = False
) -> Rows:
    """The rows of a run's missing figures, and of what they cost, but for their attempt; with its grids if `pictures`.
    Empty if nothing is missing."""
    config, dataset = one.config, wanted.dataset(one)
    judge = judge_of(config, wanted.data_root, wanted.download, wanted.storage, device, workers)
    start = time.perf_counter()  # a process opens data and judge once, for whichever run comes first
    state = checkpoint.load_best(wanted.storage, wanted.experiment, one.run, device)
    model = build_model(config, dataset, device)
    model.load_state_dict(state["weights"])
    model.eval().requires_grad_(False)
    here = {"experiment": wanted.experiment, "run": one.run}
    here |= {name: state[name] for name in ("tick", "step", "epoch", "images")}
    found: list[dict[str, Any]] = []
    for split in wanted.splits:
        names = {figure.name for figure in wanted.missing(judge, model, one, split, known)}
        if names:
            images, weights = wanted.images_of(one), wanted.weights_of(one)
            figures = judge.figures(model, split, images, weights, workers, names)
            found += [here | {"scope": "best"} | figure.row() for figure in figures]
    if not found:
        return {}
    rows = {"evals": found}
    if pictures:
        failures = list[str]()
        of_picture = {name: here[name] for name in here if name != "images"}
        drawn = grids(model, dataset, device, failed=failures.append)
        rows["samples"] = [of_picture | {"kind": kind, "png": png} for kind, png in drawn]
        of_event = {name: here[name] for name in ("experiment", "run", "tick", "epoch")}
        of_event |= {"kind": "picture", "detail": "{}"}
        rows["events"] = [of_event | {"why": why, "time": datetime.now(UTC)} for why in failures]
    taken = time.perf_counter() - start
    rows["metrics"] = [here | {"seconds": taken, "name": LATER_SECONDS, "value": taken}]
    return rows
