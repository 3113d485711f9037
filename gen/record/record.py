"""What a run leaves behind: rows in the ledger, and checkpoints, each after the rows up to its tick."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import torch
from torch import Tensor

from gen.config import RunConfig, flat, identity, to_json
from gen.damage import take_remarks
from gen.data.dataset import Dataset
from gen.distributed.workers import Workers
from gen.judge import Figure
from gen.phase import Model
from gen.record import checkpoint, history, takeover
from gen.record.progress import Progress
from gen.record.tensorboard import Board
from gen.results.ledger import Ledger, Slot
from gen.results.storage import Storage
from gen.tensors import reading


class Training(Protocol):
    """What a record must know of the training that it records: the engine's `Stepper`."""

    model: Model
    device: torch.device
    workers: Workers
    step: int
    draws: int  # in a step

    @property
    def images(self) -> int:
        """Real images drawn so far."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` gave."""


@dataclass(frozen=True)
class Home:
    """Where a run's rows and checkpoints go. Without one, `fit` writes nothing."""

    storage: Storage
    experiment: str
    attempt: str
    slot: Slot | None = None  # where the rows of a short run go, beside those of others; None: files of its own
    last_ticks: Mapping[str, int] = field(default_factory=dict)  # table -> last tick of this run that slot files hold
    keep_last: bool = True  # keep the last checkpoint of an ended run, so that a larger budget continues it
    report_again: bool = False  # a run that goes on gives its last tick again: its search may not have decided on it
    run: str = ""  # its name; "": its identity, which is the name unless an earlier version began the run
    taken: takeover.Exploit | None = None  # the state of another that the run took over last
    tensorboard: bool = False  # write TensorBoard's event files beside the tables
    facts: Mapping[str, Any] = field(default_factory=dict)  # columns of `runs` that the engine cannot know


