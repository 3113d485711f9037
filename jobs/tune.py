"""Searches the space of one entry, stopping losers early: python -m jobs.tune --entry vqvae --data mnist --samples 64

Submitted again under the same name it finds what is done and goes on; --samples, --seeds and --epochs may grow.
Several entries (--entry A,B) or numbers of labels (--search data.labels=20,100) are compared without stopping a run.
With few labels, seed number k draws which images keep theirs by data.label_seed + k: the same ones for all entries.
--replay EXPERIMENT --slots 8,64,500 trains nothing: it plays a recorded search under other rungs and numbers of slots.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from gen import results
from gen.config import DataConfig
from gen.data.dataset import Dataset
from gen.data.notices import notices
from gen.distributed.machine import resolve_device, set_threads
from gen.metrics.table import direction
from gen.record import checkpoint, names
from gen.search.samplers import RANDOM, SAMPLERS
from jobs import confirm, interrupt
from jobs.at_end import measure, show_found, unconfirmed
from jobs.cluster import connection, facts, say
from jobs.experiments import tell_lost
from jobs.forecast import check_replay, forecast
from jobs.options import Job, refusing, shared_options, show
from jobs.progress import interject, show_progress
from jobs.sampling import runs_on_record, sample
from jobs.schedulers import ASHA, QUANTILE, SCHEDULERS, SIZE, population
from jobs.several import Plans, plans

CONFIRM = """Train the best K configurations again, with --seeds fresh seeds each (default: 10; the search itself then
has one a configuration), in a race: who falls behind drops out."""
METRIC = """Held-out figure to search by, NAME/SUBJECT; default: what suits the family. Said several times the search is
for the Pareto set, and the first one chooses each run's best weights."""


@click.command(cls=Job, help=__doc__)
@shared_options
@click.option("--max-epochs", type=int, help="Another name of --epochs: those of a run that is never stopped.")
@click.option("--samples", type=int, help="Configurations; default: what suits the family; 0: no end but a budget's.")
@click.option("--seeds", type=int, help="Runs of each configuration, from --seed up; default: 1. See --confirm.")
@click.option("--confirm", type=int, metavar="K", help=CONFIRM)
@click.option("--confirm-level", "level", type=float, help="Of the test in that race; default: 0.13.")
@click.option("--max-concurrent", "most", type=int, default=0, help="Runs at a time; default: as many as fit.")
@click.option("--workers-per-trial", type=int, help="Processes that train one run together; default: 1.")
@click.option("--gpus-per-trial", type=float, help="GPUs of a run, or a part of one, as 0.25; default: one a worker.")
@click.option(
    "--scheduler", type=click.Choice(SCHEDULERS), default=ASHA, show_default=True, help="Who stops, or mixes."
)
@click.option("--population", type=int, metavar="N", help=f"Runs of a population; default: {SIZE}.")
@click.option("--interval", type=int, help="Epochs between its generations; default: what suits the family.")
@click.option("--quantile", type=float, help=f"Share of it that takes over from the best; default: {QUANTILE:g}.")
@click.option("--grace", type=int, help="Epochs before which no run is stopped.")
@click.option("--reduction", type=int, help="Of the runs at a rung, one in so many goes on.")
@click.option("--metric", multiple=True, help=METRIC)
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether small or large values of --metric are good.")
@click.option("--time-budget", "time", help="Seconds, or such as 30m or 2h; then the search ends, and can go on.")
@click.option("--epoch-budget", "total_epochs", type=int, help="Epochs of all runs together; then the search ends.")
@click.option("--device-budget", "device_time", help="Time of all devices together, such as 40h; then the search ends.")
@click.option("--cost-budget", "cost", type=float, help="Money for the devices of all runs, at --price; then it ends.")
@click.option("--price", type=float, help="Money for a device (a GPU, or a worker without one) for an hour.")
@click.option("--retry-failed", "retry", is_flag=True, help="Train runs again that failed before.")
@click.option("--space", help="A named space, such as wide (jobs.zoo ENTRY lists them), or none: draw nothing.")
@click.option("--sampler", type=click.Choice(SAMPLERS), default=RANDOM, show_default=True, help="Who proposes.")
@click.option("--start-from", "start", metavar="EXPERIMENT|FILE", help="Try known configurations first; learn from it.")
@click.option("--search", "choices", multiple=True, metavar="KEY=V1,V2", help="Search a setting among these values.")
@click.option("--only", "alone", is_flag=True, help="Search nothing but what --search names.")
@click.option("--replay", is_eager=True, metavar="EXPERIMENT", help="Tell what a recorded search would have cost.")
@click.option("--slots", metavar="N,N", help="Of --replay: runs at a time.")
def main(**options: Any) -> int:
    """Checks everything that can be checked before anything starts, then searches."""
    with refusing():
        check_replay(click.get_current_context())
    if options["replay"]:
        return forecast(options)
    with refusing():
        wanted = plans(options)
        if wanted.first.asked.dry_run:
            wanted.look()
            for part in wanted.parts:
                show(part.space.config, search=part.about())
            for line in wanted.notices:
                click.echo(line, err=True)
            return 0
        datasets = wanted.open()
        wanted.first.asked.storage.check_writable()
    for line in dict.fromkeys(line for dataset in datasets.values() for line in notices(dataset)):
        print(line, flush=True)
    with connection():
        return search(wanted, datasets)


