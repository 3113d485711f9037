"""When runs held slots, as the tables tell it: spans of time, packed into lanes, and how many were busy at once.

The tables hold when a run began (`runs`), went on from a checkpoint (`events`) and ended (`outcomes`), each by the
clock of its own process, and on which host; they do not name the process. So lanes are packed greedily from the spans
of a host: no lane has two runs at a time, and there are no more lanes than runs were ever at work at once.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

OPEN, WAITED, LOST, LATER = "open", "waited", "lost", "later"  # how a span ended that has no outcome
SPAN = ("run", "attempt", "host", "start", "end", "how", "first", "last")


@dataclass(frozen=True)
class Start:
    """The moment at which a run began, or went on."""

    time: float  # seconds since 1970
    attempt: str
    host: str
    tick: int  # the first that it makes


def find_spans(
    begun: pd.DataFrame, resumed: pd.DataFrame, ends: pd.DataFrame, ticks: pd.DataFrame, rungs: pd.DataFrame
) -> pd.DataFrame:
    """One row for each span of time in which a run held a slot: `run`, `attempt`, `host`, `start` and `end` in seconds
    since 1970, `how` it ended, and the `first` and the `last` tick that it left on record (0: none).

    `how` is the outcome's status (finished, stopped, failed) or, of a span without an outcome, "waited" (the run gave
    its slot away at a rung), "lost" (its process ended, and it went on in the same submission), "later" (it went on in
    a later submission) or "open" (nothing more is on record). Such a span is as long as the seconds of its ticks: what
    was done after its last checkpoint is not on record.

    `begun`: all rows of `runs` (run, attempt, started, hosts). `resumed`: the resumptions among `events` (run, attempt,
    tick, time, detail). `ends`: all rows of `outcomes` (run, attempt, tick, ended, status). `ticks`: run, tick and
    seconds of `metrics`, of the runs of which `unfinished` asks. `rungs`: run and tick of decisions at rungs.
    """
    starts: dict[str, list[Start]] = {}
    hosts: dict[str, str] = {}
    for run, attempt, started, names in rows(begun, "run attempt started hosts"):
        hosts[run] = ", ".join(names)
        starts.setdefault(run, []).append(Start(seconds_of(started), attempt, hosts[run], 1))
    for run, attempt, tick, time, detail in rows(resumed, "run attempt tick time detail"):
        host = ", ".join(json.loads(detail).get("hosts", ())) or hosts.get(run, "")
        starts.setdefault(run, []).append(Start(seconds_of(time), attempt, host, int(tick)))
    outcomes: dict[str, list[tuple[float, str, int]]] = {}
    for run, ended, status, tick in rows(ends, "run ended status tick"):
        outcomes.setdefault(run, []).append((seconds_of(ended), status, int(tick)))
    taken = {run: dict(zip(of_run["tick"], of_run["seconds"], strict=True)) for run, of_run in ticks.groupby("run")}
    decided = set(rows(rungs, "run tick"))
    found = list[tuple[Any, ...]]()
    for run, of_run in starts.items():
        of_run.sort(key=lambda start: start.time)
        for start, after in zip(of_run, [*of_run[1:], None], strict=True):
            until = after.time if after else math.inf
            inside = [end for end in outcomes.get(run, ()) if start.time <= end[0] < until]
            if inside:
                end, how, last = max(inside)
            else:
                kept = [tick for tick in taken.get(run, ()) if start.tick <= tick and (not after or tick < after.tick)]
                last = max(kept, default=0)
                spent = taken[run][last] - taken[run].get(start.tick - 1, 0.0) if kept else 0.0
                end, how = min(start.time + max(spent, 0.0), until), why_left(run, start, after, last, decided)
            found.append((run, start.attempt, start.host, start.time, end, how, start.tick, last))
    frame = pd.DataFrame(found, columns=SPAN).sort_values(["start", "run"], kind="stable", ignore_index=True)
    return frame.astype({"start": float, "end": float})


def why_left(run: str, start: Start, after: Start | None, last: int, decided: set[tuple[Any, ...]]) -> str:
    """How a span without an outcome ended."""
    if after is None:
        return OPEN
    if after.attempt != start.attempt:
        return LATER
    return WAITED if (run, last) in decided else LOST


def unfinished(begun: pd.DataFrame, resumed: pd.DataFrame, ends: pd.DataFrame) -> list[str]:
    """The runs with a span that no outcome ends, whose ticks `find_spans` needs: those with more starts than ends."""
    starts = pd.concat([begun["run"], resumed["run"]]).value_counts()
    over = ends["run"].value_counts().reindex(starts.index, fill_value=0)
    return sorted(starts.index[starts > over])


def rows(frame: pd.DataFrame, names: str) -> Iterable[tuple[Any, ...]]:
    """The rows of some columns."""
    return zip(*(frame[name] for name in names.split()), strict=True)


def seconds_of(time: Any) -> float:
    """A time of a table's in seconds since 1970."""
    return float(time.timestamp())


