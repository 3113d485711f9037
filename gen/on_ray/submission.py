"""What a driver sends to every process that works for it."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gen.config import DataConfig, RunConfig
from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE, Workers
from gen.engine.per_process import dataset_of, judge_of
from gen.engine.stage_one import with_codes
from gen.judge import Judge
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import restore

TRIAL = "trial"  # what Tune varies: a position in `Search.runs`, ...
RUN, CONFIG = "run", "config_json"  # ... or the name of a run that was proposed on the way, and its config as JSON


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Where a job's rows go, and on which images it trains. Picklable."""

    storage: Storage
    experiment: str
    attempt: str
    data_hashes: Mapping[DataConfig, str]  # settings of data -> hash of the driver's images
    data_root: str | None
    download: bool
    facts: Mapping[str, Any]  # columns of `runs` that the driver knows
    tensorboard: bool = False  # write TensorBoard's event files too

    def dataset(self, config: RunConfig, device: torch.device) -> Dataset:
        """A run's data set, opened on this host, with codes that its first stage, if it has one, makes on `device`.
        ValueError if the images are not the driver's."""
        drivers = self.data_hashes[config.data]
        dataset = dataset_of(config.data, self.data_root, self.download, drivers)
        if dataset.hash != drivers:
            raise ValueError(
                f"data set {dataset.name} on host {socket.gethostname()} has hash {dataset.hash}, the driver's has "
                f"{drivers}; bring the same files to every host"
            )
        return with_codes(config, dataset, self.storage, device)

    def judge(self, config: RunConfig, device: torch.device, workers: Workers = ALONE) -> Judge:
        """The judge of a run's data set; this process keeps it for the next run."""
        return judge_of(config, self.data_root, self.download, self.storage, device, workers)

    def home(self, run: str, **more: Any) -> Home:
        """Where a run's rows and checkpoints go."""
        here = {"tensorboard": self.tensorboard, "facts": self.facts, "run": run}
        return Home(self.storage, self.experiment, self.attempt, **{**here, **more})


@dataclass(frozen=True, kw_only=True)
class Order(Submission):
    """One run, for the processes that train it together."""

    config: RunConfig
    run: str  # its name


@dataclass(frozen=True, kw_only=True)
class Search(Submission):
    """Many runs, for the processes of their trials."""

    runs: Mapping[str, RunConfig]  # name -> config; those that are known when the search begins, one at least
    needed: Mapping[str, float] = dataclasses.field(default_factory=dict)  # what Ray sets aside for a worker of a trial
    rungs: Collection[int] = ()  # epochs at which a run gives its slot away, until its siblings have come there too
    share: float = 1.0  # of a GPU's memory that the process of a trial may take
    keep_last: bool = False  # keep the last states of runs that ended: more epochs go on from there
    retry: bool = False  # train runs again that failed in an earlier attempt
    begun: Collection[str] = ()  # runs that earlier attempts left rows of, and no end
    holder: Any = None  # the actor that notes placement groups (`Holder`), if trials have several workers

    @property
    def workers(self) -> int:
        """Processes that train one run together."""
        return next(iter(self.runs.values())).machine.workers

    def pick(self, trial: Mapping[str, Any]) -> tuple[str, RunConfig]:
        """The run of a trial: its name and its config."""
        if CONFIG in trial:
            return str(trial[RUN]), restore(trial[CONFIG])
        return list(self.runs.items())[int(trial[TRIAL])]

    def order(self, run: str, config: RunConfig) -> Order:
        """One run."""
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(Submission)}
        return Order(**shared, config=config, run=run)