def search(wanted: Plans, datasets: Mapping[DataConfig, Dataset]) -> int:
    """Drives the trials and prints the leaderboard; 0 if no run broke, 1 if one did."""
    from gen.on_ray import preflight, search
    from gen.on_ray.retry import ends_that_stand
    from gen.on_ray.submission import Search
    from gen.on_ray.waiting import watch

    first = wanted.first
    asked, config = first.asked, first.space.config
    name, storage = asked.name, asked.storage
    lease = results.Lease(storage, name, hear=interrupt.give_up)
    hashes = {data: dataset.hash for data, dataset in datasets.items()}
    notes = dict(wanted.notes(hashes))
    with refusing():
        needed = preflight.check_cluster(config.machine, first.gpus)
        preflight.check_batchnorm(wanted.configs, needed)
        preflight.check_shared(storage)
        for entry, note in notes.items():
            preflight.check_name(storage, name, note, entry)
        named = names.Names(storage, name)
        by_run = runs_on_record(wanted, hashes, named)
        ended = ends_that_stand(storage, name, by_run, lease.attempt, first.retry)
        for run in set(storage.folders(checkpoint.folder(name, ""))) & by_run.keys() - ended.keys():
            checkpoint.check_last(storage, name, run)
        lease.acquire(asked.take_over, say)
        tell_lost(storage, name)
    storage = lease.storage  # what is written through it is refused once another job has the lease
    try:
        set_threads(config.machine.threads)
        with refusing():
            for entry, note in notes.items():  # another job may have begun and ended it meanwhile
                preflight.check_name(storage, name, note, entry)
            features, cpu = asked.features(), resolve_device("cpu")
            for dataset in datasets.values():
                extractor = features.open(dataset, cpu, storage=storage)  # before trials race for it, ...
                features.open_teller(dataset, extractor, cpu, storage=storage)  # ... and for what tells the classes
        for entry, note in notes.items():
            names.write_note(storage, name, note, entry)
        slot = results.Slot(storage, name, f"{lease.attempt}-proposals", kind="proposed")
        with refusing():
            sampled = sample(wanted, hashes, named, slot, lease.attempt)
        done, count, each = len(ended), sampled.count, preflight.in_words(needed)
        for line in (*wanted.notices, *sampled.lines):
            print(line, flush=True)
        told = "runs until a limit is reached" if first.endless else f"{count} runs"
        print(f"{name}: {told}, {done} on record; {each} each; results in {storage}", flush=True)
        with (
            watch(needed, config.machine.workers, interject) as watched,
            show_progress(count, done, watched.heard) as hear,
        ):
            began = time.monotonic()
            found = search.search(
                Search(runs=sampled.known, retry=first.retry, **asked.submission(lease, hashes, facts())),
                lease,
                needed,
                hear,
                mode=direction(config.evaluate.metric),
                grace=max(part.space.grace for part in wanted.parts),
                reduction=first.space.reduction,
                most=first.most,
                seconds=first.seconds,
                images=min(dataset.length("train") for dataset in datasets.values()),
                seeds=first.seeds,
                supply=sampled.supply,
                budget=first.budget,
                population=population(first, hashes, named),
            )
        found.errors.extend(measure(wanted, sampled.runs, lease, needed))
        raced = None
        if first.confirm and not found.left:
            with watch(needed, config.machine.workers, interject) as watched:
                left = first.seconds - (time.monotonic() - began)
                raced = confirm.race(wanted, sampled.runs, hashes, named, lease, needed, left, watched.heard)
            found = search.Result([*found.errors, *raced.result.errors], raced.result.left, raced.result.why)
            found.errors.extend(measure(wanted, raced.runs, lease, needed, confirmed=True))
        show_found(wanted, storage, raced)
        for error in found.errors:
            print(f"a run broke: {error}", flush=True)
        if found.left:
            why, more = (found.why, " with more") if found.why else ("the time is up", "")
            to_go = "" if first.endless else f" with {found.left} runs to go"
            print(f"{why}{to_go}: submit the same again{more} to go on", flush=True)
            if first.confirm and raced is None:
                print(unconfirmed(wanted, sampled.runs, storage, more), flush=True)
        return int(bool(found.errors))
    finally:
        lease.release()


if __name__ == "__main__":
    main()
