"""One step of a run: every phase's moves. The only `backward()` of a model; the judge's own network, which is none,
trains by a loop of its own (gen/judge/networks/classifier.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gen.capabilities import Fits, Plays, has
from gen.config import TrainConfig
from gen.data.stream import Stream
from gen.distributed.machine import seed
from gen.distributed.workers import Workers
from gen.engine.average import Average, EvenStatistics
from gen.engine.freeze import Freezer
from gen.engine.watch import Diverged, Watch
from gen.phase import Batch, MicroBatch, Model, Phase, nothing

BEFORE = -1  # seeds, in place of a step's number, what is fitted before the first step


class Stepper:
    """Trains a model step by step.

    The law of workers: a step's draw is `micro_batches` micro-batches, of which each worker takes its slice; noise is
    seeded by (run's seed, step, phase, repeat, micro-batch), so it depends neither on the number of workers nor on
    an evaluation or a resume. A step is a pure function of the weights, the optimisers' state and its number.
    """

    def __init__(
        self, model: Model, config: TrainConfig, run_seed: int, stream: Stream, device: torch.device, workers: Workers
    ) -> None:
        self.model, self.config, self.seed, self.stream = model, config, run_seed, stream
        self.device, self.workers = device, workers
        self.phases: Sequence[Phase] = list(model.phases())
        self.freezer = Freezer(model, self.phases)
        self.optimizers = [phase.optimizer.build(phase.player.parameters()) for phase in self.phases]
        self.losses = [Watch(phase.name, device, workers) for phase in self.phases]
        self.norms = [Watch(phase.name, device, workers) for phase in self.phases]
        self.plays = has(model, Plays)  # whether the norms of the first layers' gradients are logged too
        self.average = Average(model, config.ema) if config.ema else None
        self.step = 0
        self.draws = 1 + sum(phase.repeats - 1 for phase in self.phases)  # draws a step
        own = config.micro_batches // workers.size
        self.micro_batches = range(workers.rank * own, (workers.rank + 1) * own)  # global indices of this worker's

    @property
    def images(self) -> int:
        """Real images drawn so far, over all workers and repeats."""
        return self.images_at(self.step)

    @property
    def epoch(self) -> float:
        """Passes over the longest table so far."""
        return self.images / self.stream.length

    def images_at(self, step: int) -> int:
        """Real images drawn before step number `step`."""
        return step * self.draws * self.config.micro_batches * self.config.batch

    def steps_until(self, epoch: int) -> int:
        """The number of steps after which `epoch` passes are complete; 0 for a model without phases."""
        if not self.phases:
            return 0
        return -(-epoch * self.stream.length // self.images_at(1))

    def fit(self) -> None:
        """Fits the parts of the model that have a closed form, if it has any. Rank 0 fits them for all workers: a
        library need not give the same on unlike hosts."""
        model = self.model
        if not has(model, Fits):
            return
        with torch.no_grad():
            if self.workers.rank == 0:
                seed(self.device, self.seed, BEFORE)
                with self.freezer.judging():
                    model.fit(self.batch_to_fit)
            else:
                for buffer in self.model.buffers():
                    buffer.zero_()
            self.workers.total(self.model.buffers())

    def batch_to_fit(self, index: int) -> Batch:
        """Batch number `index` of the training images, in the order of the stream: the same for all workers."""
        draw, part = divmod(index, self.config.micro_batches)
        return self.stream.rows(draw, part * self.config.batch, (part + 1) * self.config.batch)

    def advance(self) -> None:
        """One step: every phase, every repeat. Phases share the step's first draw; each further repeat draws afresh."""
        draw = self.step * self.draws
        first = self._draw(draw)
        for number, (phase, optimizer) in enumerate(zip(self.phases, self.optimizers, strict=True)):
            rate = phase.optimizer.rate_at(self.epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            for repeat in range(phase.repeats):
                draw += repeat > 0
                micro_batches = self._draw(draw) if repeat else first
                self._move(number, repeat, self.freezer.thaw(number), micro_batches)
        self.step += 1
        if self.average:
            self.average.follow(self.model, self.step)

    def take_logs(self) -> dict[str, float]:
        """Means of all logs since the last call, over micro-batches and workers. Diverged if one is not finite."""
        means: dict[str, float] = {}
        found: list[Diverged] = []
        for watch in (*self.losses, *self.norms):
            try:
                means |= watch.take()
            except Diverged as error:
                found.append(error)
        if found:
            raise min(found, key=lambda error: error.step)
        return means

    def gradients(self, number: int, repeat: int, micro_batches: Sequence[Batch]) -> Tensor:
        """Gives the player's parameters their gradients, averaged over all workers' micro-batches; returns the norm."""
        phase, total = self.phases[number], self.config.micro_batches
        parameters = self.freezer.players[number].parameters
        for parameter in parameters:
            parameter.grad = None
        even = EvenStatistics(self.freezer.players[number].norms if total > 1 else [])
        for index, batch in zip(self.micro_batches, micro_batches, strict=True):
            seed(self.device, self.seed, self.step, number + 1, repeat, index)
            with even, self.precision(), self._training(index):
                loss, logs = phase.loss(batch)
            (loss / total if total > 1 else loss).backward()  # type: ignore[no-untyped-call]
            self.losses[number].add(self.step, {"loss": loss, **logs})
        for parameter in parameters:
            if parameter.grad is None:  # so that it is zero on every worker and for every optimiser
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.workers.total([*gradients, *phase.sums])
        even.settle(total, self.workers)
        norm = torch.nn.utils.get_total_norm(gradients)
        norms = {"gradient_norm": norm}
        first = self.freezer.players[number].first
        if self.plays and first is not None and first.grad is not None:
            norms["first_gradient_norm"] = torch.linalg.vector_norm(first.grad)
        self.norms[number].add(self.step, norms)
        return norm

    @contextmanager
    def _training(self, index: int) -> Iterator[None]:
        """Inside, `Model.micro_batch` tells the model that it trains, and on which micro-batch."""
        attributes = vars(self.model)  # directly, as in `freeze.switch`
        attributes["micro_batch"] = MicroBatch(index, self.config.micro_batches)
        try:
            yield
        finally:
            attributes["micro_batch"] = None

    def project(self, number: int, repeat: int) -> None:
        """The phase's projection, with the same noise on every worker."""
        if self.phases[number].project is nothing:
            return
        seed(self.device, self.seed, self.step, number + 1, repeat, self.config.micro_batches)
        with torch.no_grad():
            self.phases[number].project()

    def precision(self) -> AbstractContextManager[Any]:
        """The autocast for a call of the model."""
        if self.config.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    @contextmanager
    def evaluating(self) -> Iterator[Model]:
        """The model to evaluate and keep, in evaluation mode; with averaged weights if there is an average."""
        if self.average:
            yield self.average.show(self.model, self._statistics)
        else:
            with self.freezer.judging():
                yield self.model

    def _statistics(self, model: Model) -> None:
        """Recomputes the BatchNorm statistics of averaged weights over a fixed number of the first training batches."""
        phases = list(model.phases())
        freezer = Freezer(model, phases)
        if freezer.norms:
            in_norms = {id(buffer) for norm in freezer.norms for buffer in norm.buffers()}
            others = [(buffer, buffer.clone()) for buffer in model.buffers() if id(buffer) not in in_norms]
            freezer.judge()  # a frozen BatchNorm ignores the reset
            for norm in freezer.norms:
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over all calls
            freezer.freeze()
            for draw in range(self.config.ema_batches):
                batch = self.stream.rows(draw, 0, self.config.batch)
                seed(self.device, self.seed, 0, 0, draw, 0)
                with torch.no_grad():
                    prepared = model.prepare(batch)
                for number, phase in enumerate(phases):
                    with freezer.thawing(number), self.precision():
                        phase.loss(prepared)
            for buffer, before in others:
                buffer.copy_(before)
        freezer.judge()

    def _draw(self, draw: int) -> list[Batch]:
        """This worker's micro-batches of draw number `draw`, with the columns that the model prepares."""
        size, batches = self.config.batch, []
        if not self.freezer.prepares:
            return [self.stream.rows(draw, index * size, (index + 1) * size) for index in self.micro_batches]
        self.freezer.freeze()
        with torch.no_grad():
            for index in self.micro_batches:
                batch = self.stream.rows(draw, index * size, (index + 1) * size)
                seed(self.device, self.seed, self.step, 0, draw - self.step * self.draws, index)
                with self.precision():
                    batches.append(self.model.prepare(batch))
        return batches

    def _move(self, number: int, repeat: int, parameters: list[Tensor], micro_batches: Sequence[Batch]) -> None:
        norm = self.gradients(number, repeat, micro_batches)
        if self.config.clip and parameters:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.config.clip, norm)
        self.optimizers[number].step()
        self.project(number, repeat)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "images": self.images,
            "draw": self.step * self.draws,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            # its settings are the config's: of a population's run they may change on the way
            optimizer.load_state_dict({**saved, "param_groups": optimizer.state_dict()["param_groups"]})
        self.step = state["step"]
