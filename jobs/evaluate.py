"""Measures stored checkpoints again: python -m jobs.evaluate --storage results --name gan-mnist --metrics kid,precision

Adds to the table `evals` what is missing there, run by run; submitted again it goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
import torch

from gen import results
from gen.on_ray.scoring import Wanted, score_worker
from gen.record import checkpoint
from jobs import interrupt
from jobs.cluster import connection, run_workers, say
from jobs.experiments import tell_lost
from jobs.options import TAKE_OVER, Job, refusing
from jobs.places import storage_at
from jobs.stored import find, missing


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of tables and checkpoints.")
@click.option("--name", required=True, help="Experiment.")
@click.option(
    "--run", "runs", multiple=True, help="A run, or a beginning of its id; may be repeated. Default: all with weights."
)
@click.option("--best", type=int, help="The best N runs, by what steered them.")
@click.option("--metrics", help="Such as fid,kid,precision; default: all that the model and the features allow.")
@click.option("--features", help="inception, classifier, rotation, or a data set whose classifier serves.")
@click.option("--inception-weights", type=click.Path(), help="File of Inception's weights, on every host.")
@click.option("--split", "splits", multiple=True, type=click.Choice(["train", "validation", "test"]))
@click.option("--images", type=int, help="Images to measure; default: as many as the run's full protocol.")
@click.option("--importance-samples", type=int, help="Samples of the importance-weighted bound; default: the run's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that share each figure's work.")
@click.option("--data-root", type=click.Path(), help="Folder of the originals, if they are not in the cache.")
@click.option("--download", is_flag=True, help="Fetch the originals if they are missing.")
@TAKE_OVER
@click.option("--dry-run", is_flag=True, help="List what would be measured and stop.")
def main(dry_run: bool, take_over: bool, **options: Any) -> int:
    """Finds what is missing, and has it measured by a group of workers."""
    with refusing():
        tell_lost(storage_at(options["storage"]), options["name"])
        wanted = find(**options)
        todo = list(missing(wanted))
        for run in {} if dry_run else dict.fromkeys(run for run, _ in todo):  # else workers find out, one after another
            checkpoint.load_best(wanted.storage, wanted.experiment, run, torch.device("meta"))
    if dry_run or not todo:
        for run, figure in todo:
            print(f"{run}  {figure.split}  {figure.name}  {figure.n_fake} images  {figure.features or '-'}")
        print(f"{wanted.experiment}: {len(todo)} figures of {len(wanted.stored)} runs are missing")
        return 0
    with connection():
        return measure(wanted, len(todo), take_over)


def measure(wanted: Wanted, count: int, take_over: bool) -> int:
    """Drives a group of workers; 0 if all went well, 1 if it broke."""
    from gen.on_ray import preflight

    machine, name, storage = wanted.stored[0].config.machine, wanted.experiment, wanted.storage
    lease = results.Lease(storage, name, hear=interrupt.give_up)
    with refusing():
        storage.check_writable()
        needed = preflight.check_cluster(machine)
        preflight.check_shared(storage)
        lease.acquire(take_over, say)
    try:
        each = preflight.in_words(needed)
        print(f"{name}: {count} figures, {machine.workers} workers, {each} each, results in {storage}", flush=True)
        sent = {"wanted": replace(wanted, storage=lease.storage), "attempt": lease.attempt}
        if not run_workers(score_worker, sent, show_figures, machine.workers, needed, lease):
            return 1
        print(f"{name}: measured", flush=True)
        return 0
    finally:
        lease.release()


def show_figures(rows: Sequence[tuple[str, str, str, float, str]] | str) -> None:
    """Prints what the workers measure, or the figures of a run that they measured."""
    if isinstance(rows, str):
        print(rows, flush=True)
        return
    for split, metric, subject, value, run in rows:
        print(f"{run}  {split}  {metric}/{subject}  {value:.6g}", flush=True)


if __name__ == "__main__":
    main()
