"""What each slot was doing over time, what was decided at rungs, how much was idle, and what was killed and went on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gen.report import lanes
from gen.report.facts import Experiment, Facts
from gen.report.section import DASH, Plot, Section, count, duration, number, plain, render
from gen.results import queries
from gen.results.lineage import EXPLOIT
from gen.results.schema import MEASURED_LATER

MOST_SPANS, MOST_LANES = 600, 64  # that are drawn one by one; of more, how many were busy at once
BINS = 200  # of time, then
MOST_ROWS = 200  # of the tables that say the same as the plot
MOST_BREAKS = 20  # rows of the table of runs that lost their slot
HOW = {  # how a span ended -> in words, colour (Okabe and Ito's), pattern
    "finished": ("finished", "#009e73", ""),
    "stopped": ("stopped", "#e69f00", ""),
    "failed": ("failed", "#d55e00", "x"),
    lanes.WAITED: ("gave its slot away, to be compared", "#56b4e9", "."),
    lanes.LOST: ("lost its process, went on", "#cc79a7", "/"),
    lanes.LATER: ("went on in a later submission", "#cc79a7", "\\"),
    lanes.OPEN: ("no end on record", "#0072b2", "-"),
}
DECIDED = {"continue": ("went on at a rung", "triangle-right"), "stop": ("stopped at a rung", "square")}
HOVER = "%{customdata}<extra></extra>"
UNITS = ((7200.0, 3600.0, "hours"), (300.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))  # from so many seconds on


@dataclass(frozen=True)
class Slots:
    """The spans in which runs held slots (see `gen.report.lanes`), each with its `lane` and with its ends `left` and
    `right` in seconds of work: since the first start, without the pauses between submissions."""

    spans: pd.DataFrame
    decisions: pd.DataFrame  # at rungs: run, decision, rung (epochs), lane, at (seconds of work)
    working: Sequence[tuple[float, float]]  # the times of submissions, in seconds since 1970
    idle: float  # share of the slots' time

    @property
    def seconds(self) -> float:
        """Seconds of work."""
        return sum(end - start for start, end in self.working)

    @property
    def lanes(self) -> list[tuple[str, int]]:
        """Host and number of each lane."""
        return sorted(set(zip(self.spans["host"], self.spans["lane"], strict=True)))

    def broken(self) -> pd.DataFrame:
        """The spans whose run lost its slot by no decision, and went on, in the order of time."""
        return self.spans[self.spans["how"].isin([lanes.LOST, lanes.LATER])]


def find_slots(experiment: Experiment) -> Slots | None:
    """What the tables tell of an experiment's slots; None if no run has begun."""
    storage, name = experiment.storage, experiment.name
    begun = queries.read(storage, name, "runs", columns=["run", "attempt", "started", "hosts"])
    if begun.empty:
        return None
    ends = queries.outcomes(storage, name, all_ends=True, columns=["run", "attempt", "tick", "ended", "status"])
    resumed = experiment.events[experiment.events["kind"] == "resume"]
    rungs = experiment.events[experiment.events["kind"] == "rung"]
    ticks = pd.DataFrame({"run": [], "tick": [], "seconds": []})
    if asked := lanes.unfinished(begun, resumed, ends):
        found = queries.read(
            storage, name, "metrics", {"run": set(asked)}, ["run", "attempt", "tick", "seconds", "name"]
        )
        found = found[~found["name"].isin(MEASURED_LATER)].astype({"seconds": float})
        ticks = queries.last(found, ["run", "tick"], ["attempt"])
    compared = experiment.events[experiment.events["kind"].isin(["rung", EXPLOIT])]  # there a run gives its slot away
    spans = lanes.find_spans(begun, resumed, ends, ticks, compared)
    spans["lane"] = lanes.pack(spans)
    working = lanes.windows(spans)
    spans["left"], spans["right"] = (lanes.without_pauses(spans[column], working) for column in ("start", "end"))
    return Slots(
        spans, place_decisions(rungs, spans, working), working, lanes.idle_share(spans, spans["lane"].to_numpy())
    )


def place_decisions(rungs: pd.DataFrame, spans: pd.DataFrame, working: Sequence[tuple[float, float]]) -> pd.DataFrame:
    """Decisions at rungs, each in the lane in which its run was when it was made, or last before; without those about
    runs that had not begun."""
    held: dict[str, list[tuple[float, str, int]]] = {}
    for run, start, host, lane in lanes.rows(spans, "run start host lane"):
        held.setdefault(run, []).append((start, host, lane))  # spans are in the order of their starts
    found = list[tuple[Any, ...]]()
    for run, decision, time, detail in lanes.rows(rungs, "run decision time detail"):
        at = lanes.seconds_of(time)
        if before := [(host, lane) for start, host, lane in held.get(run, ()) if start <= at]:
            found.append((run, decision, json.loads(detail).get("rung"), *before[-1], at))
    frame = pd.DataFrame(found, columns=["run", "decision", "rung", "host", "lane", "at"])
    frame["at"] = lanes.without_pauses(frame["at"].astype(float), working)
    return frame


