"""`fit`: a run as a generator of ticks. Train a slice, evaluate, write rows, offer a checkpoint. No Ray."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Collection, Generator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from gen.capabilities import Plays, has
from gen.config import RunConfig, override
from gen.damage import take_remarks
from gen.data.dataset import Dataset
from gen.data.stream import Stream
from gen.distributed.memory import noting, release
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model, check_memory, further, steering
from gen.engine.collapse import RECALL, Watched, look
from gen.engine.guards import guards
from gen.engine.players import Spectator
from gen.engine.stage_one import install
from gen.engine.step import Stepper
from gen.engine.tick import Tick as Tick
from gen.engine.too_large import end_unbuilt
from gen.engine.watch import Diverged
from gen.judge import Figure, Judge, open_judge
from gen.judge.judge import Tell, silence
from gen.judge.missed import DETECTOR, line_of, missed
from gen.metrics.table import direction
from gen.phase import Model
from gen.pictures import grids
from gen.record import checkpoint
from gen.record.later import join, later_rows, of_attempt, on_record, picture_rows
from gen.record.record import Home, Record
from gen.results.ledger import Slot
from gen.results.ranking import costs
from gen.results.schema import FULL_SHARE, WORST

SPLITS = ("validation", "test")  # of the full protocol
CLOSED = "fitted in closed form"  # why a run without phases is complete


def fit(
    config: RunConfig,
    dataset: Dataset,
    *,
    device: torch.device,
    workers: Workers = ALONE,
    home: Home | None = None,
    judge: Judge | None = None,
    tell: Tell = silence,
) -> Generator[Tick, str | None, None]:
    """Trains one run to the end of its budget, tick by tick.

    The run goes on from the last checkpoint that `home` has of it. A reason sent in (`ticks.send("why")`) ends it as
    "stopped" and gives its last tick; `close()` leaves rows and a checkpoint from which it can go on. A loss, log or
    gradient norm that is not finite ends it as "failed", and the last good checkpoint stays; so, of one worker, does
    memory that it does not get. A run that has ended gives its last tick again; if it finished, first the figures are
    measured that `evaluate.full` asks for by now and that it lacks, or a remark says that they had no memory. Several
    workers iterate one generator each; rank 0 writes. `judge`: the one that this process keeps from run to run; by
    default a new one. `tell` hears what is measured next in full. ValueError for a config that does not fit the data.
    """
    too_large = list[str]()
    with noting(device, workers, too_large.append):
        run = Run(config.resolve(), dataset, device, workers, home, judge, tell)
    if too_large:
        yield end_unbuilt(config.resolve(), dataset, device, home, judge, *too_large)
        return
    if run.is_over():
        with noting(device, workers, run.remark_unmeasured):
            run.measure_later()
        yield run.at(dict(run.evals))
        return
    again = bool(home and home.report_again and run.progress.tick)
    while not run.progress.status:
        tick, again = run.at({}) if again else run.tick(), False
        try:
            reason = yield tick
        except GeneratorExit:
            if not run.progress.status:  # a run that has ended keeps what its end recorded
                run.record.save(run.progress, run.stepper)
            raise
        if reason and not run.progress.status:
            yield run.end("stopped", reason)


class Run:
    """The parts of one run, and what `fit` does with them."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        device: torch.device,
        workers: Workers,
        home: Home | None,
        judge: Judge | None,
        tell: Tell = silence,
    ) -> None:
        begun, config = config, override(config, home.taken.settings) if home and home.taken else config
        self.config, self.dataset, self.device, self.workers, self.tell = config, dataset, device, workers, tell
        model = build_model(config, dataset, device)
        check_memory(config, model, device.type == "cpu")
        install(model, dataset)
        if config.train.sync_batchnorm:
            if device.type != "cuda":
                raise ValueError("train.sync_batchnorm=True needs CUDA devices; allowed on a CPU: False")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        dtype = torch.float64 if config.train.precision == "float64" else torch.float32
        draw = config.train.batch * config.train.micro_batches
        stream = Stream(dataset.splits["train"], config.seed, draw, device, dtype, augment=config.data.augment)
        self.stepper = Stepper(model, config.train, config.seed, stream, device, workers)
        if judge is None:
            judge = open_judge(dataset, config, device, workers, home.storage if home else None)
        self.judge = judge
        self.metric = steering(config, judge, model)
        self.cheap = [self.metric, config.evaluate.floor, *further(config, judge), *judge.cheap(model)]
        if config.watch.recall:
            self.cheap.append(RECALL)
        self.tick_images = config.evaluate.tick_images(stream.length)
        self.spectator = Spectator(config, dataset, self.stepper, self.tick_images) if has(model, Plays) else None
        self.evals, self.remarks = dict[str, float](), list[str]()
        self.record = Record(home, begun, dataset, workers, self.metric)
        self.progress = self.record.resume(self.stepper)

    def is_over(self) -> bool:
        """Whether a resumed run has nothing left to do. If it goes on instead, that is recorded as an event."""
        if self.progress.status == "stopped" or (self.progress.status and self._complete()):
            return True
        if self.progress.tick:
            self.progress.status = self.progress.why = ""
            tick, hosts = self.progress.tick, self.record.hosts
            self.record.event(self.progress, "resume", f"from the checkpoint of tick {tick}", tick + 1, hosts=hosts)
        return False

    def tick(self) -> Tick:
        """The next slice; for want of memory the run's end."""
        too_large = list[str]()
        with noting(self.device, self.workers, too_large.append):
            return self._tick()
        self.progress.last = math.nan
        release()
        return self.end("failed", *too_large)

    def _tick(self) -> Tick:
        """One slice: train, evaluate, record; at the budget's end, the full protocol too."""
        config, stepper, progress = self.config, self.stepper, self.progress
        if why := self._complete():  # it was killed between its last tick and its outcome
            return self.end("finished", why)
        progress.tick += 1
        start, before = time.perf_counter(), stepper.images
        if progress.tick == 1:  # a run that goes on has what was fitted from its checkpoint
            stepper.fit()
            progress.watched = self._begin_watch()
        for _ in range(stepper.step, stepper.steps_until(progress.tick * config.evaluate.every)):
            stepper.advance()
        try:
            metrics = stepper.take_logs()  # the slice's one synchronisation
        except Diverged as error:
            progress.seconds += time.perf_counter() - start
            progress.last = math.nan
            return self.end("failed", str(error))
        trained_at = time.perf_counter()
        watched = self.spectator.held_out() if self.spectator else {}
        with stepper.evaluating() as model:
            watched |= self.spectator.fakes(model) if self.spectator else {}
            figures = self.judge.figures(model, "validation", self.tick_images, self._weights, self.workers, self.cheap)
            self._weigh(model, figures)
            asked = config.evaluate.pictures > 0 and progress.tick % config.evaluate.pictures == 0
            if asked or (self._draws_ends and progress.tick == 1):
                self._draw(model)
            elif self._draws_way:
                self._draw(model, way=True)
        evaluated_at = time.perf_counter()
        progress.seconds += evaluated_at - start
        progress.train_seconds += trained_at - start
        metrics |= watched
        metrics |= {
            "engine/train_seconds": trained_at - start,
            "engine/evaluate_seconds": evaluated_at - trained_at,
            "engine/evaluate_share": (evaluated_at - trained_at) / (evaluated_at - start),
            "engine/images_per_second": (stepper.images - before) / (trained_at - start),
        }
        for phase in stepper.phases:
            metrics[f"{phase.name}/learning_rate"] = phase.optimizer.rate_at(stepper.epoch)
        progress.guards = guards(metrics, self.evals)
        self.remarks += self.record.remarks(progress)
        self.record.rows(progress, stepper, metrics, figures, "tick")
        collapsed = self._watch(metrics) if self.spectator else ""
        if why := self._complete():
            return self.end("finished", why, metrics)
        if collapsed and config.watch.stop:
            return self.end("stopped", "", metrics)
        self.record.save_if_due(progress, stepper)
        return self.at(metrics)

    def end(self, status: str, why: str, metrics: dict[str, float] | None = None) -> Tick:
        """Ends the run and records its outcome. If it finished, the full protocol measures its best weights first."""
        progress = self.progress
        if status == "finished" and (missing := self._missing()):
            with noting(self.device, self.workers, self.remark_unmeasured):
                self._measure(missing)
        self._draw_last(status)
        if abs(progress.best) == WORST:
            floor = self.config.evaluate
            why = f"{why}; {floor.floor} was never {floor.least:g}, so it ranks last"
        if progress.measured_tick != progress.best_tick:  # these figures are of weights that are no longer the best
            progress.missed = ""
        progress.collapsed = "; at ".join(filter(None, (Watched(**progress.watched).told, progress.missed)))
        collapsed = f"collapsed at {progress.collapsed}" if progress.collapsed else ""
        progress.status, progress.why = status, "; ".join(filter(None, (why, collapsed)))
        self.record.end(progress, self.stepper)
        return self.at(metrics or {})

    def measure_later(self) -> None:
        """Measures the best weights of a finished run that ended under another `evaluate.full`, and records that beside
        what the run wrote itself, which stays as it is: a larger budget goes on from there."""
        progress, home, start = self.progress, self.record.home, time.perf_counter()
        if home is None or progress.status != "finished" or not progress.best_tick or not (missing := self._missing()):
            return
        model, figures = self._full_figures(missing)
        if not self.record.writes:
            return
        here = {"experiment": home.experiment, "run": self.record.run, "tick": progress.best_tick}
        here |= {"step": progress.best_step, "epoch": progress.best_epoch, "images": progress.best_images}
        failures = list[str]()
        drawn = list(grids(model, self.dataset, self.device, failed=failures.append))
        pictures = picture_rows(home.storage, here, drawn, failures)
        cost = costs(home.storage, home.experiment).get(self.record.run, math.nan)
        rows = join(pictures, later_rows(here, figures, time.perf_counter() - start, cost, has(model, Plays)))
        slot = Slot(home.storage, home.experiment, f"{home.attempt}-{self.record.run}", kind="evaluated")
        slot.extend(of_attempt(rows, home.attempt))

    def remark_unmeasured(self, why: str) -> None:
        """Notes that the full protocol had no room; begun again, the run is asked for it again."""
        self.remarks.append(f"run {self.record.run} was not measured in full: {why}")

    def _missing(self) -> dict[str, list[str]]:
        """Split -> names of the figures that the best weights are to have by `evaluate.full` and do not have yet."""
        progress, home, wanted = self.progress, self.record.home, self.config.evaluate
        if wanted.full != "all" or (progress.best_tick and progress.measured_tick == progress.best_tick):
            return {}
        known = set[str]()
        if home and progress.best_tick and self.record.best_weights is None:  # an earlier attempt's, measured since?
            found = on_record(home.storage, home.experiment, self.record.run)
            known = found.get((self.record.run, progress.best_epoch), known)
        missing = {
            split: [
                figure.name
                for figure in self.judge.plan(self.stepper.model, split, wanted.full_images, self._weights)
                if figure.protocol not in known
            ]
            for split in SPLITS
        }
        return {split: names for split, names in missing.items() if names}

    def _full_figures(self, missing: Mapping[str, Collection[str]]) -> tuple[Model, list[Figure]]:
        """The model with its best weights, and what is missing of their full protocol."""
        weights = self.record.best(self.progress, self.device)
        with self.stepper.evaluating() as current:
            model = copy.deepcopy(current)
        if weights is not None:
            checkpoint.put_weights(model, weights, self.record.run)
        figures, count = list[Figure](), self.config.evaluate.full_images
        for split, names in missing.items():
            figures += self.judge.figures(model, split, count, self._weights, self.workers, names, self.tell)
        return model, figures

    def _measure(self, missing: Mapping[str, Collection[str]]) -> None:
        """Measures the missing figures of the best weights and draws their grids. The run's seconds include that."""
        progress, start = self.progress, time.perf_counter()
        model, figures = self._full_figures(missing)
        progress.measured_tick = progress.best_tick
        if progress.best_tick not in progress.pictured:
            self._draw(model, best=True)
        seconds = time.perf_counter() - start
        progress.seconds += seconds
        if low := missed(figures) if self.spectator else []:
            line = line_of(low)
            epoch = float((progress.best_tick or progress.tick) * self.config.evaluate.every)
            progress.missed = f"epoch {epoch:g}: {line}"
            told = {"detector": DETECTOR, "figure": low[0].name, "epoch": epoch}
            self.record.event(progress, "collapse", line, progress.tick, low[0].value, **told)
        metrics = {"engine/full_seconds": seconds, FULL_SHARE: seconds / progress.seconds}
        self.remarks += self.record.remarks(progress)
        self.record.rows(progress, self.stepper, metrics, figures, "best")

    def at(self, metrics: dict[str, float]) -> Tick:
        """The tick at which the run stands, with these metrics."""
        progress = self.progress
        remarks, self.remarks = [*self.remarks, *take_remarks()], []
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
            collapsed=progress.collapsed,
            remarks=remarks,
            ended=progress.status,
            why=progress.why,
        )

    @property
    def _weights(self) -> str:
        return "ema" if self.config.train.ema else "raw"

    def _weigh(self, model: Model, figures: list[Figure]) -> None:
        """Keeps the weights if the steering metric is the best so far. Weights below the floor count as the worst."""
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

    @property
    def _draws_ends(self) -> bool:
        """Whether grids of the first tick and of the last are stored too, beside those of the best weights: of what
        players of a game make, which may get worse."""
        return has(self.stepper.model, Plays) and self.config.evaluate.full == "all"

    @property
    def _draws_way(self) -> bool:
        """Whether grids of every tick are kept, which are stored if the run becomes a leader of its search: of a game,
        unless pictures are asked for, which are stored of every run."""
        asked = self.config.evaluate
        return has(self.stepper.model, Plays) and asked.full == "leaders" and not asked.pictures

    def _draw_last(self, status: str) -> None:
        """Stores the grids of a game's last weights, if these are finite and their grids are not on record yet."""
        progress, start = self.progress, time.perf_counter()
        if self._draws_ends and status != "failed" and progress.tick not in progress.pictured:
            with self.stepper.evaluating() as model:
                self._draw(model)
            progress.seconds += time.perf_counter() - start

    def _draw(self, model: Model, best: bool = False, way: bool = False) -> None:
        """Stores grids of what the model makes, with its present weights or its best ones, from the same noise every
        time; those on the `way` of a run that may become a leader are kept. If one cannot be drawn, that is an event,
        and the run goes on."""
        progress = self.progress
        if not way:  # so that the end does not store the grids of a tick once more
            progress.pictured.append(progress.best_tick if best and progress.best_tick else progress.tick)
        if self.workers.rank == 0 and self.record.writes:

            def report(why: str) -> None:
                self.record.event(progress, "picture", why, progress.tick)

            for kind, png in grids(model, self.dataset, self.device, failed=report):
                if way:
                    self.record.keep_picture(progress, self.stepper, kind, png)
                else:
                    self.record.picture(progress, self.stepper, kind, png, best)

    def _begin_watch(self) -> dict[str, Any]:
        """What is known of a game before its first step: how much the fakes of untrained players vary."""
        if not self.spectator:
            return {}
        with self.stepper.freezer.judging():
            return asdict(Watched(highest=self.spectator.fakes(self.stepper.model)))

    def _watch(self, metrics: Mapping[str, float]) -> str:
        """Looks for a collapse. One that begins is an event. Gives those that last, in words; "" for none."""
        progress, config, spectator = self.progress, self.config, self.spectator
        assert spectator is not None
        epoch = float(progress.tick * config.evaluate.every)
        now, begun = look(Watched(**progress.watched), {**metrics, **self.evals}, epoch, config.watch, spectator.scales)
        progress.watched, progress.collapsed = asdict(now), now.told
        for one in begun:
            told = {"detector": one.detector, "figure": one.figure, "bound": one.bound}
            self.record.event(progress, "collapse", one.line, progress.tick, one.value, **told)
        return progress.collapsed

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
