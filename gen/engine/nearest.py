"""Measures on demand how near a run's fakes are to its training images, and draws them beside the nearest."""

from __future__ import annotations

import time
from typing import Any

import torch

from gen.capabilities import Imitates, Translates, has
from gen.data.dataset import check_trained_on
from gen.distributed.machine import set_threads
from gen.engine.build import build_model
from gen.engine.per_process import dataset_of, judge_of
from gen.judge.judge import Tell, silence
from gen.judge.nearest import IMAGES, NEAR, Neighbours, nearest_images
from gen.pictures.nearest import ROWS, fakes_beside_nearest
from gen.record import checkpoint
from gen.record.later import Rows, of_attempt
from gen.results import queries
from gen.results.ledger import Slot
from gen.results.schema import LATER_SECONDS, NEARER
from gen.results.storage import Storage
from gen.zoo import restore

KIND = "nearest"  # of the rows of `samples`


def is_known(storage: Storage, experiment: str, run: str) -> bool:
    """Whether the tables hold the picture of the run's present best weights."""
    stored = queries.read(storage, experiment, "samples", {"run": run, "kind": KIND}, ["tick"])
    return checkpoint.best_tick(storage, experiment, run) in set(stored["tick"])


def measure_nearest(
    storage: Storage,
    experiment: str,
    run: str,
    attempt: str,
    device: torch.device,
    data_root: str | None = None,
    download: bool = False,
    tell: Tell = silence,
) -> str:
    """Puts a picture of the fakes of a run's best weights beside the nearest training images into `samples`, and the
    chance that a fake is nearer than a held-out image is into `metrics`, with the seconds that this took, which count
    as the run's. Gives the picture's caption. ValueError if the run makes no fakes from noise, or for other images than
    those that it was trained on."""
    begin = time.perf_counter()
    state = checkpoint.load_best(storage, experiment, run, device)
    config = restore(state["config"])
    set_threads(config.machine.threads)
    wanted = queries.data_hashes(storage, experiment, [run])[run]
    dataset = dataset_of(config.data, data_root, download, wanted)
    check_trained_on(dataset, run, wanted)
    model = build_model(config, dataset, device)
    checkpoint.put_weights(model, state["weights"], run)
    model.eval().requires_grad_(False)
    if not has(model, Imitates) or has(model, Translates):
        raise ValueError(
            f"run {run} of {experiment} is of {config.entry}, which makes no fakes from noise: there is nothing to "
            "compare with training images; leave --nearest out"
        )
    judge = judge_of(config, data_root, download, storage, device)
    tell(f"comparing {IMAGES:,} fakes of run {run} with the training images of {dataset.name}")
    column = model.imitated[0]
    found = nearest_images(judge, model, column)
    text = caption(found, judge.extractor.name, f"{config.entry} on {dataset.name}, epoch {state['epoch']:g}")
    png = fakes_beside_nearest(found.fakes, found.real, found.distances, text)
    here = {"experiment": experiment, "run": run} | {name: state[name] for name in ("tick", "step", "epoch")}
    rows = rows_of_measure(here, int(state["images"]), png, found.nearer, time.perf_counter() - begin)
    Slot(storage, experiment, f"{attempt}-{run}-{KIND}", kind="evaluated").extend(of_attempt(rows, attempt))
    return text


def caption(found: Neighbours, extractor: str, of: str) -> str:
    """What the picture shows, and what was measured."""
    return (
        f"In each row a fake of {of}, and the {NEAR} of {found.training:,} training images that are nearest to it in "
        f"the features of {extractor}. Left the first {min(ROWS, len(found.fakes))} fakes, right those of "
        f"{len(found.fakes):,} that are nearest to a training image. The chance that a fake is nearer to one than a "
        f"held-out image is, of {len(found.held_out):,}: {found.nearer:.2f} (0.5: as new images are; near 1: learned "
        "by heart)."
    )


def rows_of_measure(here: dict[str, Any], images: int, png: bytes, nearer: float, seconds: float) -> Rows:
    """The rows of the picture, the figure and the seconds. `here`: experiment, run, and the weights' tick, step and
    epoch."""
    of_metric = {**here, "images": images, "seconds": seconds}
    return {
        "samples": [{**here, "kind": KIND, "png": png}],
        "metrics": [
            {**of_metric, "name": LATER_SECONDS, "value": seconds},
            {**of_metric, "name": NEARER, "value": nearer},
        ],
    }