def at_rungs(decisions: pd.DataFrame) -> list[tuple[float, int, int, int]]:
    """Rung in epochs, and how many runs went on there, were stopped, and ended by themselves."""
    counts = decisions.dropna(subset="rung").groupby(["rung", "decision"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=["continue", "stop", "end"], fill_value=0)
    return [(float(rung), int(on), int(off), int(end)) for rung, on, off, end in counts.itertuples()]


def section(facts: Facts) -> Section | None:
    """Slots over time; None before the first run."""
    slots = find_slots(facts.first)
    if slots is None:
        return None
    few = len(slots.spans) <= MOST_SPANS and len(slots.lanes) <= MOST_LANES
    plots = [chart(slots)] if few else [busy(slots), *rungs_over_time(slots)]
    broken = slots.broken()
    html = render(
        "slots.html",
        plots=plots,
        slots=slots,
        hosts=slots.spans["host"].nunique(),
        runs=slots.spans["run"].nunique(),
        rungs=at_rungs(slots.decisions),
        broken=broken.head(MOST_BREAKS).to_dict("records"),
        more=max(len(broken) - MOST_BREAKS, 0),
        bars=in_rows(slots) if few else [],
        marks=decided(slots) if few else [],
        made=int(slots.decisions["decision"].isin(DECIDED).sum()),
        words={how: told for how, (told, _, _) in HOW.items()},
        clock=clock,
    )
    return Section("Slots over time", "slots", html, plots)


def in_rows(slots: Slots) -> list[list[str]]:
    """The first spans as rows of a table: what a mouse tells of each bar."""
    return [
        [f"{span['host']} {span['lane'] + 1}", span["run"], HOW[span["how"]][0], clock(span["start"]),
         duration(span["end"] - span["start"]), f"{span['first']} to {span['last']}" if span["last"] else DASH]
        for span in slots.spans.head(MOST_ROWS).to_dict("records")
    ]  # fmt: skip


def decided(slots: Slots) -> list[list[str]]:
    """The first decisions as rows of a table: what a mouse tells of each mark."""
    made = slots.decisions[slots.decisions["decision"].isin(DECIDED)].sort_values("at", kind="stable")
    return [
        [run, DECIDED[decision][0], number(rung), f"{host} {lane + 1}", duration(at)]
        for run, decision, rung, host, lane, at in lanes.rows(made.head(MOST_ROWS), "run decision rung host lane at")
    ]


def clock(seconds: float) -> str:
    """A time as people read it."""
    return pd.Timestamp(seconds, unit="s", tz="UTC").strftime("%Y-%m-%d %H:%M:%S")


def unit_of(seconds: float) -> tuple[float, str]:
    """The seconds of the unit in which so many seconds are shown, and its name."""
    return next((each, name) for least, each, name in UNITS if seconds >= least)


def chart(slots: Slots) -> Plot:
    """A row for each slot, with its runs from left to right."""
    import plotly.graph_objects as go

    figure, (each, unit) = go.Figure(), unit_of(slots.seconds)
    row = {lane: number for number, lane in enumerate(slots.lanes)}
    for how, (told, color, pattern) in HOW.items():
        of_kind = slots.spans[slots.spans["how"] == how]
        if of_kind.empty:
            continue
        hatch = {"shape": pattern, "fillmode": "overlay", "fgcolor": "black", "solidity": 0.15}
        look = {"color": color, "line": {"color": "gray", "width": 1}, "pattern": hatch}
        figure.add_bar(
            orientation="h", name=told, base=of_kind["left"] / each, x=(of_kind["right"] - of_kind["left"]) / each,
            y=[row[lane] for lane in zip(of_kind["host"], of_kind["lane"], strict=True)], width=0.8, marker=look,
            customdata=[hover(span) for span in of_kind.to_dict("records")], hovertemplate=HOVER,
        )  # fmt: skip
    for decision, (told, symbol) in DECIDED.items():
        made = slots.decisions[slots.decisions["decision"] == decision].dropna(subset="rung")
        if made.empty:
            continue
        figure.add_scatter(
            mode="markers", name=told, x=made["at"] / each, hovertemplate=HOVER,
            y=[row[lane] for lane in zip(made["host"], made["lane"], strict=True)],
            marker={"symbol": symbol, "size": 9, "color": "white", "line": {"color": "black", "width": 1.5}},
            customdata=[f"run {plain(run)}<br>{told}, {rung:g} epochs" for run, rung in lanes.rows(made, "run rung")],
        )  # fmt: skip
    several = slots.spans["host"].nunique() > 1
    names = [f"{plain(host)} {lane + 1}" if several else f"slot {lane + 1}" for host, lane in slots.lanes]
    figure.update_layout(
        barmode="overlay", xaxis={"title": f"{unit} of work", "rangemode": "tozero"},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed", "showgrid": False},
    )  # fmt: skip
    mark_pauses(figure, slots, each)
    return Plot(
        "slots-chart",
        "A bar is a run in its slot, coloured by how it left it; a mark is a decision at a rung. Point at it for more.",
        f"{len(names)} slots over {duration(slots.seconds)}; {in_words(slots)}",
        figure,
        height=150 + 26 * len(names) + 20 * len(figure.data),  # on a phone the legend has a line for each
    )


def hover(span: dict[Any, Any]) -> str:
    """What is told of a bar."""
    ticks = f"ticks {span['first']} to {span['last']}" if span["last"] else "no tick on record"
    return (
        f"run {plain(span['run'])}<br>{HOW[span['how']][0]}; {ticks}<br>{clock(span['start'])} UTC, "
        f"{duration(span['end'] - span['start'])}<br>on {plain(span['host'])}"
    )


def mark_pauses(figure: Any, slots: Slots, each: float) -> None:
    """A line where a later submission goes on, with the time between."""
    at = 0.0
    for (start, end), (later, _) in zip(slots.working, slots.working[1:], strict=False):
        at += end - start
        figure.add_vline(
            x=at / each, line={"color": "gray", "dash": "dash", "width": 1},
            annotation={"text": f"submitted again after {duration(later - end)}"},
        )  # fmt: skip


def busy(slots: Slots) -> Plot:
    """How many slots held a run over time, by how it left its slot."""
    import plotly.graph_objects as go

    figure, (each, unit) = go.Figure(), unit_of(slots.seconds)
    edges = np.linspace(0.0, slots.seconds, BINS + 1)
    for how, (told, color, pattern) in HOW.items():
        of_kind = slots.spans[slots.spans["how"] == how]
        if of_kind.empty:
            continue
        at_once = lanes.utilisation(of_kind["left"].to_numpy(), of_kind["right"].to_numpy(), edges)
        figure.add_scatter(
            x=edges[:-1] / each, y=at_once.round(3), name=told, stackgroup="busy", mode="lines",
            line={"shape": "hv", "width": 0},
            fillcolor=color, fillpattern={"shape": pattern, "fgcolor": "black", "bgcolor": color, "solidity": 0.15},
            hovertemplate="%{y:.3g} slots<extra>" + told + "</extra>",
        )  # fmt: skip
    upright = {"title": "slots that hold a run", "rangemode": "tozero"}
    figure.update_layout(showlegend=True, hovermode="x unified", xaxis={"title": f"{unit} of work"}, yaxis=upright)
    mark_pauses(figure, slots, each)
    caption = (
        f"How many slots held a run, on average over each {duration(slots.seconds / BINS)}, by how the run left its "
        f"slot: {count(len(slots.spans), 'span')} of runs are too many to draw one by one."
    )
    return Plot(
        "slots-busy", caption, f"Slots that hold a run over {duration(slots.seconds)}; {in_words(slots)}", figure
    )


def rungs_over_time(slots: Slots) -> list[Plot]:
    """How many runs went on and were stopped at rungs over time; none where nothing was decided."""
    import plotly.graph_objects as go

    figure, (each, unit) = go.Figure(), unit_of(slots.seconds)
    edges = np.linspace(0.0, slots.seconds, BINS // 4 + 1)
    for decision, (told, _) in DECIDED.items():
        at = slots.decisions["at"][slots.decisions["decision"] == decision]
        color = HOW["finished" if decision == "continue" else "stopped"][1]
        counts, _ = np.histogram(at, edges)
        if counts.any():
            figure.add_bar(x=(edges[:-1] + edges[1:]) / 2 / each, y=counts, name=told, marker={"color": color})
    if not figure.data:
        return []
    figure.update_layout(barmode="stack", bargap=0, xaxis={"title": f"{unit} of work"}, yaxis={"title": "decisions"})
    stopped = int((slots.decisions["decision"] == "stop").sum())
    words = f"{count(len(slots.decisions), 'decision')} at rungs, {stopped:,} of them to stop"
    return [Plot("slots-rungs", "Decisions at rungs over time.", words, figure, height=260)]


def in_words(slots: Slots) -> str:
    """How the spans ended, counted, and the idle share."""
    counts = slots.spans["how"].value_counts()
    told = [f"{counts[how]:,} {words}" for how, (words, _, _) in HOW.items() if how in counts]
    idle = [] if math.isnan(slots.idle) else [f"{100 * slots.idle:.0f} % idle"]
    return "; ".join([*told, *idle])
