"""An experiment as a search of short runs leaves it, written in a minute: the files that a real `Slot` ends with, byte
by byte, each encoded once instead of once a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from gen.config import override, to_json
from gen.record.record import setting_rows
from gen.results.ledger import SLOT_RUNS, Slot, new_attempt, to_parquet, to_slot
from gen.results.manifest import Note, footer
from gen.results.schema import FULL_SHARE, LATER_SECONDS, SCHEMAS, TABLES, to_table
from gen.results.storage import Storage
from gen.zoo import entry

SETTINGS = {"model.codebook.codes": 64, "model.beta": 0.25, "model.optimizer.rate": 1e-3}
NAMES = ("loss", "distortion", "rate", "commitment", "codebook", "norm", "moves", "images_per_second", "wait", "clip")
FIGURES = ("mse", "psnr", "bound", "distortion", "rate", "used")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
METRIC = "mse/reconstructions"

Groups = Mapping[str, pa.Table]
"""Table -> rows that a writer gives in one call."""


@dataclass(frozen=True)
class Fleet:
    """A search: some of its runs finish, the others stop at the first rungs, and the best `leaders` are measured."""

    experiment: str
    runs: int
    ticks: int
    processes: int = 8
    leaders: int = 10
    attempt: str = ""

    def write(self, storage: Storage) -> None:
        """Writes all files of the tables."""
        attempt = self.attempt or new_attempt(1)
        form = Form(self, attempt)
        values = np.random.default_rng(0).random(self.runs)
        for process in range(self.processes):
            own = range(process, self.runs, self.processes)
            calls = (form.of_run(number, values[number]) for number in own)
            write_slots(storage, self.experiment, f"slot-{attempt}-{process:08x}", calls)
        rungs = (form.of_rung(number, values[number]) for number in range(self.runs))
        write_slots(storage, self.experiment, f"slot-{attempt}-scheduler", rungs)
        proposed = (form.of_proposal(number) for number in range(self.runs))
        Slot(storage, self.experiment, f"{attempt}-proposals", kind="proposed").extend({"events": list(proposed)})
        best = (form.of_leader(int(number), values[number]) for number in np.argsort(values)[: self.leaders])
        write_slots(storage, self.experiment, f"evaluated-{attempt}-leaders", best)


class Form:
    """The rows of one run, from which those of the others are made: only what differs is changed."""

    def __init__(self, fleet: Fleet, attempt: str) -> None:
        config = override(entry("vqvae"), {**SETTINGS, "data.name": "digits"}).resolve()
        here = self.here = {"experiment": fleet.experiment, "run": "", "attempt": attempt}
        every: list[dict[str, Any]] = [
            {**here, "tick": tick, "step": tick * 40, "epoch": float(tick), "images": tick * 1300}
            for tick in range(1, fleet.ticks + 1)
        ]
        last = every[-1]
        about = {
            "entry": config.entry,
            "family": config.family,
            "data": "digits",
            "data_hash": "b4c52a0fb86d65c4",
            "held_out": "b2319866d32c221c",
            "seed": 0,
            "config": to_json(config),
            "code_version": "7ce9c59",
            "packages": json.dumps({"python": "3.11", "torch": "2.15"}),
            "hosts": ["host"],
            "device": "cpu",
            "threads": 1,
            "world_size": 1,
            "devices": 1.0,
            "parameters": 100_385,
            "started": START,
        }
        end = {
            "status": "finished",
            "why": f"{fleet.ticks} epochs",
            "metric": METRIC,
            "best": 0.0,
            "last": 0.0,
            "best_epoch": last["epoch"],
            "checkpoint": "",
            "epochs": last["epoch"],
            "steps": last["step"],
            "images": last["images"],
            "seconds": 3.0,
            "images_per_second": 700.0,
            "parameters": 100_385,
            "ended": START,
            "used": 1.0,
            "perplexity": 57.4,
            "revived": 0.0,
        }
        self.settings = list(setting_rows(config))
        self.tables = {
            "runs": to_table("runs", [{**here, **about}]),
            "settings": to_table("settings", [{**here, **row} for row in self.settings]),
            "metrics": to_table(
                "metrics",
                [
                    {**row, "seconds": 0.3 * row["tick"], "name": f"autoencoder/{name}", "value": 0.0}
                    for row in every
                    for name in NAMES
                ],
            ),
            "evals": to_table("evals", [{**row, **figure(name, "tick")} for row in every for name in FIGURES]),
            "outcomes": to_table(
                "outcomes", [{name: value for name, value in {**last, **end}.items() if name not in ("step", "epoch")}]
            ),
        }
        event = {"kind": "rung", "decision": "stop", "why": "value: above the cutoff", "detail": "{}", "time": START}
        self.rung = to_table("events", [{**here, "tick": 1, "epoch": 1.0, "value": 0.0, **event}])
        measured = [{**last, "seconds": 1.0, "name": name, "value": 0.5} for name in (LATER_SECONDS, FULL_SHARE)]
        full = [{**last, **figure(name, "best", split)} for split in ("validation", "test") for name in FIGURES]
        self.leader = {"evals": to_table("evals", full), "metrics": to_table("metrics", measured)}

    def of_run(self, number: int, value: float) -> Groups:
        """All rows of a run: its value falls with the ticks, to `value`."""
        run, seed = name_of(number), number % 5
        told = self.told(number) | {"seed": seed}
        rows = [
            {**row, "number": float(told[row["key"]]), "text": str(told[row["key"]])} if row["key"] in told else row
            for row in self.settings
        ]
        changes: dict[str, dict[str, Any]] = {
            "runs": {"seed": [seed], "started": [START + timedelta(seconds=number)]},
            "settings": {name: [row[name] for row in rows] for name in ("number", "text")},
            "metrics": {"value": falling(self.tables["metrics"], value)},
            "evals": {"value": falling(self.tables["evals"], value)},
            "outcomes": {
                "best": [value],
                "last": [value],
                "checkpoint": [f"_checkpoints/{run}/best.pt"],
                "ended": [START + timedelta(seconds=number + 3)],
            },
        }
        return {table: of(rows, run, changes[table]) for table, rows in self.tables.items()}

    def of_rung(self, number: int, value: float) -> Groups:
        """A decision about a run."""
        return {"events": of(self.rung, name_of(number), {"value": [value]})}

    def of_proposal(self, number: int) -> dict[str, Any]:
        """The row that a run was proposed by, which is on record before any run starts."""
        told = {"entry": "vqvae", "number": number, "settings": self.told(number)}
        about = {"kind": "proposal", "decision": "random", "why": f"configuration {number} of vqvae", "tick": 0}
        return {**self.here, "run": name_of(number), **about, "detail": json.dumps(told), "time": START}

    def told(self, number: int) -> dict[str, Any]:
        """The settings that a run has of its own."""
        random = np.random.default_rng(number // 5)
        drawn = {"model.beta": random.uniform(0.1, 4.0), "model.optimizer.rate": 10 ** random.uniform(-4, -2)}
        return drawn | {"model.codebook.codes": int(random.choice([64, 128, 256, 512]))}

    def of_leader(self, number: int, value: float) -> Groups:
        """The full figures of a run."""
        run = name_of(number)
        evals = of(self.leader["evals"], run, {"value": np.full(len(self.leader["evals"]), value)})
        return {"evals": evals, "metrics": of(self.leader["metrics"], run, {})}


def figure(name: str, scope: str, split: str = "validation") -> dict[str, Any]:
    """The columns of a figure, without its value."""
    subject = "images" if name in ("bound", "distortion", "rate", "used") else "reconstructions"
    count = 144 if split == "validation" else 360
    return {
        "scope": scope,
        "metric": name,
        "column": "image",
        "subject": subject,
        "value": 0.0,
        "n_real": count,
        "n_fake": count,
        "split": split,
        "weights": "raw",
        "protocol": f"{scope}-{split}-{name}"[:16],
    }


def name_of(number: int) -> str:
    """The name of a run: as long, and in as little order, as a hash."""
    return f"{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:016x}"


def falling(rows: pa.Table, value: float) -> np.ndarray:
    """A value for each row, which falls with the ticks."""
    ticks: np.ndarray = rows["tick"].to_numpy()
    return value * (1 + 1 / ticks)


def of(rows: pa.Table, run: str, changes: Mapping[str, Any]) -> pa.Table:
    """The rows as those of a run, with other columns."""
    for name, values in {"run": [run] * len(rows), **changes}.items():
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
    return rows


def write_slots(storage: Storage, experiment: str, name: str, calls: Iterator[Groups]) -> None:
    """The files with which a `Slot` of that name ends after these calls."""
    kept: dict[str, list[tuple[pa.Table, list[Note]]]] = {table: [] for table in TABLES}
    for number, groups in enumerate(calls):
        counts = {table: len(rows) for table, rows in groups.items()}
        run = next(iter(groups.values()))["run"][0].as_py()
        notes: list[Note] = [[number, run, counts]] if len(counts) > 1 else []
        for table in TABLES:
            if table in groups:
                kept[table].append((groups[table], notes))
    for table, of_table in kept.items():
        count, start = SLOT_RUNS, 0
        for number in itertools.count():
            if start == len(of_table):
                break
            data, count = fill_slot(table, of_table[start : start + SLOT_RUNS], count)
            storage.put(f"{experiment}/{table}/{name}-{number:04d}.parquet", data)
            start += count


def fill_slot(table: str, calls: Sequence[tuple[pa.Table, list[Note]]], guess: int) -> tuple[bytes, int]:
    """The file that holds as many of these calls' rows as a slot's file does, and of how many calls. `guess`: about how
    many that are."""

    def encode(count: int) -> bytes | None:
        groups, notes = zip(*calls[:count], strict=True)
        return to_slot(groups, SCHEMAS[table], footer(itertools.chain(*notes)))

    count = min(guess, len(calls))
    data = encode(count)
    while data is None and count > 1:
        count -= 1
        data = encode(count)
    while data is not None and count < len(calls) and (more := encode(count + 1)) is not None:
        data, count = more, count + 1
    group, notes = calls[0]
    return data or to_parquet([group], SCHEMAS[table], notes=footer(notes)), count
