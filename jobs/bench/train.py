"""The bare engine against jobs.train with one worker."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

import click

from gen import results
from gen.config import override
from gen.engine.fit import fit
from gen.judge import Judge, shared_classifier
from gen.record.record import Home
from gen.results.storage import Storage
from jobs.bench.timing import in_turn, options, prepare, report
from jobs.options import refusing


@click.command(short_help="The engine against jobs.train with one worker.")
@options
@click.option("--epochs", default=10, show_default=True, help="Epochs of a measurement; aim at a minute.")
def train(entry: str, data_root: str, device: str, rounds: int, epochs: int) -> None:
    """Whole runs, evaluation, tables and checkpoints included: `fit` in this process against jobs.train on Ray."""
    with refusing():
        config, dataset, place = prepare(entry, data_root, device)
    config = override(config, {"budget.epochs": epochs})
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)
        classifier = shared_classifier(dataset, storage, place)
        judge = Judge(dataset, classifier, place, config.evaluate.batch)

        def engine() -> Iterator[float]:
            for number in range(rounds):
                home = Home(storage, f"engine-{number}", "bench")
                for _ in fit(config, dataset, device=place, home=home, judge=judge):
                    pass
                yield images_a_second(storage, f"engine-{number}")

        def job() -> Iterator[float]:
            for number in range(rounds):
                name = f"job-{number}"
                arguments = {"entry": entry, "data": "mnist", "data-root": data_root, "epochs": epochs}
                arguments |= {"device": device, "storage": folder, "name": name}
                texts = [text for key, value in arguments.items() for text in (f"--{key}", str(value))]
                subprocess.run([sys.executable, "-m", "jobs.train", *texts], check=True, stdout=subprocess.DEVNULL)
                yield images_a_second(storage, name)

        report(in_turn({"engine": engine(), "jobs.train": job()}, rounds))


def images_a_second(storage: Storage, experiment: str) -> float:
    """Images a second of a run's ticks, training and evaluation together, from its tables."""
    last = results.metrics(storage, experiment).sort_values("tick").iloc[-1]
    return float(last["images"] / last["seconds"])