def pack(spans: pd.DataFrame) -> np.ndarray:
    """The lane (N,) of each span, 0 and up on each host. Spans of a lane do not overlap, one may begin where another
    ends; a host has as many lanes as spans lie over one another there."""
    lanes = np.zeros(len(spans), dtype=int)
    for _, of_host in spans.groupby("host", sort=False):
        free, busy, count = list[int](), list[tuple[float, int]](), 0
        order = of_host.sort_values(["start", "end"], kind="stable")
        for place, start, end in zip(order.index, order["start"], order["end"], strict=True):
            while busy and busy[0][0] <= start:
                heapq.heappush(free, heapq.heappop(busy)[1])
            if not free:
                heapq.heappush(free, count)
                count += 1
            lane = heapq.heappop(free)
            lanes[spans.index.get_loc(place)] = lane
            heapq.heappush(busy, (end, lane))
    return lanes


def windows(spans: pd.DataFrame) -> list[tuple[float, float]]:
    """The times at which submissions were at work, from the first start of each to its last end, in order; those that
    touch are one."""
    edges = spans.groupby("attempt").agg(start=("start", "min"), end=("end", "max")).sort_values("start")
    found = list[tuple[float, float]]()
    for start, end in zip(edges["start"], edges["end"], strict=True):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without_pauses(
    times: Sequence[float] | np.ndarray | pd.Series, working: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Times (N,), in seconds since the first of the windows `working`, with what lies between two windows left out."""
    known = np.asarray(times, dtype=float)
    found = np.zeros_like(known)
    for start, end in working:
        found += np.clip(known, start, end) - start
    return found


def idle_share(spans: pd.DataFrame, lanes: np.ndarray) -> float:
    """Share of the time of slots in which they held no run. A slot is a lane of a host, from the host's first start in
    a submission to the submission's last end. NaN where no time passed."""
    busy, room = 0.0, 0.0
    for _, of_attempt in spans.assign(lane=lanes).groupby("attempt"):
        last = of_attempt["end"].max()
        busy += float((of_attempt["end"] - of_attempt["start"]).sum())
        for _, of_host in of_attempt.groupby("host"):
            room += of_host["lane"].nunique() * float(last - of_host["start"].min())
    return 1 - busy / room if room > 0 else math.nan


def utilisation(starts: np.ndarray, ends: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of the spans from `starts` (N,) to `ends` (N,) hold a slot in each of the bins between `edges` (B + 1,),
    on average over the bin: their sum, each times the width of its bin, is the spans' time between the outer edges."""

    def spent(at: np.ndarray) -> np.ndarray:  # seconds of spans before each time
        total = np.zeros(len(at))
        for moments, sign in ((np.sort(starts), 1.0), (np.sort(ends), -1.0)):
            before = np.searchsorted(moments, at)
            sums = np.concatenate([[0.0], np.cumsum(moments)])
            total += sign * (before * at - sums[before])
        return total

    return np.diff(spent(edges)) / np.diff(edges)
