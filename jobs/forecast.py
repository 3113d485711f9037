"""What jobs.tune --replay prints: a recorded search under other numbers of slots, grace periods and reductions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import pandas as pd
from click.core import ParameterSource

from gen.checks import at_least
from gen.record.curves import Recorded, recorded
from gen.search.replay import MARGINS, SAFE, Replay, Rules, agreement, all_rungs, replay
from jobs.experiments import tell_lost
from jobs.options import refusing
from jobs.places import storage_at
from jobs.plan import budget_of, seconds

LIMITS = ("time", "total_epochs", "device_time", "cost", "price")
WITH = ("replay", "slots", "storage", "grace", "reduction", *LIMITS, "gpus_per_trial")  # options that a replay knows
SLOTS, REDUCTIONS = "1,8,64", (2, 3, 4)
GRACES = 3  # grace periods that are tried unless one is named: a tick, and each three times the one before


def check_replay(context: click.Context) -> None:
    """ValueError for an option that a replay does not know, or for one that only a replay knows."""
    said = [name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    named = {option.name: option.opts[0] for option in context.command.params}
    if not context.params["replay"]:
        if "slots" in said:
            raise ValueError("slots is for --replay; a search takes --max-concurrent")
        return
    if wrong := [named[name] for name in said if name not in WITH]:
        raise ValueError(
            f"--replay reads an experiment and trains nothing, so {', '.join(wrong)} says nothing to it; "
            f"allowed: {', '.join(named[name] for name in WITH)}"
        )


def forecast(options: Mapping[str, Any]) -> int:
    """Reads the curves, plays the search, prints what came of it."""
    name = options["replay"]
    with refusing():
        limit = seconds("time-budget", options["time"]) if options["time"] else math.inf
        budget = budget_of(*(options[key] for key in ("total_epochs", "device_time", "cost", "price")))
        slots = slots_of(options["slots"] or SLOTS)
        for key, low in (("grace", 1), ("reduction", 2)):
            if options[key] is not None:
                at_least(key, options[key], low)
        if (gpus := options["gpus_per_trial"]) is not None and not 0 < gpus < math.inf:
            raise ValueError(f"gpus-per-trial={gpus:g} is out of range; allowed: more than 0")
        place = storage_at(options["storage"])
        found = recorded(place, name)
        tell_lost(place, name)
    last = max(curve.epochs[-1] for curve in found.curves)
    devices = gpus or found.devices
    limits = {"seconds": limit, "budget": budget, "devices": devices}
    rules = list(cases(slots, options["grace"], options["reduction"], found.every, last, limits))
    print(f"{name} in {place}: {len(found.curves)} runs by {found.metric} ({found.mode}), up to epoch {last:g}")
    for line in found.notices:
        print(line)
    print(epochs_in_words(found))
    if min(budget.device_seconds, budget.money) < math.inf:
        print(f"device-seconds: a run takes {devices:g} device{'s' * (devices != 1)}")
    played = [replay(found.curves, one, found.mode, found.every) for one in rules]
    print(pd.DataFrame([row(found, one) for one in played]).to_string(index=False, na_rep="never"))
    for line in warnings(found, rules, played):
        print(line)
    return 0


def slots_of(text: str) -> list[int]:
    """The numbers of slots in 8,64,500. ValueError for another text."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"slots={text!r} names no numbers of slots; allowed: such as 8,64,500")
    return list(dict.fromkeys(map(int, parts)))


def cases(
    slots: Sequence[int],
    grace: int | None,
    reduction: int | None,
    every: int,
    last: float,
    limits: Mapping[str, Any],
) -> Iterator[Rules]:
    """For each number of slots everything to the end, then each grace period with each reduction. `limits`: the other
    fields of the rules."""
    graces = [grace] if grace else [every * 3**power for power in range(GRACES)]
    for number in slots:
        yield Rules(number, 0, 2, **limits)
        for first in graces:
            for one in [reduction] if reduction else REDUCTIONS:
                if first < last:
                    yield Rules(number, first, one, **limits)


def row(found: Recorded, one: Replay) -> dict[str, Any]:
    """A row of the table."""
    trained, least, most = sum(one.epochs.values()), one.saved, one.saved + one.unknown
    low, high = (f"{100 * epochs / to_the_end(found):.0f}" for epochs in (least, most))
    limited = {"ended by": one.reached or "its last run"} if one.rules.limits else {}
    near = {f"to {margin:.1%}": clock(at) for margin, at in zip(MARGINS, one.near, strict=True)}
    return {
        "slots": one.rules.slots,
        "grace": one.rules.grace or "none",
        "reduction": one.rules.reduction if one.rules.grace else "",
        "time": clock(one.seconds),
        **near,
        "epochs": f"{trained:g}",
        "saved": f"{low}%" if low == high else f"{low}-{high}%",
        "stopped": one.stopped,
        "begun": one.begun,
        "best": f"{one.best:.6g}",
        **limited,
    }


def to_the_end(found: Recorded) -> float:
    """The epochs of everything to the end: of so many runs, each up to the last epoch on record."""
    return len(found.curves) * max(curve.epochs[-1] for curve in found.curves)


def epochs_in_words(found: Recorded) -> str:
    """What the epochs that are saved are a share of."""
    known, whole = sum(curve.epochs[-1] for curve in found.curves), to_the_end(found)
    line = f"everything to the end: {len(found.curves)} runs, {whole:g} epochs, of which rungs save a share (saved)"
    if known == whole:
        return line
    return (
        f"{line}; {known:g} of them are on record: of a run that no rung stops before its record ends nobody knows how "
        "far it would go, so the least and the most are told"
    )


def clock(found: float) -> str:
    """Seconds as hours, minutes and seconds; "never" for NaN."""
    if math.isnan(found):
        return "never"
    whole = round(found)
    return f"{found:.3g} s" if found < 60 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def warnings(found: Recorded, rules: Sequence[Rules], played: Sequence[Replay]) -> Iterator[str]:
    """How well each rung tells the end, and what that means."""
    low, rungs = [], all_rungs(found.curves, rules)
    if not rungs:
        last = max(one.epochs[-1] for one in found.curves)
        yield f"no rung: a search up to epoch {last:g} stops a run only with --grace below it"
        return
    for rung in rungs:
        value, count = agreement(found.curves, rung, found.mode)
        told = "cannot be told" if math.isnan(value) else f"{value:.2f}"
        yield f"rank correlation of epoch {rung} with the end: {told}, of {count} configurations on record to the end"
        low += [rung] if value < SAFE else []
    if low:
        epochs = ", ".join(map(str, low))
        yield f"early stopping is unsafe for this family at epoch {epochs}: the rank correlation is below {SAFE:g}"
    short = sum(curve.epochs[-1] < max(one.epochs[-1] for one in found.curves) for curve in found.curves)
    if short:
        yield (
            "the correlations are of those that were not stopped, which are more alike than all; a search with "
            f"--grace {max(one.epochs[-1] for one in found.curves):g} would tell them of all"
        )
