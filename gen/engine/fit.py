"""`fit`: a run as a generator of ticks. Train a slice, evaluate, write rows, offer a checkpoint. No Ray."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from gen.config import RunConfig
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model, steering
from gen.engine.stage_one import install
from gen.engine.step import Stepper
from gen.engine.watch import Diverged
from gen.judge import Figure, Judge, open_judge
from gen.metrics.table import direction
from gen.phase import Model
from gen.pictures import grids
from gen.record.record import Home, Record
from gen.results.schema import WORST

CLOSED = "fitted in closed form"  # why a run without phases is complete
GUARDS = ("active_units", "least_rate", "used", "perplexity", "revived")  # what tells of a collapse


@dataclass(frozen=True)
class Tick:
    """Where a run stands after a slice of training and its evaluation."""

    tick: int
    epoch: float
    step: int
    images: int  # real ones drawn
    seconds: float  # over all attempts
    metrics: dict[str, float] = field(default_factory=dict)  # "phase/name" -> mean since the last tick
    evals: dict[str, float] = field(default_factory=dict)  # "metric/subject" -> value
    value: float = math.nan  # of the metric that steers
    best: float = math.nan
    guards: dict[str, float] = field(default_factory=dict)  # what tells of a collapse -> value
    ended: str = ""  # "finished", "stopped" or "failed"
    why: str = ""


def fit(
    config: RunConfig,
    dataset: Dataset,
    *,
    device: torch.device,
    workers: Workers = ALONE,
    home: Home | None = None,
    judge: Judge | None = None,
) -> Generator[Tick, str | None, None]:
    """Trains one run to the end of its budget, tick by tick.

    It goes on from home's last checkpoint of the same run. A reason sent into it (`ticks.send("why")`) ends the run as
    "stopped" and gives its last tick; `close()` leaves rows and a checkpoint from which it goes on. What is not finite
    ends it as "failed", the last good checkpoint kept. With several workers each iterates it; rank 0 writes.
    `judge`: one that a process keeps from run to run. ValueError for a config that does not fit the data.
    """
    run = Run(config.resolve(), dataset, device, workers, home, judge)
    if run.is_over():
        yield run.at(dict(run.evals))
        return
    again = bool(home and home.report_again and run.progress.tick)
    while not run.progress.status:
        tick, again = run.at({}) if again else run.tick(), False
        try:
            reason = yield tick
        except GeneratorExit:
            if not run.progress.status:  # one that has ended keeps what its end left
                run.record.save(run.progress, run.stepper)
            raise
        if reason and not run.progress.status:
            yield run.end("stopped", reason)


class Run:
    """One run's parts, and what `fit` does with them."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        device: torch.device,
        workers: Workers,
        home: Home | None,
        judge: Judge | None,
    ) -> None:
        self.config, self.dataset, self.device, self.workers = config, dataset, device, workers
        model = build_model(config, dataset, device)
        install(model, dataset)
        if config.train.sync_batchnorm:
            if device.type != "cuda":
                raise ValueError("train.sync_batchnorm=True needs CUDA devices; allowed on a CPU: False")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        dtype = torch.float64 if config.train.precision == "float64" else torch.float32
        draw = config.train.batch * config.train.micro_batches
        stream = Stream(dataset.splits["train"], config.seed, draw, device, dtype)
        self.stepper = Stepper(model, config.train, config.seed, stream, device, workers)
        if judge is None:
            judge = open_judge(dataset, config, device, workers, home.storage if home else None)
        self.judge = judge
        self.metric = steering(config, judge, model)
        self.cheap = [self.metric, config.evaluate.floor, *judge.cheap(model)]
        self.tick_images = config.evaluate.tick_images(stream.length)
        self.evals: dict[str, float] = {}
        self.record = Record(home, config, dataset, workers, self.metric)
        self.progress = self.record.resume(self.stepper)

    def is_over(self) -> bool:
        """Whether the run that was resumed has nothing left to do; else it is going on, which is an event."""
        if self.progress.status == "stopped" or (self.progress.status and self._complete()):
            return True
        if self.progress.tick:
            self.progress.status = self.progress.why = ""
            self.record.event(
                self.progress, "resume", f"from the checkpoint of tick {self.progress.tick}", self.progress.tick + 1
            )
        return False

    def tick(self) -> Tick:
        """One slice: train, evaluate, record; at the budget's end, the full protocol too."""
        config, stepper, progress = self.config, self.stepper, self.progress
        if why := self._complete():  # resumed at the very end, killed before the outcome
            return self.end("finished", why)
        progress.tick += 1
        start = time.perf_counter()
        before = stepper.images
        if progress.tick == 1:  # a fresh run: one that goes on has its buffers from the checkpoint
            stepper.fit()
        for _ in range(stepper.step, stepper.steps_until(progress.tick * config.evaluate.every)):
            stepper.advance()
        try:
            metrics = stepper.take_logs()  # the slice's one synchronisation
        except Diverged as error:
            progress.seconds += time.perf_counter() - start
            progress.last = math.nan
            return self.end("failed", str(error))
        trained = time.perf_counter()
        with stepper.evaluating() as model:
            figures = self.judge.figures(model, "validation", self.tick_images, self._weights, self.workers, self.cheap)
            self._weigh(model, figures)
            if config.evaluate.pictures and progress.tick % config.evaluate.pictures == 0:
                self._draw(model)
        evaluated = time.perf_counter()
        progress.seconds += evaluated - start
        progress.train_seconds += trained - start
        metrics |= {
            "engine/train_seconds": trained - start,
            "engine/evaluate_seconds": evaluated - trained,
            "engine/evaluate_share": (evaluated - trained) / (evaluated - start),
            "engine/images_per_second": (stepper.images - before) / (trained - start),
        }
        for phase in stepper.phases:
            metrics[f"{phase.name}/learning_rate"] = phase.optimizer.rate_at(stepper.epoch)
        progress.guards = guards(metrics, self.evals)
        self.record.rows(progress, stepper, metrics, figures, "tick")
        if why := self._complete():
            return self.end("finished", why, metrics)
        self.record.save_if_due(progress, stepper)
        return self.at(metrics)

    def end(self, status: str, why: str, metrics: dict[str, float] | None = None) -> Tick:
        """Closes the run. A finished one's best weights are measured in full, once, where every run's are to be."""
        progress = self.progress
        unmeasured = not progress.best_tick or progress.measured_tick != progress.best_tick
        if status == "finished" and self.config.evaluate.full == "all" and unmeasured:
            self._measure()
        if abs(progress.best) == WORST:
            floor = self.config.evaluate
            why = f"{why}; {floor.floor} was never {floor.least:g}, so it ranks last"
        progress.status, progress.why = status, why
        self.record.end(progress, self.stepper)
        return self.at(metrics or {})

    def _measure(self) -> None:
        """The full protocol on the best weights, and their grids; what that takes is the run's cost."""
        progress, start = self.progress, time.perf_counter()
        progress.measured_tick = progress.best_tick
        weights = self.record.best(progress, self.device)
        with self.stepper.evaluating() as shown:
            model = copy.deepcopy(shown)
        if weights is not None:
            model.load_state_dict(weights)
        figures = []
        for split in ("validation", "test"):
            count = self.config.evaluate.full_images
            figures += self.judge.figures(model, split, count, self._weights, self.workers)
        self._draw(model)
        taken = time.perf_counter() - start
        progress.seconds += taken
        metrics = {"engine/full_seconds": taken, "engine/full_share": taken / progress.seconds}
        self.record.rows(progress, self.stepper, metrics, figures, "best")

    def at(self, metrics: dict[str, float]) -> Tick:
        """The tick where the run stands."""
        progress = self.progress
        return Tick(
            tick=progress.tick,
            epoch=float(progress.tick * self.config.evaluate.every),
            step=self.stepper.step,
            images=self.stepper.images,
            seconds=progress.seconds,
            metrics=metrics,
            evals=dict(self.evals),
            value=progress.last,
            best=progress.best,
            guards=dict(progress.guards),
            ended=progress.status,
            why=progress.why,
        )

    @property
    def _weights(self) -> str:
        return "ema" if self.config.train.ema else "raw"

    def _weigh(self, model: Model, figures: list[Figure]) -> None:
        """Keeps the weights if the metric that steers is the best so far."""
        self.evals = {figure.name: figure.value for figure in figures}
        sign = 1 if direction(self.metric) == "max" else -1
        progress, value, floor = self.progress, self.evals[self.metric], self.config.evaluate.floor
        if floor and not self.evals[floor] >= self.config.evaluate.least:
            value = -sign * WORST
        progress.last = value
        if math.isfinite(value) and (not progress.best_tick or sign * value > sign * progress.best):
            progress.best, progress.best_tick = value, progress.tick
            progress.best_epoch = float(progress.tick * self.config.evaluate.every)
            progress.best_step, progress.best_images = self.stepper.step, self.stepper.images
            self.record.better(model.state_dict())

    def _draw(self, model: Model) -> None:
        """Grids of what the model makes. One that cannot be drawn is an event, and the run goes on."""
        if self.workers.rank == 0 and self.record.writes:
            progress = self.progress

            def failed(why: str) -> None:
                self.record.event(progress, "picture", why, progress.tick)

            for kind, png in grids(model, self.dataset, self.device, failed=failed):
                self.record.picture(progress, self.stepper, kind, png)

    def _complete(self) -> str:
        """Why the budget is used up; empty if it is not."""
        budget, every = self.config.budget, self.config.evaluate.every
        if not self.stepper.phases:  # one tick fits and measures it, and no further epoch would change anything
            return CLOSED if self.progress.tick else ""
        epoch = self.progress.tick * every
        if epoch >= budget.epochs:
            return f"{budget.epochs} epochs"
        if budget.patience and epoch - self.progress.best_tick * every >= budget.patience:
            return f"no better {self.metric} for {budget.patience} epochs"
        return ""


def guards(metrics: Mapping[str, float], evals: Mapping[str, float]) -> dict[str, float]:
    """What tells of a collapse, if the model has such: "least_rate" and "revived" as logged ("phase/name"), the others
    held out ("name/subject")."""
    told = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    told |= {name.partition("/")[0]: value for name, value in evals.items()}
    return {name: told[name] for name in GUARDS if name in told}
