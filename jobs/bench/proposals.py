"""What a sampler takes with thousands of configurations on record."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from gen.config import RunConfig, identity, override
from gen.results.ledger import Slot
from gen.results.storage import Storage
from gen.search.samplers import Drawn, Listed, Sampler
from gen.search.tpe import Tpe
from gen.zoo import entry as zoo_entry
from tune_spaces import SpaceQuestions, draw, space_for

if TYPE_CHECKING:
    from gen.on_ray.proposals import Supply

NAME = "proposals"
AGAIN = 64  # proposals that are timed: at least as many as one write brings


@click.command(short_help="What a sampler takes with thousands of configurations on record.")
@click.option("--entry", default="vqvae", show_default=True, help="Whose space is searched.")
@click.option("--known", default=10_000, show_default=True, help="Configurations on record, each with its end.")
def proposals(entry: str, known: int) -> None:
    """The same draws on record for each sampler: the seconds to go on from them, and the milliseconds of a proposal,
    with its row in storage."""
    from gen.on_ray.proposals import Part, Supply
    from gen.on_ray.proposals import proposals as recorded
    from gen.on_ray.replay import End

    config = override(zoo_entry(entry), {"budget.epochs": 9})
    space = space_for(config)
    drawn = [draw(space, 0, number) for number in range(known + AGAIN)]
    samplers: dict[str, Sampler] = {"random": Drawn(lambda number: draw(space, 0, number)), "grid": Listed(drawn)}
    samplers["tpe"] = Tpe(SpaceQuestions(space), 0, "min")

    def runs(settings: Any) -> dict[str, RunConfig]:
        one = override(config, settings).resolve()
        return {identity(one, "data"): one}

    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(folder)

        def supply(name: str, sampler: Sampler) -> Supply:
            slot = Slot(storage, NAME, f"{name}-proposals", kind="proposed")
            return Supply([Part(entry, name, sampler, 0, known + AGAIN, runs)], slot, name, rows)

        rows = list[Any]()
        first = supply("first", Listed(drawn[:known]))
        while first.propose():
            pass
        print(f"{entry}, {known:,} configurations on record; seconds, then milliseconds of a proposal")
        print(f"{'':10}{'to read':>10}{'to go on':>10}{'mean':>10}{'longest':>10}")
        for name, sampler in samplers.items():
            rows, reading = timed(lambda: recorded(storage, NAME)[:known])  # not what others have added
            one, making = timed(lambda name=name, sampler=sampler: supply(name, sampler))  # type: ignore[misc]
            ends = {run: End(9, 9.0, "finished", float(place % 1013), 1.0, 1.0) for place, run in enumerate(one.runs)}
            _, beginning = timed(lambda one=one, ends=ends: one.begin(ends))  # type: ignore[misc]
            asked = [timed(one.next)[1] for _ in range(AGAIN)]
            print(
                f"{name:10}{reading:10.2f}{making + beginning:10.2f}"
                f"{1e3 * statistics.mean(asked):10.2f}{1e3 * max(asked):10.2f}",
                flush=True,
            )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start
