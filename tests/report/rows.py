"""Experiments as searches leave them, without training: rows of real configs, through the ledger."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from gen import results
from gen.config import RunConfig, override, to_json
from gen.damage import sealed
from gen.record.record import setting_rows
from gen.report.facts import NOTE
from gen.results import Ledger, Slot
from gen.zoo import entry
from tests.results.example_rows import TIME, eval_row, outcome_row, run_row, when

METRIC = "mse/reconstructions"
EPOCHS = 6
STOPPED = 2
NUMBERS = itertools.count()  # of files that are added


def configs(entry_name: str = "vqvae", rates: Sequence[float] = (0.001, 0.002, 0.004, 0.008), seeds: int = 2) -> Any:
    """Run -> config: for each rate so many seeds."""
    base = override(entry(entry_name), {"budget.epochs": EPOCHS})
    return {
        f"r{number}-{seed}": override(base, {"model.optimizer.rate": rate, "seed": seed})
        for number, rate in enumerate(rates)
        for seed in range(seeds)
    }


def write(
    place: Path, name: str, runs: Mapping[str, RunConfig], statuses: Mapping[str, str] | None = None, **more: Any
) -> None:
    """Writes the experiment. The value of a run is 100 times its rate plus a hundredth of its seed, larger by what it
    lacks in epochs. `statuses`: run -> how it ended, where that is not "finished"; "" for one that goes on. `more`: of
    its rows of `runs`."""
    storage = results.Storage(str(place))
    for number, (run, config) in enumerate(runs.items()):
        status = (statuses or {}).get(run, "finished")
        epochs = STOPPED if status in ("stopped", "failed", "") else EPOCHS
        begun, ended = TIME + timedelta(seconds=number), TIME + timedelta(seconds=number + 10)
        ledger = Ledger(storage, name, run, "a1")
        about = {"entry": config.entry, "family": config.family, "config": to_json(config), "started": begun}
        ledger.add("runs", 0, **run_row(config.seed, **about, **more))
        for row in setting_rows(config):
            ledger.add("settings", 0, **row)
        value = 100 * config.model.optimizer.rate + config.seed / 100
        for tick in range(1, epochs + 1):
            now = value * (1 + (EPOCHS - tick) / 4)
            ledger.add("metrics", tick, **when(tick), seconds=1.0 * tick, name="autoencoder/loss", value=2 * now)
            ledger.add("evals", tick, **figure(tick, now, "tick"))
            ledger.add("evals", tick, **figure(tick, 100 * now, "tick") | {"metric": "psnr", "protocol": "tick-psnr"})
        if status == "":
            ledger.flush(epochs)
            continue
        if status == "finished":
            for split in ("validation", "test"):
                ledger.add("evals", epochs, **figure(epochs, value + 0.001 * (split == "test"), "best", split))
            ledger.add("samples", epochs, step=60, epoch=float(epochs), kind="reconstructions", png=png())
        best = None if status == "failed" else value * (1 + (EPOCHS - epochs) / 4)
        end = {"status": status, "best": best, "last": best, "seconds": 2.0 * epochs, "ended": ended, "metric": METRIC}
        end["why"] = f"loss is not finite at step {7 * number}" if status == "failed" else "6 epochs"
        ledger.add("outcomes", epochs, **{**outcome_row(epochs), **end})
        ledger.close(epochs)


def rung(place: Path, name: str, run: str, decision: str) -> None:
    """Writes a decision at the first rung."""
    event(place, name, run, "rung", decision, STOPPED, why="cutoff", rung=STOPPED)


def event(
    place: Path, name: str, run: str, kind: str, decision: str | None, tick: int = 0, why: str = "", **detail: Any
) -> None:
    """Writes an event of a run."""
    row = {"experiment": name, "run": run, "attempt": "a1", "tick": tick, "epoch": float(tick), "kind": kind}
    row |= {"decision": decision, "value": 1.0, "why": why, "detail": json.dumps(detail), "time": TIME}
    add(place, name, run, {"events": [row]})


def measured_again(place: Path, name: str, run: str, value: float, split: str = "test", **changes: Any) -> None:
    """Writes a figure of a run's best weights, as `jobs.evaluate` adds it later."""
    row = figure(EPOCHS, value, "best", split) | {"protocol": "another", **changes}
    add(place, name, run, {"evals": [{"experiment": name, "run": run, "attempt": "a2", "tick": EPOCHS, **row}]})


def note(place: Path, name: str, **about: Any) -> None:
    """Writes the note of an experiment, as far as the page reads it."""
    results.Storage(str(place)).put(f"{name}/{NOTE}", json.dumps(sealed(about)).encode())


def add(place: Path, name: str, run: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Writes rows in a file of their own."""
    number = next(NUMBERS)
    Slot(results.Storage(str(place)), name, f"a1-{run}-{number}", kind="slot").extend(rows)


def figure(tick: int, value: float, scope: str, split: str = "validation") -> dict[str, Any]:
    about = {"metric": "mse", "split": split, "features": None, "features_hash": None, "protocol": f"{scope}-{split}"}
    return {**eval_row(tick, value, scope), **about}


def png() -> bytes:
    target = io.BytesIO()
    Image.effect_noise((32, 16), 64).save(target, "PNG")
    return target.getvalue()
