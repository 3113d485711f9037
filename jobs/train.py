"""Trains one entry of the zoo, data-parallel: python -m jobs.train --entry vae_mlp --data mnist --workers 4

Submitted again under the same name it goes on where it stopped; a larger --epochs continues a finished run.
A prior over the codes of a trained VQ-VAE names it: --entry vqvae_pixelcnn --stage-one vqvae-mnist
"""

from __future__ import annotations

import threading
from typing import Any

import click

from gen.config import override
from gen.engine.fit import Tick
from gen.record import names
from gen.results import Lease
from jobs.cluster import connection, facts, run_trainer
from jobs.options import Asked, Job, check_ticks, refusing, resolve, shared_options, show


@click.command(cls=Job, help=__doc__)
@shared_options
def main(**options: Any) -> int:
    """Checks everything that can be checked before anything starts, then trains."""
    with refusing():
        asked = resolve(options)
        check_ticks(asked.config)
        if asked.dry_run:
            show(asked.config)
            return 0
        dataset = asked.open()
        asked.storage.check_writable()
    with connection():
        return train(asked, dataset.hash)


def train(asked: Asked, data_hash: str) -> int:
    """Drives a group of workers; 0 if the run ended well, 1 if it failed."""
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    from gen.on_ray import preflight
    from gen.on_ray.submission import Order
    from gen.on_ray.worker import train_worker

    config = override(asked.config, {"evaluate.mode": ""})  # checked by now, it says what the metric says
    name, lease = asked.name, Lease(asked.storage, asked.name)
    wanted = names.note(config, data_hash, job="train")
    with refusing():
        needed = preflight.check_cluster(config.machine)
        preflight.check_batchnorm([config], needed)
        preflight.check_shared(asked.storage)
        preflight.check_name(asked.storage, name, wanted)
        lease.acquire()
    try:
        names.write_note(asked.storage, name, wanted)
        run = names.Names(asked.storage, name).of(config, data_hash)
        order = Order(config=config, run=run, **asked.submission(lease.attempt, data_hash, facts()))
        each = preflight.in_words(needed)
        print(f"{name}: run {run}, {config.machine.workers} workers, {each} each", flush=True)
        queue, ticks = Queue(actor_options={"num_cpus": 0}), list[Tick]()
        listener = threading.Thread(target=listen, args=(queue, ticks, lease), daemon=True)
        listener.start()
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"order": order, "ticks": queue},
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.machine.workers, use_gpu="GPU" in needed, resources_per_worker=needed
            ),
            run_config=ray.train.RunConfig(
                name=lease.attempt,
                storage_path=asked.storage.full(f"{name}/_ray"),
                storage_filesystem=asked.storage.filesystem,
                failure_config=ray.train.FailureConfig(max_failures=3),
            ),
        )
        try:
            if not run_trainer(trainer, name):
                return 1
        finally:
            queue.put(None)
            listener.join()
        last = ticks[-1]
        told = [f"best {last.best:.6g}", *(f"{guard} {value:.4g}" for guard, value in last.guards.items())]
        print(f"{name}: {last.ended} ({last.why}), {', '.join(told)}", flush=True)
        return int(last.ended == "failed")
    finally:
        lease.release()


def listen(queue: Any, ticks: list[Tick], lease: Lease) -> None:
    """Prints each tick that the workers put in the queue, until None."""
    while (sent := queue.get()) is not None:
        tick = Tick(**sent)
        figures = "  ".join(f"{name} {value:.5g}" for name, value in tick.evals.items())
        print(f"epoch {tick.epoch:g}  {tick.images} images  {tick.seconds:.1f} s  {figures}", flush=True)
        ticks.append(tick)
        lease.check()


if __name__ == "__main__":
    main()
