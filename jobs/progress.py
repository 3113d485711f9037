"""How far a search, or the decoding of images, is: lines in a job's log, a bar on a terminal."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gen.data.parts import Part, Runner, here

if TYPE_CHECKING:
    from gen.on_ray.leaders import Measuring
    from gen.on_ray.progress import Standing

SECONDS = 1.0  # between two lines that tell how far decoding is


@contextmanager
def show_progress(runs: int, done: int, heard: Callable[[], None]) -> Iterator[Callable[[Standing], None]]:
    """Gives a function that shows how far a search of `runs` runs is; `done` of them had ended before. It calls `heard`
    for each sign of a run."""
    ticks = 0

    def note(standing: Standing) -> None:
        nonlocal ticks
        if standing.ticks > ticks:
            ticks = standing.ticks
            heard()

    if not sys.stdout.isatty():

        def show(standing: Standing) -> None:
            note(standing)
            print(line(standing), flush=True)

        yield show
        return
    bar: Any
    with click.progressbar(
        length=runs, label="runs", width=12, show_pos=True, show_percent=False, show_eta=False, item_show_func=beside
    ) as bar:

        def advance(standing: Standing) -> None:
            note(standing)
            bar.update(standing.done - bar.pos, standing)
            bar.render_progress()  # which `update` leaves out where no run ended

        bar.update(done)
        yield advance


def interject(text: str) -> None:
    """Prints a line among those of `show_progress`, or under the bar, which is drawn again below it."""
    print(f"\n{text}" if sys.stdout.isatty() else text, flush=True)


def beside(standing: Standing | None) -> str:
    """The text beside the bar, cut to the terminal's width: each longer line would leave a copy of itself behind."""
    return summary(standing)[: max(shutil.get_terminal_size().columns - 34, 0)] if standing else ""


def line(standing: Standing) -> str:
    """One line, with the seconds since the start."""
    text = standing.news or summary(standing)
    done = f"{standing.done} of {standing.runs}" if math.isfinite(standing.runs) else f"{standing.done} ended"
    return f"{standing.seconds:6.1f} s  {text}  ({done})"


def summary(standing: Standing) -> str:
    """How many runs are in which state, an estimate of the time left, and the best so far."""
    states = [f"{standing.running} running"]
    states += [f"{standing.ended.get(name, 0)} {name}" for name in ("finished", "stopped", "failed")]
    if standing.ended.get("broken"):
        states.append(f"{standing.ended['broken']} broken")
    left = f"; about {duration(standing.left)} left" if standing.left > 0 else ""
    best = f"; best {standing.best:.6g} (run {standing.best_run})" if math.isfinite(standing.best) else ""
    return ", ".join(states) + left + best


def measured(now: Measuring, kind: str) -> str:
    """One line on the measuring of runs, "leaders" or "runs" by their kind."""
    left = f"; about {duration(now.left)} left" if now.left > 0 else ""
    if now.text:
        return f"measuring run {now.number} of {now.count}: {now.text} (run {now.run}){left}"
    return f"measured {now.done} of {now.count} {kind}: run {now.run}{left}"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def reporting(runner: Runner, silence: float = 0.0) -> Runner:
    """`runner`, telling how far it is and how long it will take, if it takes longer than `silence` seconds."""

    def run(parts: Sequence[Part]) -> Iterator[int]:
        total, done = sum(len(part.names) for part in parts), 0
        begun = start = shown = time.monotonic()
        text = f"decoding {total:,} images in {len(parts)} parts"  # the first line, until it is told
        if not silence:
            print(text, flush=True)
            text = ""
        before = 0  # images of the first part, which had to wait for the cluster
        for count in runner(parts):
            done += count
            now = time.monotonic()
            if not before and done < total:
                before, start = done, now
            elif now - begun >= silence and (now - shown >= SECONDS or done == total):
                rate = (done - before) / max(now - start, 1e-3)
                left = duration((total - done) / rate)
                lines = filter(None, (text, f"{done:,} of {total:,} images, {rate:,.0f} a second, {left} left"))
                print(*lines, sep="\n", flush=True)
                shown, text = now, ""
            yield count

    return run


decode_here: Runner = reporting(here, silence=5.0)  # what jobs decode beside their main work
