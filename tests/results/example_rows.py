"""Rows of runs as the engine would write them: pure functions of the run and the tick, the attempt apart."""

from __future__ import annotations

import math
import zlib
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pandas as pd

from gen.results import TABLES, Ledger

TIME = datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)
NAMES = ("autoencoder/distortion", "autoencoder/rate", "gradient/autoencoder")
KEY = {
    "runs": ["run"],
    "settings": ["run", "key"],
    "metrics": ["run", "tick", "name"],
    "evals": ["run", "tick", "scope", "metric"],
    "samples": ["run", "tick", "kind"],
    "events": ["run", "tick", "kind"],
    "outcomes": ["run", "tick"],
}


def when(tick):
    return {"step": tick * 10, "epoch": float(tick), "images": tick * 640}


def value(run, tick):
    return zlib.crc32(f"{run} {tick}".encode()) / 2**32


def run_row(seed=0, **changes):
    row = {
        "entry": "vqvae", "family": "vqvae", "data": "digits", "data_hash": "d1", "seed": seed, "config": "{}",
        "code_version": "abc", "packages": "{}", "hosts": ["a"], "device": "cpu", "threads": 1, "world_size": 1,
        "parameters": 691_393, "started": TIME,
    }  # fmt: skip
    return row | changes


def eval_row(tick, number, scope="tick", **changes):
    row = when(tick) | {
        "scope": scope, "metric": "frechet_classifier", "column": "image", "subject": "reconstructions",
        "value": number, "n_real": 180, "n_fake": 180, "split": "validation", "features": "classifier",
        "features_hash": "f1", "resize": None, "weights": "raw", "protocol": f"{scope}-p1",
    }  # fmt: skip
    return row | changes


def outcome_row(tick, **changes):
    row = {
        "status": "finished", "why": "budget", "metric": "frechet_classifier/reconstructions", "best": 1.0,
        "best_epoch": float(tick), "last": 1.5, "checkpoint": None, "epochs": float(tick), "steps": tick * 10,
        "images": tick * 640, "seconds": 3.0, "images_per_second": 100.0, "parameters": 691_393, "ended": TIME,
    }  # fmt: skip
    return row | changes


def begin(ledger, seed=0, settings=(("model.beta", 0.25, "0.25"),), **changes):
    """What a run writes when it starts."""
    ledger.add("runs", ledger.first, **run_row(seed, **changes))
    if ledger.first == 0:
        for key, number, text in settings:
            ledger.add("settings", 0, key=key, number=number, text=text)


def go(ledger, tick):
    """What a run writes at a tick."""
    for name in NAMES:
        ledger.add("metrics", tick, **when(tick), seconds=1.0 * tick, name=name, value=value(ledger.run, tick))
    ledger.add("evals", tick, **eval_row(tick, value(ledger.run, tick)))
    if tick % 3 == 0:
        ledger.add("samples", tick, step=tick * 10, epoch=float(tick), kind="reconstructions", png=b"\x89PNG" * 50)


def end(ledger, tick, best=None, **changes):
    """What a run writes when it ends."""
    best = value(ledger.run, tick) if best is None else best
    ledger.add("evals", tick, **eval_row(tick, best, "best"))
    ledger.add("outcomes", tick, **outcome_row(tick, **changes))


def whole_run(ledger, ticks, **changes):
    """A run from its start to its end, closed; nothing is flushed before."""
    begin(ledger, **changes)
    for tick in range(ticks):
        go(ledger, tick)
    end(ledger, ticks - 1)
    ledger.close(ticks - 1)


def expected(run, ticks, table):
    """The keys of the rows that `whole_run` leaves in a table."""
    every = range(ticks)
    return {
        "runs": {(run,)},
        "settings": {(run, "model.beta")},
        "metrics": {(run, tick, name) for tick in every for name in NAMES},
        "evals": {(run, tick, "tick", "frechet_classifier") for tick in every}
        | {(run, ticks - 1, "best", "frechet_classifier")},
        "samples": {(run, tick, "reconstructions") for tick in every if tick % 3 == 0},
        "events": set(),
        "outcomes": {(run, ticks - 1)},
    }[table]


def plain(place, experiment, table):
    """What plain pandas reads; None while the table has no folder."""
    parts = urlsplit(place)
    folder = parts._replace(path=f"{parts.path}/{experiment}/{table}").geturl()
    try:
        return pd.read_parquet(folder, dtype_backend="pyarrow")
    except FileNotFoundError:
        return None


def keys(frame, table):
    """The rows' keys; fails if two rows have one key."""
    if frame is None or frame.empty:
        return set()
    found = list(frame[KEY[table]].itertuples(index=False, name=None))
    assert len(found) == len(set(found)), f"{table} has a row twice"
    return set(found)


def all_keys(place, experiment):
    return {table: keys(plain(place, experiment, table), table) for table in TABLES}


def whole_search(storage, experiment="e"):
    """Three runs that ended well, one stopped early, one failed, one still at it."""
    for seed, (best, beta) in enumerate([(3.0, 0.25), (1.0, 0.5), (2.0, 1.0)]):
        ledger = Ledger(storage, experiment, f"run{seed}", "a1")
        settings = [("model.beta", beta, str(beta)), ("train.batch", 64.0, "64"), ("model.name", None, f"n{seed}")]
        settings.append(("budget.epochs", seed + 1.0, str(seed + 1)))  # as it began; it may have grown since
        begin(ledger, seed, settings)
        go(ledger, 0)
        end(ledger, 0, best)
        ledger.close(0)
    for run, status, best in (("stopped", "stopped", 4.0), ("failed", "failed", None)):
        ledger = Ledger(storage, experiment, run, "a1")
        begin(ledger, 7)
        if status == "failed":
            ledger.add("evals", 0, **eval_row(0, math.nan, "best"))
        ledger.add("outcomes", 0, **outcome_row(0, status=status, best=best))
        ledger.close(0)
    live = Ledger(storage, experiment, "live", "a1")
    begin(live)
    go(live, 0)
    live.flush(0)


def labelled_run(
    storage,
    name,
    entry,
    labels,
    value,
    *,
    experiment="e",
    best=0.5,
    seed=0,
    rate=0.1,
    tick=1,
    data="digits",
    seconds=3.0,
    **changes,
):
    """A run of a classifier with a full figure of test images; None: it was stopped and has none."""
    ledger = Ledger(storage, experiment, name, "a1")
    numbers = {"data.labels": labels, "data.label_seed": seed, "seed": seed, "model.rate": rate}
    settings = [("entry", None, entry), ("family", None, "semi"), ("data.name", None, data)]
    settings += [(key, float(number), str(number)) for key, number in numbers.items()]
    begin(ledger, seed, settings, **{"data_hash": f"d{labels}-{seed}", "held_out": "h1", "data": data} | changes)
    about = {"metric": "accuracy", "subject": "images", "features": None, "features_hash": None, "n_fake": 300}
    ledger.add("evals", tick, **eval_row(tick, best, **about, n_real=144))
    ledger.add("evals", tick, **eval_row(tick, 0.1, **{**about, "metric": "mse"}, n_real=20))
    if value is not None:
        ledger.add("evals", tick, **eval_row(tick, value, "best", **about, n_real=300) | {"split": "test"})
        ledger.add("evals", tick, **eval_row(tick, value + 1, "best") | {"split": "test"})
    ledger.add("outcomes", tick, **outcome_row(tick, best=best, metric="accuracy/images", seconds=seconds))
    ledger.close(tick)
