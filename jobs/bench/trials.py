"""What a trial costs beyond its own training and evaluation, in three ways of running one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
import torch

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.machine import set_threads
from gen.engine.fit import Tick, fit
from gen.judge import shared_classifier
from gen.record.record import Home
from gen.results.storage import Storage
from gen.zoo import entry
from jobs.cluster import connection, facts
from jobs.options import refusing

if TYPE_CHECKING:
    from gen.on_ray.progress import Standing
    from gen.on_ray.trainable import Resident

TINY = {  # a run of a fraction of a second
    "model.networks.width": 16,
    "model.latent": 2,
    "train.batch": 256,
    "evaluate.images": 100,
    "evaluate.full_images": 100,
    "budget.epochs": 2,
    "machine.device": "cpu",
}


@dataclasses.dataclass(frozen=True)
class Series:
    """Short runs that differ in their seed. Picklable."""

    configs: list[RunConfig]
    storage: Storage
    experiment: str
    at_once: int


def run_one(series: Series, index: int, tell: Callable[[Tick], None]) -> None:
    """One run as a user's own function would train it: data, model and tables from nothing."""
    config = series.configs[index]
    set_threads(1)
    home = Home(series.storage, series.experiment, results.new_attempt(), keep_last=False)
    for tick in fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home):
        tell(tick)


def plain(config: Mapping[str, Any], series: Series) -> None:
    """A function trial: Tune starts a process for each."""
    from ray import tune

    run_one(series, config["index"], lambda tick: tune.report({"value": tick.value, "epoch": tick.epoch}))


def nested_trial(config: Mapping[str, Any], series: Series) -> None:
    """A function trial that starts a Ray Train group with one worker."""
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        lambda: run_one(series, config["index"], lambda tick: None),
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(
            storage_path=f"{series.storage.place}/{series.experiment}/_ray", name=f"group-{config['index']}"
        ),
    ).fit()
    tune.report({"index": config["index"]})


def functions(series: Series, body: Callable[..., None], cpus: float) -> None:
    """Trains the series as function trials of Tune."""
    from ray import tune

    tune.Tuner(
        tune.with_resources(tune.with_parameters(body, series=series), {"cpu": cpus}),
        param_space={"index": tune.grid_search(list(range(len(series.configs))))},
        tune_config=tune.TuneConfig(max_concurrent_trials=series.at_once),
        run_config=tune.RunConfig(storage_path=f"{series.storage.place}/{series.experiment}/_ray", verbose=0),
    ).fit()


def residents(
    series: Series,
    dataset: Dataset,
    lease: results.Lease,
    *,
    grace: int,
    reduction: int = 2,
    hear: Callable[[Standing], None] = lambda standing: None,
    trainable: type[Resident] | None = None,
) -> None:
    """Trains the series as jobs.tune does: in processes that stay (slots), of jobs.tune's class or another, under
    halving. Whoever calls it holds the lease."""
    from gen.on_ray.search import search
    from gen.on_ray.submission import Search

    plan = Search(
        runs={identity(one, dataset.hash): one for one in series.configs},
        storage=lease.storage,
        experiment=series.experiment,
        attempt=lease.attempt,
        data_hashes={one.data: dataset.hash for one in series.configs},
        data_root=None,
        download=False,
        facts=facts(),
    )
    ask: Any = {"mode": "min", "grace": grace, "reduction": reduction, "most": series.at_once}
    found = search(plan, lease, {"CPU": 1.0}, hear, trainable=trainable, **ask)
    if found.errors:
        raise RuntimeError(found.errors[0])


def overheads(storage: Storage, experiment: str, lag: int) -> list[float]:
    """Seconds that each run took beyond its own training and evaluation, from the end of the run before it on the same
    slot to its own end, where `lag` runs train at a time. The first run of each slot is left out."""
    ends = results.outcomes(storage, experiment).sort_values("ended")
    ended, own = ends["ended"].to_list(), ends["seconds"].to_list()
    return [(ended[i] - ended[i - lag]).total_seconds() - own[i] for i in range(lag, len(ended))]


@click.command(short_help="What a trial costs on a slot, in a process, and nested.")
@click.option("--trials", "count", default=24, show_default=True, help="Trials on slots; a fourth of it otherwise.")
@click.option("--at-once", default=2, show_default=True, help="Trials at a time; each takes one CPU.")
def trials(count: int, at_once: int) -> None:
    """A trial on a resident slot, a plain function trial, and one that nests a Ray Train group, on digits."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with refusing():
        base = override(entry("vae_mlp"), TINY)
        dataset = open_dataset(base.data)
    folder = tempfile.mkdtemp(prefix="genfleet-bench-")
    storage = Storage(folder)
    shared_classifier(dataset, storage, torch.device("cpu"))

    def series(name: str, number: int) -> Series:
        configs = [override(base, {"seed": seed}).resolve() for seed in range(number)]
        return Series(configs, storage, name, at_once)

    few = max(count // 4, at_once + 2)
    sides = {"resident slot": series("resident", count), "function": series("function", few)}
    sides["nested group"] = series("nested", few)
    with connection():
        with results.Lease(storage, "resident") as lease:
            residents(sides["resident slot"], dataset, lease, grace=base.budget.epochs)
        functions(sides["function"], plain, 1)
        functions(sides["nested group"], nested_trial, 0.01)
    print(f"{'seconds a trial beyond its own':32}{'median':>9}{'min':>9}{'max':>9}{'trials':>8}{'own':>9}")
    for name, one in sides.items():
        found = overheads(storage, one.experiment, at_once)
        own = statistics.median(results.outcomes(storage, one.experiment)["seconds"])
        print(
            f"{name:32}{statistics.median(found):9.3f}{min(found):9.3f}{max(found):9.3f}{len(found):8}{own:9.3f}",
            flush=True,
        )
    shutil.rmtree(folder)
