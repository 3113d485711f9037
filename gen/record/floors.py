"""Measures the floor of full figures, what real held-out images reach in the place of fakes, and records it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gen.distributed.memory import TooLargeError, fitting
from gen.distributed.workers import ALONE, Workers
from gen.judge import Judge, floor
from gen.judge.judge import Tell, silence
from gen.results.floor import Asked, floor_rows
from gen.results.ledger import Slot
from gen.results.ranking import device_seconds
from gen.results.storage import Storage


def measure_floors(
    storage: Storage,
    experiment: str,
    wanted: Iterable[Asked],
    judge: Judge,
    devices: float,
    workers: Workers = ALONE,
    tell: Tell = silence,
) -> Iterator[list[dict[str, Any]]]:
    """The rows of `events` of each of the floors that are `wanted`, or of why it cannot be measured: a floor ends no
    run. One in other features than the judge's is left to who has those. All `workers`, which take so many `devices`,
    ask at the same time; the first one has the rows. `tell` hears what is measured next."""
    for asked in wanted:
        if judge.references.weights_hash != asked.features_hash:
            continue
        tell(f"floor of at most {asked.n_fake:,} real images, {asked.split}")
        start, why = time.perf_counter(), ""
        try:
            with fitting(judge.device, workers):
                figures = floor(judge, asked.split, asked.n_fake, asked.column, workers)
        except (ValueError, TooLargeError) as error:
            figures, why = [], str(error)
        seconds = time.perf_counter() - start
        if workers.rank == 0:
            paid = seconds * devices
            share = paid / (device_seconds(storage, experiment) + paid)
            yield floor_rows(
                experiment,
                asked,
                [{**figure.row(), "data_hash": judge.dataset.hash} for figure in figures],
                {"seconds": seconds, "devices": devices, "share": share},
                why,
            )


def record(slot: Slot, attempt: str, rows: Collection[Mapping[str, Any]]) -> None:
    """Writes the rows of a floor, with the attempt and the time."""
    slot.extend({"events": [{**row, "attempt": attempt, "time": datetime.now(UTC)} for row in rows]})
