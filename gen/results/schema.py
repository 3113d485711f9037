"""The columns of the tables: each has one fixed, versioned pyarrow schema, enforced when rows are added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from numbers import Integral, Real
from typing import Any

import pyarrow as pa

# a value in these tables; `gen.search`, which may not look here, has it too
from gen.metrics.table import WORST as WORST

VERSION = "1.6"  # within a major number columns are only added, nullable, and the minor number rises

SLOTS = "slot-"  # begins the names of files with rows that runs write; what is measured later is in others
LATER_SECONDS = "evaluate/seconds"  # name in `metrics`: seconds of measuring a run after its end, beside its own
FULL_SHARE = "engine/full_share"  # name in `metrics`: share of a run's seconds so far that measuring it in full took
NEARER = "nearest/nearer"  # name in `metrics`: the chance that a fake is nearer to training images than new ones are
MEASURED_LATER = (
    LATER_SECONDS,
    FULL_SHARE,
    NEARER,
)  # rows with the seconds of a measurement, of which there may be more
TEXT, INT64, INT32, FLOAT = pa.string(), pa.int64(), pa.int32(), pa.float64()
TRUTH = pa.bool_()
TIME, PNG, TEXTS = pa.timestamp("us", tz="UTC"), pa.binary(), pa.list_(pa.string())


def columns(kind: pa.DataType, names: str) -> list[pa.Field]:
    """Fields of one type; a name that ends in * may be null (not reported)."""
    return [pa.field(name.rstrip("*"), kind, nullable=name.endswith("*")) for name in names.split()]


RUN = columns(TEXT, "experiment run attempt")
WHEN = columns(INT64, "tick step") + columns(FLOAT, "epoch") + columns(INT64, "images")

COLUMNS: dict[str, list[pa.Field]] = {
    "runs": [
        *columns(TEXT, "entry family data data_hash"),
        *columns(INT64, "seed"),
        *columns(TEXT, "config code_version packages"),  # config and packages: JSON
        *columns(TEXTS, "hosts"),
        *columns(TEXT, "device"),
        *columns(INT32, "threads world_size"),
        *columns(INT64, "parameters"),
        *columns(TIME, "started"),
        *columns(TEXT, "held_out*"),  # hash of the validation and test images, with their labels; since 1.4
        *columns(FLOAT, "devices*"),  # that it takes: GPUs, or the part of one; without a GPU one a process; since 1.6
    ],
    "settings": [*columns(TEXT, "key"), *columns(FLOAT, "number*"), *columns(TEXT, "text")],
    "metrics": [*WHEN, *columns(FLOAT, "seconds"), *columns(TEXT, "name"), *columns(FLOAT, "value*")],
    "evals": [
        *WHEN,
        *columns(TEXT, "scope metric column subject"),
        *columns(FLOAT, "value*"),
        *columns(INT64, "n_real n_fake"),
        *columns(TEXT, "split features* features_hash* resize* weights protocol"),
        *columns(TEXT, "variant* likelihood*"),  # this line and the next two: since 1.1
        *columns(INT64, "n_samples*"),  # importance samples an image
        *columns(TRUTH, "deficient*"),  # fewer fakes than feature dimensions
        *columns(TEXT, "labels*"),  # that a conditional model made its fakes for; since 1.3
    ],
    "samples": [
        *columns(INT64, "tick step"),
        *columns(FLOAT, "epoch"),
        *columns(TEXT, "kind"),
        *columns(PNG, "png"),
    ],
    "events": [
        *columns(INT64, "tick"),
        *columns(FLOAT, "epoch*"),
        *columns(TEXT, "kind decision*"),
        *columns(FLOAT, "value*"),
        *columns(TEXT, "why detail"),  # detail: JSON
        *columns(TIME, "time"),
    ],
    "outcomes": [
        *columns(INT64, "tick"),
        *columns(TEXT, "status why metric"),
        *columns(FLOAT, "best* best_epoch* last*"),
        *columns(TEXT, "checkpoint*"),
        *columns(FLOAT, "epochs"),
        *columns(INT64, "steps images"),
        *columns(FLOAT, "seconds images_per_second*"),
        *columns(INT64, "parameters"),
        *columns(TIME, "ended"),
        *columns(FLOAT, "active_units* least_rate* used* perplexity* revived*"),  # of the last tick; since 1.2
        *columns(TEXT, "collapsed*"),  # when a game of players collapsed, and by which sign; since 1.5
    ],
}
SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([*RUN, *fields], metadata={"genfleet.table": table, "genfleet.version": VERSION})
    for table, fields in COLUMNS.items()
}
TABLES = tuple(SCHEMAS)  # the order of writing: outcomes last, so an outcome vouches for the rest of its run


def is_text(value: Any) -> bool:
    """Whether a value is text that UTF-8 can hold (no lone surrogates)."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def is_integer(bits: int) -> Callable[[Any], bool]:
    """A test for whole numbers of so many bits, numpy's too; truth values fail it."""
    limit = 2 ** (bits - 1)
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and -limit <= int(value) < limit


def is_number(value: Any) -> bool:
    """Whether a value is a real number; NaN and the infinities are, truth values are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


KINDS: dict[
    pa.DataType, tuple[Callable[[Any], bool], Callable[[Any], Any]]
] = {  # type -> test, conversion to plain Python
    TEXT: (is_text, str),
    INT64: (is_integer(64), int),
    INT32: (is_integer(32), int),
    FLOAT: (is_number, float),
    TRUTH: (lambda value: isinstance(value, bool), bool),
    PNG: (lambda value: isinstance(value, bytes), bytes),
    TEXTS: (lambda value: isinstance(value, (list, tuple)) and all(map(is_text, value)), list),
    TIME: (lambda value: isinstance(value, datetime) and value.tzinfo is not None, lambda value: value),
}
CHECKS = {
    table: {field.name: (field.type, field.nullable, *KINDS[field.type]) for field in schema}
    for table, schema in SCHEMAS.items()
}


def check_row(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """`row` with every column of the table; nullable ones that it lacks are None. ValueError for an unknown table or
    column, a missing column, or a value of the wrong type: nothing is converted but numpy's numbers."""
    if table not in CHECKS:
        raise ValueError(f"unknown table {table!r}; allowed: {', '.join(TABLES)}")
    known = CHECKS[table]
    if unknown := [name for name in row if name not in known]:
        raise ValueError(f"{table} has no column {', '.join(unknown)}; allowed: {', '.join(known)}")
    checked = {}
    for name, (kind, nullable, fits, plain) in known.items():
        value = row.get(name)
        if value is None:
            if not nullable:
                raise ValueError(f"{table}.{name} is missing; every row must give it, as {kind}")
        elif not fits(value):
            raise ValueError(f"{table}.{name}={value!r} is of the wrong type or range; expected {kind}")
        checked[name] = None if value is None else plain(value)
    return checked


def to_table(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows under the table's schema, each checked as by `check_row`."""
    return pa.Table.from_pylist([check_row(table, row) for row in rows], schema=SCHEMAS[table])