class Record:
    """The ledger and the checkpoints of one run. Only rank 0 writes; without a home nobody does."""

    def __init__(self, home: Home | None, config: RunConfig, dataset: Dataset, workers: Workers, metric: str) -> None:
        self.config, self.dataset, self.metric = config, dataset, metric
        self.run = (home.run if home else "") or identity(config, dataset.hash)
        self.home = home
        self.writes = home is not None and workers.rank == 0
        self.saved_at = time.monotonic()
        self.saved_tick = 0
        self.best_weights: dict[str, Tensor] | None = None  # so far, if this process trained them
        self.written_tick = 0  # tick of the best weights that this process put in the storage
        self.ledger: Ledger | None = None
        self.board: Board | None = None
        self.grids: list[dict[str, Any]] = []  # of all ticks, while nobody knows whether they are to be rows

    def resume(self, stepper: Training) -> Progress:
        """Loads the last checkpoint of this run into `stepper`, if there is one."""
        adopted = self._adopt(stepper)
        state, name = self._last_state(stepper.device)
        if state:
            assert self.home is not None
            path = f"{self.home.storage}/{self._folder}/{name}"
            with reading(f"{path} is no state of this run ({{reason}}); {checkpoint.AGAIN}"):
                stepper.load_state_dict(state["stepper"])
                progress = Progress(**state["progress"])
        else:
            progress = Progress()
        self.saved_tick = progress.tick
        if adopted:  # nor may an earlier attempt write other best weights
            self._forget_other_bests(progress)
        if self.home and self.writes:
            home, first = self.home, progress.tick + 1 if state else 0
            self.ledger = Ledger(
                home.storage,
                home.experiment,
                self.run,
                home.attempt,
                first=first,
                slot=home.slot,
                last_ticks=home.last_ticks,
            )
            if home.tensorboard:
                self.board = Board(home.storage, home.experiment, self.run, first)
            if state:
                self.grids = history.load(home.storage, home.experiment, self.run, progress.tick)
            if state is None:
                self._introduce(stepper)
                if home.slot is None:  # the tables show the run from its first second on
                    self._flush(0)
        return progress

    def _adopt(self, stepper: Training) -> bool:
        """Lets no earlier attempt write the state any more from which this one goes on; whether it had to."""
        if self.home is None or not self.home.storage.is_conditional:
            return False
        adopted = self.writes and checkpoint.adopt(self.home.storage, f"{self._folder}/last.pt")
        stepper.workers.wait(stepper.device)  # so that all of them load the same
        return adopted

    def _last_state(self, device: torch.device) -> tuple[dict[str, Any] | None, str]:
        """The state from which the run goes on, None if it begins, and the name of its file. ValueError if the run took
        over another's, and neither that state is there nor a later one."""
        name = "last.pt"
        if not self.home:
            return None, name
        storage, taken = self.home.storage, self.home.taken
        state = checkpoint.load(storage, f"{self._folder}/{name}", device)
        if taken and (state is None or state["progress"]["tick"] <= taken.tick):
            name = takeover.name(taken.tick)
            state = checkpoint.load(storage, f"{self._folder}/{name}", device)
            if state is None:
                raise ValueError(f"{storage}/{self._folder}/{name}, from which the run goes on, is gone; put it back")
        return state, name

    def rows(
        self, progress: Progress, stepper: Training, metrics: Mapping[str, float], figures: Sequence[Figure], scope: str
    ) -> None:
        """Adds the rows of a tick: what training logged, and the figures."""
        if not self.ledger:
            return
        here = self._place(progress, stepper)
        for name, value in metrics.items():
            self.ledger.add("metrics", seconds=progress.seconds, name=name, value=value, **here)
        if scope == "best":
            here |= {"step": progress.best_step, "epoch": progress.best_epoch, "images": progress.best_images}
        for figure in figures:
            self.ledger.add("evals", scope=scope, **here, **figure.row())
        if self.board:
            for name, value in metrics.items():
                self.board.scalar(name, value, here["step"])
            for figure in figures:
                prefix = "best/" if scope == "best" else ""
                self.board.scalar(f"{prefix}{figure.split}/{figure.name}", figure.value, here["step"])

    def picture(self, progress: Progress, stepper: Training, kind: str, png: bytes, best: bool = False) -> None:
        """Adds the row of a grid of the present weights, or of the `best` ones, at whose tick the row then stands."""
        here = self._place(progress, stepper)
        if best and progress.best_tick:
            here = {"tick": progress.best_tick, "step": progress.best_step, "epoch": progress.best_epoch}
        here.pop("images", None)
        if self.ledger:
            self.ledger.add("samples", earlier=best, kind=kind, png=png, **here)
        if self.board:
            self.board.picture(f"samples/{kind}", png, here["step"])

    def keep_picture(self, progress: Progress, stepper: Training, kind: str, png: bytes) -> None:
        """Keeps a grid of the present weights, which is to be a row if the run becomes a leader of its search."""
        if self.ledger and self.home:
            own = {"experiment": self.home.experiment, "run": self.run, "attempt": self.home.attempt}
            row = {**own, **self._place(progress, stepper), "kind": kind, "png": png}
            row.pop("images")
            self.grids.append(row)

    def event(
        self, progress: Progress, kind: str, why: str, tick: int, value: float | None = None, **detail: Any
    ) -> None:
        """Adds the row of something that happened to the run, at `tick`; at a beginning that is the next tick."""
        if self.ledger:
            self.ledger.add(
                "events",
                tick=tick,
                epoch=float(progress.tick * self.config.evaluate.every),
                kind=kind,
                decision=None,
                value=value,
                why=why,
                detail=json.dumps(detail, sort_keys=True),
                time=datetime.now(UTC),
            )

    def remarks(self, progress: Progress) -> list[str]:
        """The lines on what was found damaged and made anew since the last tick, each as an event of the run too."""
        lines = take_remarks()
        for line in lines:
            self.event(progress, "cache", line, progress.tick)
        return lines

    def better(self, weights: dict[str, Tensor]) -> None:
        """Keeps a copy of the best weights so far, off the device."""
        self.best_weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}

    def best(self, progress: Progress, device: torch.device) -> dict[str, Tensor] | None:
        """The best weights, from this process or from the storage; None if no value was ever finite."""
        if self.best_weights is not None or not progress.best_tick or not self.home:
            return self.best_weights
        path = f"{self._folder}/{checkpoint.best_name(progress.best_tick)}"
        state = checkpoint.load(self.home.storage, path, device)
        if state is None:
            raise ValueError(f"{self.home.storage}/{path}, the best weights that last.pt names, is gone; put it back")
        weights: dict[str, Tensor] = state["weights"]
        return weights

    def save_if_due(self, progress: Progress, stepper: Training) -> None:
        """Saves a checkpoint if the last one is old enough."""
        if self.writes and time.monotonic() - self.saved_at >= self.config.budget.checkpoint_seconds:
            self.save(progress, stepper)

    def save(self, progress: Progress, stepper: Training) -> None:
        """Saves a checkpoint: the rows first, then the best weights, then the last state; then it deletes older bests.

        Killed between any two of these, the run goes on from the last state and writes the same names again.
        """
        if not self.writes or not self.ledger or progress.tick == self.saved_tick:
            return
        self._flush(progress.tick)
        self._write_history()
        self._write_best(progress)
        self._write_last(progress, stepper)

    def end(self, progress: Progress, stepper: Training) -> None:
        """Writes the end of the run: the best weights, the outcome, and the last state if it is to be kept."""
        if not self.writes or not self.home or not self.ledger:
            return
        self._write_best(progress)
        if progress.status != "failed":  # one that fails again where it failed before has its outcome; others do not
            self.ledger.last_ticks.pop("outcomes", None)
        row = outcome_row(progress, self._folder, self.config.evaluate.every, stepper.step, stepper.images)
        self.ledger.add("outcomes", metric=self.metric, parameters=stepper.model.count_learned(), **row)
        if progress.status == "finished":
            self._write_history()
        elif progress.status == "stopped" and self.grids:  # no leader; a run that failed may go on
            history.forget(self.home.storage, self.home.experiment, self.run)
        if self.board:  # before the outcome: after that, no attempt writes these files again
            self.board.flush(progress.tick)
        self.ledger.close(progress.tick)
        if progress.status == "failed":  # its last good checkpoint stays
            return
        if self.home.keep_last:
            self._write_last(progress, stepper)
        else:
            self.home.storage.delete(f"{self._folder}/last.pt")
            self._forget_other_bests(progress)
            if not progress.best_tick:  # an empty folder, if any
                self.home.storage.delete_folder(self._folder)

    @property
    def hosts(self) -> list[str]:
        """The hosts on which this attempt trains the run; none if nobody said."""
        return list(self.home.facts.get("hosts", ())) if self.home else []

    @property
    def _folder(self) -> str:
        assert self.home is not None
        return checkpoint.folder(self.home.experiment, self.run)

    def _flush(self, tick: int) -> None:
        assert self.ledger is not None
        if self.board:
            self.board.flush(tick)
        self.ledger.flush(tick)

    def _place(self, progress: Progress, stepper: Training) -> dict[str, Any]:
        epoch = float(progress.tick * self.config.evaluate.every)
        return {"tick": progress.tick, "step": stepper.step, "epoch": epoch, "images": stepper.images}

    def _introduce(self, stepper: Training) -> None:
        assert self.home is not None
        assert self.ledger is not None
        self.ledger.add(
            "runs",
            tick=0,
            **{
                "entry": self.config.entry,
                "family": self.config.family,
                "data": self.dataset.name,
                "data_hash": self.dataset.hash,
                "held_out": self.dataset.held_out,
                "seed": self.config.seed,
                "config": to_json(self.config),
                "code_version": "",
                "packages": json.dumps({"torch": torch.__version__}),
                "hosts": [],
                "device": stepper.device.type,
                "threads": torch.get_num_threads(),
                "world_size": stepper.workers.size,
                "devices": float(stepper.workers.size),  # unless who began it knows of a share of a GPU
                "parameters": stepper.model.count_learned(),
                "started": datetime.now(UTC),
                **self.home.facts,
            },
        )
        for row in setting_rows(self.config):
            self.ledger.add("settings", tick=0, **row)
        if self.board:
            lines = [f"    {key} = {_text(value)}" for key, value in flat(self.config).items()]
            self.board.text("settings", "\n".join(lines))

    def _write_best(self, progress: Progress) -> None:
        if self.best_weights is None or not self.home or self.written_tick == progress.best_tick:
            return
        shape = self.dataset.shape
        state = {
            "weights": self.best_weights,
            "config": to_json(self.config),
            "shape": (shape.channels, shape.size, shape.classes),
            "grey": self.dataset.grey_columns,
            "tick": progress.best_tick,
            "epoch": progress.best_epoch,
            "step": progress.best_step,
            "images": progress.best_images,
            "metric": self.metric,
            "value": progress.best,
            "kind": "ema" if self.config.train.ema else "raw",
        }
        name = checkpoint.best_name(progress.best_tick)
        checkpoint.save(self.home.storage, f"{self._folder}/{name}", state)
        self.written_tick = progress.best_tick

    def _write_history(self) -> None:
        if self.grids and self.home:
            history.save(self.home.storage, self.home.experiment, self.run, self.grids)

    def _write_last(self, progress: Progress, stepper: Training) -> None:
        assert self.home is not None
        state = {
            "config": to_json(self.config),
            "stepper": stepper.state_dict(),
            "data": {"hash": self.dataset.hash, "seed": self.config.seed, "draw": stepper.step * stepper.draws},
            "progress": asdict(progress),
        }
        checkpoint.save(self.home.storage, f"{self._folder}/last.pt", state)
        self._forget_other_bests(progress)
        if self.home.taken:
            takeover.forget(self.home.storage, self._folder, progress.tick)
        self.saved_at, self.saved_tick = time.monotonic(), progress.tick

    def _forget_other_bests(self, progress: Progress) -> None:
        assert self.home is not None
        for name in self.home.storage.list(self._folder):
            if name.startswith("best-") and name != checkpoint.best_name(progress.best_tick):
                self.home.storage.delete(f"{self._folder}/{name}")


