"""The first screen: the answer, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gen.metrics.table import is_known, metric
from gen.report import words
from gen.report.again import again
from gen.report.facts import STATES, Experiment, Facts
from gen.report.images import Album
from gen.report.section import Section, render
from gen.report.spending import spent
from gen.report.winner import doubts, winner

PICTURE = 400_000  # bytes of the winner's picture at most, else its upper rows


def section(facts: Facts) -> Section:
    """What was searched, who won, what it cost, what failed."""
    experiment = facts.first
    found = winner(experiment)
    commands = again(experiment, [found.run] if found else [])
    html = render(
        "first.html",
        facts=facts,
        experiment=experiment,
        about=words.about(experiment),
        left_out=words.left_out(experiment),
        states={state: experiment.count(state) for state in STATES if experiment.count(state)},
        failed=experiment.count("failed"),
        winner=found,
        doubts=doubts(experiment, found) if found else [],
        again=commands.of(found.run) if found else "",
        no_command=commands.without.get(found.run, "") if found else "",
        picture=Album().take(found.png, PICTURE) if found and found.png else None,
        floor=floor(experiment),
        spent=spent(experiment),
    )
    return Section("Answer", "answer", html)


def floor(experiment: Experiment) -> Mapping[str, Any]:
    """What real images reach in the place of fakes, by the figure that is ranked: `value`, `n_fake`, how many images
    that is of, and the `split` of those that they are compared with, where it is on record; else `why` it is not."""
    told = experiment.configurations.attrs.get("floor")
    if told is not None:
        return {"value": told["value"], "n_fake": told["n_fake"], "split": told["split"]}
    name = experiment.figure or experiment.metric
    has = bool(name) and is_known(name) and metric(name).floor
    return {"why": "not measured" if has or not name else f"{name} has none: it compares no fakes with real images"}
