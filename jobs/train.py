"""Trains one entry of the zoo, data-parallel: python -m jobs.train --entry vae_mlp --data mnist --workers 4

Submitted again under the same name it goes on where it stopped; a larger --epochs continues a finished run.
A prior over the codes of a trained VQ-VAE names it: --entry vqvae_pixelcnn --stage-one vqvae-mnist
"""

from __future__ import annotations

from typing import Any

import click

from gen.config import override
from gen.data.notices import notices
from gen.engine.fit import Tick
from gen.record import checkpoint, names
from gen.results import Lease
from jobs import interrupt
from jobs.cluster import connection, facts, run_workers, say
from jobs.experiments import tell_lost
from jobs.options import Asked, Job, check_ticks, refusing, resolve, shared_options, show
from jobs.output import page_line


@click.command(cls=Job, help=__doc__)
@shared_options
def main(**options: Any) -> int:
    """Checks everything that can be checked before anything starts, then trains."""
    with refusing():
        asked = resolve(options)
        check_ticks(asked.config)
        if asked.config.evaluate.full == "leaders":
            raise ValueError("evaluate.full=leaders: leaders are a search's, and this is one run; allowed: all, none")
        if asked.dry_run:
            asked.look()
            if note := names.read_note(asked.storage, asked.name):
                from gen.on_ray.preflight import check_name  # which imports Ray

                wanted = names.note(override(asked.config, {"evaluate.mode": ""}), note["data_hash"], job="train")
                check_name(asked.storage, asked.name, wanted)
            show(asked.config)
            return 0
        dataset = asked.open()
        asked.storage.check_writable()
    for line in notices(dataset):
        print(line, flush=True)
    with connection():
        return train(asked, dataset.hash)


def train(asked: Asked, data_hash: str) -> int:
    """Drives a group of workers; 0 if the run ended well, 1 if it failed."""
    from gen.on_ray import preflight
    from gen.on_ray.submission import Order
    from gen.on_ray.worker import FULL, train_worker

    config = override(asked.config, {"evaluate.mode": ""})  # checked by now, it says what the metric says
    name, lease = asked.name, Lease(asked.storage, asked.name, hear=interrupt.give_up)
    wanted = names.note(config, data_hash, job="train")
    with refusing():
        needed = preflight.check_cluster(config.machine)
        preflight.check_batchnorm([config], needed)
        preflight.check_shared(asked.storage)
        preflight.check_name(asked.storage, name, wanted)
        run = names.Names(asked.storage, name).of(config, data_hash)
        checkpoint.check_last(asked.storage, name, run)
        lease.acquire(asked.take_over, say)
        tell_lost(asked.storage, name)
    try:
        with refusing():
            preflight.check_name(asked.storage, name, wanted)  # another job may have begun and ended it meanwhile
        names.write_note(lease.storage, name, wanted)
        order = Order(config=config, run=run, **asked.submission(lease, {config.data: data_hash}, facts()))
        each = preflight.in_words(needed)
        print(
            f"{name}: run {run}, {config.machine.workers} workers, {each} each, results in {asked.storage}", flush=True
        )
        ticks = list[Tick]()

        def hear(sent: dict[str, Any] | str) -> None:
            if isinstance(sent, str):
                print(f"measuring run 1 of 1: {sent}", flush=True)
                return
            if FULL in sent:
                interrupt.give_up(sent[FULL])
                return
            ticks.append(Tick(**sent))
            show_tick(ticks[-1])

        if not run_workers(train_worker, {"order": order}, hear, config.machine.workers, needed, lease):
            return 1
        last = ticks[-1]
        told = [f"best {last.best:.6g}", *(f"{guard} {value:.4g}" for guard, value in last.guards.items())]
        print(page_line(asked.storage, name), flush=True)
        print(f"{name}: {last.ended} ({last.why}), {', '.join(told)}", flush=True)
        return int(last.ended == "failed")
    finally:
        lease.release()


def show_tick(tick: Tick) -> None:
    """Prints a tick."""
    figures = "  ".join(f"{name} {value:.5g}" for name, value in tick.evals.items())
    for line in tick.remarks:
        print(line)
    print(f"epoch {tick.epoch:g}  {tick.images} images  {tick.seconds:.1f} s  {figures}", flush=True)


if __name__ == "__main__":
    main()