def outcome_row(progress: Progress, folder: str, every: int, steps: int, images: int) -> dict[str, Any]:
    """The row of `outcomes` of a run that has ended, but for its metric and how many numbers it learned. `folder`: of
    its checkpoints; `every`: epochs of a tick."""
    return {
        "tick": progress.tick,
        "status": progress.status,
        "why": progress.why,
        "best": _finite(progress.best),
        "best_epoch": _finite(progress.best_epoch),
        "last": _finite(progress.last),
        **{name: _finite(value) for name, value in progress.guards.items()},
        "collapsed": progress.collapsed or None,
        "checkpoint": f"{folder}/{checkpoint.best_name(progress.best_tick)}" if progress.best_tick else None,
        "epochs": float(progress.tick * every),
        "steps": steps,
        "images": images,
        "seconds": progress.seconds,
        "images_per_second": images / progress.train_seconds if progress.train_seconds else None,
        "ended": datetime.now(UTC),
    }


def setting_rows(config: RunConfig) -> list[dict[str, Any]]:
    """The rows of `settings` of a run, without the names of experiment, run and attempt."""
    return [
        {
            "key": key,
            "number": float(value) if isinstance(value, (int, float)) and float(value) == value else None,
            "text": _text(value),
        }
        for key, value in flat(config).items()
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
