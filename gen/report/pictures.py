"""Stored pictures of the best, the median and a collapsed run, side by side and over training; and the best run's fakes
beside the training images that are nearest to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gen.report.facts import Experiment, Facts
from gen.report.images import Album, Embedded
from gen.report.section import Section, number, render
from gen.report.thin import thin
from gen.report.winner import winner
from gen.report.words import left_out
from gen.results import queries

FRAMES = 6  # of a run over training
SHARE = 250_000  # bytes of a picture at most, else its upper rows
NEAREST = "nearest"
KINDS = {  # kind of `samples` -> what lies where in it; of several, the first is shown
    "fakes": "fakes on the left, real images on the right",
    "translations": "rows of sources, each over the row of their translations",
    "reconstructions": "rows of originals, each over the row of their reconstructions",
}


@dataclass(frozen=True)
class Choice:
    """A run whose pictures are shown."""

    role: str  # best, median or collapsed
    run: str
    why: str  # this one, in words


@dataclass(frozen=True)
class Frame:
    """A picture of a run at an epoch."""

    choice: Choice
    kind: str
    epoch: float
    tick: int
    is_best: bool  # of the weights that are kept
    image: Embedded | None = None

    @property
    def text(self) -> str:
        """What it shows, for who does not see it, and below it once it is open."""
        shows = KINDS.get(self.kind, self.kind)
        part = "" if self.image is None or self.image.rows == 1 else f" Its upper {100 * self.image.rows:.0f} %."
        best = ", its best weights" if self.is_best else ""
        return f"{self.kind} of run {self.choice.run}, epoch {number(self.epoch)}{best}: {shows}.{part}"


def section(facts: Facts) -> Section | None:
    """The pictures; None if none is on record."""
    experiment, album = facts.first, Album()
    stored = on_record(experiment)
    if stored.empty:
        return None
    best = best_of(experiment)
    rivals = experiment.searched
    chosen = choose(rivals, best, experiment.mode, stored[stored["run"].isin(rivals["run"])])
    if not chosen and not (stored["run"] == best).any():
        return None
    frames = {one.run: plan(one, stored, experiment.runs) for one in chosen}
    mains = [main_of(of_run) for of_run in frames.values()]
    found = load(experiment, album, mains, SHARE)
    nearest = find_nearest(experiment, album, stored, best)
    found |= load(experiment, album, list(in_turns(frames.values(), mains)), SHARE)
    shown = [found[one.choice.run, one.tick, one.kind] for one in mains]
    collapsed = rivals["collapsed"].notna()
    html = render(
        "pictures.html",
        experiment=experiment,
        shown=shown,
        strips=[
            (one, [found[one.run, frame.tick, frame.kind] for frame in frames[one.run]])
            for one in chosen
            if len(frames[one.run]) > 1
        ],
        nearest=nearest,
        imitates="fakes" in set(stored["kind"]),
        album=album,
        collapsed=int(collapsed.sum()),
        unseen=bool(collapsed.any()) and not any(one.role == "collapsed" for one in chosen),
        pictured=stored["run"][stored["kind"] != NEAREST].nunique(),
        runs=len(experiment.runs),
        left_out=left_out(experiment),
    )
    return Section("Pictures", "pictures", html)


def on_record(experiment: Experiment) -> pd.DataFrame:
    """Which pictures are stored, without them: run, tick, epoch and kind."""
    columns = ["run", "attempt", "tick", "epoch", "kind"]
    found = queries.read(experiment.storage, experiment.name, "samples", columns=columns)
    return queries.last(found, ["run", "tick", "kind"], ["attempt"])


def best_of(experiment: Experiment) -> str:
    """The best run of the configuration that has won; "" if no run has a value."""
    found = winner(experiment)
    return str(found.run) if found else ""


def by_value(runs: pd.DataFrame, mode: str) -> list[str]:
    """The runs that have a value, the best first."""
    valued = runs[runs["best"].notna()].sort_values("best", ascending=mode == "min", kind="stable")
    return [str(run) for run in valued["run"]]


def choose(runs: pd.DataFrame, best: str, mode: str, stored: pd.DataFrame) -> list[Choice]:
    """The best run, the median one by the value that steered, and one that collapsed, as far as pictures of them are
    `stored`; else the nearest to them of which there are some. A run is chosen once."""
    counts = stored[stored["kind"] != NEAREST]["run"].value_counts()
    order, pictured = by_value(runs, mode), {str(run) for run in counts.index}
    places = {run: place for place, run in enumerate(order)}
    found = list[Choice]()
    first = best if best in pictured else next((run for run in order if run in pictured), "")
    if first:
        why = "the winner" if first == best else f"rank {places[first] + 1} of {len(order)}; no picture of the winner"
        found.append(Choice("best", first, why))
    middle = (len(order) - 1) // 2
    near = sorted((run for run in order if run in pictured and run != first), key=lambda run: abs(places[run] - middle))
    if near and len(order) > 2:
        own = f"rank {places[near[0]] + 1} of {len(order)} by the figure that steered"
        why = own if places[near[0]] == middle else f"{own}, the nearest to the median of which there is a picture"
        found.append(Choice("median", near[0], why))
    told = dict(zip(runs["run"].astype(str), runs["collapsed"], strict=True))
    taken = {one.run for one in found}
    fallen = [run for run in told if isinstance(told[run], str) and run in pictured and run not in taken]
    if fallen:
        last = max(fallen, key=lambda run: (counts[run], places.get(run, len(order))))
        found.append(Choice("collapsed", last, f"collapsed at {told[last]}"))
    if not found and len(counts):  # no run has a value yet
        found.append(Choice("best", str(counts.index[0]), "no run has a value yet"))
    return found


def plan(choice: Choice, stored: pd.DataFrame, runs: pd.DataFrame) -> list[Frame]:
    """The pictures of a run over training, all of one kind, in the order of epochs: a few, evenly spread, with the
    first, the last and that of the best weights among them."""
    own = stored[(stored["run"] == choice.run) & (stored["kind"] != NEAREST)]
    order = [*KINDS, *sorted(set(own["kind"]) - KINDS.keys())]
    kind = next(one for one in order if one in set(own["kind"]))
    own = own[own["kind"] == kind].sort_values("tick").reset_index(drop=True)
    best = runs["best_epoch"][runs["run"] == choice.run].astype(float).iloc[0]
    is_best = own["epoch"].to_numpy(dtype=float) == best
    places = np.union1d(thin(len(own), FRAMES), np.flatnonzero(is_best)).astype(int)
    return [
        Frame(choice, kind, float(own["epoch"][place]), int(own["tick"][place]), bool(is_best[place]))
        for place in places
    ]


def main_of(frames: Sequence[Frame]) -> Frame:
    """The picture by which a run is shown beside others: of its best weights, or of a collapsed one its last."""
    best = [one for one in frames if one.is_best and one.choice.role != "collapsed"]
    return best[0] if best else frames[-1]


def in_turns(frames: Collection[Sequence[Frame]], without: Sequence[Frame]) -> Iterator[Frame]:
    """The other frames of all runs by turns, from both ends inwards: where the room ends, each run has lost as many."""
    left = [[one for one in of_run if one not in without] for of_run in frames]
    for turn in range(max(map(len, left), default=0)):
        for of_run in left:
            if of_run:
                yield of_run.pop(0 if turn % 2 == 0 else -1)


def load(experiment: Experiment, album: Album, frames: Sequence[Frame], most: int) -> dict[tuple[str, int, str], Frame]:
    """The frames with their images, as far as the album has room."""
    if not frames:
        return {}
    wanted = {"run": {one.choice.run for one in frames}, "tick": {one.tick for one in frames}}
    rows = queries.read(
        experiment.storage, experiment.name, "samples", wanted, ["run", "tick", "kind", "attempt", "png"]
    )
    rows = queries.last(rows, ["run", "tick", "kind"], ["attempt"])
    data = {(run, tick, kind): png for run, tick, kind, png in rows[["run", "tick", "kind", "png"]].to_numpy()}
    found = dict[tuple[str, int, str], Frame]()
    for one in frames:
        key = (one.choice.run, one.tick, one.kind)
        image = album.take(data[key], most) if key in data else None
        found[key] = Frame(one.choice, one.kind, one.epoch, one.tick, one.is_best, image)
    return found


def find_nearest(experiment: Experiment, album: Album, stored: pd.DataFrame, best: str) -> Embedded | None:
    """The last picture of the best run's fakes beside the training images nearest to them, with its caption; None if
    nobody had it measured (`jobs.report --nearest`), or if it found no room."""
    own = stored[(stored["run"] == best) & (stored["kind"] == NEAREST)]
    if own.empty:
        return None
    frame = Frame(Choice("best", best, ""), NEAREST, float("nan"), int(own["tick"].max()), True)
    return next(iter(load(experiment, album, [frame], SHARE).values())).image
