"""The tables as pandas frames of pyarrow types, in which NaN is a value and <NA> means not reported.

`place` is a path, a URI or a `Storage`; experiment None means all experiments in it. Plain pandas gives the same rows:
`pandas.read_parquet(f"{place}/{experiment}/metrics", dtype_backend="pyarrow")`. These functions also give
files of older versions the present columns, whichever file lies first in the folder. `run` is a run's name or any
beginning of it that no other run's name has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gen.checks import nearest
from gen.metrics.table import FRECHET
from gen.results.configured import setting_rows_of
from gen.results.parquet import read_files
from gen.results.pivot import encode, present_keys, widen
from gen.results.questions import check_word, figure_name
from gen.results.schema import SCHEMAS
from gen.results.storage import Storage

Place = str | Storage
FIGURE = ("metric", "subject", "column", "split")  # columns of `evals` by which curves are told apart
SHOWN = 10  # runs that an error names


def read(
    place: Place,
    experiment: str | None,
    table: str,
    equal: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows of a table in which each column of `equal` has the value given there, or one of a set (None: any value),
    in all columns or those named by `columns`. Without such rows the frame is empty and has the columns. ValueError if
    there is no such experiment (names the experiments there are), DamageError (names the file) for a damaged file."""
    found = read_arrow(place, experiment, table, equal, columns)
    frame: pd.DataFrame = found.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def read_arrow(
    place: Place,
    experiment: str | None,
    table: str,
    equal: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    without: str = "",
    encoded: bool = False,
) -> pa.Table:
    """As `read`, as a table of pyarrow's, from the files whose names do not begin with `without`. `encoded`: its texts
    are dictionaries."""
    storage = place if isinstance(place, Storage) else Storage(place)
    present = [name for name in storage.folders("") if not name.startswith("_")]
    if experiment is not None and experiment not in present:
        raise ValueError(f"no experiment {experiment!r} in {storage}; {told(str(experiment), present)}")
    schema = pa.schema([field.with_nullable(True) for field in SCHEMAS[table]])  # columns that a file lacks are null
    wanted = {name: value for name, value in (equal or {}).items() if value is not None}
    tables = [
        read_files(storage, f"{name}/{table}", schema, columns=columns, equal=wanted, without=without, encoded=encoded)
        for name in (present if experiment is None else [experiment])
    ] or [schema.empty_table().select(columns or schema.names)]
    if experiment is not None and not any(map(len, tables)) and not is_experiment(storage, experiment):
        raise ValueError(f"{experiment} in {storage} is no experiment: it has no tables; name the folder above it?")
    return pa.concat_tables(tables)


def is_experiment(storage: Storage, name: str) -> bool:
    """Whether a folder holds tables, or files that jobs write before the first table: a lease, a note, checkpoints."""
    inside = [*storage.folders(name), *storage.list(name)]
    return any(one in SCHEMAS or one.startswith("_") for one in inside)


def run_of(text: str, names: Collection[str], where: str) -> str | None:
    """The one of the runs `names` that is called `text` or, if none is, whose name begins so; None if there is none.
    ValueError if several names begin so."""
    found = [text] if text in names else sorted(name for name in names if name.startswith(text))
    if len(found) > 1:
        raise ValueError(
            f"run {text!r} of {where} is the beginning of {len(found)} names: {shown(found)}; give more of the one"
        )
    return found[0] if found else None


def find_run(place: Place, experiment: str | None, text: str) -> str:
    """The whole name of the run that `text` names or begins. ValueError if there is none, or more than one."""
    storage = place if isinstance(place, Storage) else Storage(place)
    names = set(read(storage, experiment, "runs", columns=["run"])["run"])
    return known_run(text, names, f"experiment {experiment}" if experiment else str(storage))


def known_run(text: str, names: Collection[str], where: str) -> str:
    """The one of the runs `names` that `text` names or begins. ValueError if there is none, or more than one."""
    found = run_of(text, names, where)
    if found is None:
        raise ValueError(f"no run {text!r} in {where}; there are: {shown(sorted(names)) or 'none'}")
    return found


def shown(names: Sequence[str]) -> str:
    """The first few names, for an error, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def ask(place: Place, experiment: str | None, table: str, run: str | None = None, **equal: str | None) -> pd.DataFrame:
    """As `read`, for a question of a user's, of the run that `run` names or begins (None: of all runs). ValueError as
    for `find_run`, and for a value that no row can have (names the nearest)."""
    frame = read(place, experiment, table, {**equal, "run": run})
    if run is not None and frame.empty:
        whole = find_run(place, experiment, run)
        frame = frame if whole == run else read(place, experiment, table, {**equal, "run": whole})
    for column, value in equal.items() if frame.empty else ():
        if value is not None:
            check_word(table, column, value, partial(words, place, experiment, table, column))
    return frame


def words(place: Place, experiment: str | None, table: str, column: str) -> list[str]:
    """The values of a column of texts."""
    return list(read(place, experiment, table, columns=[column])[column].dropna().unique())


def told(name: str, there: Iterable[str]) -> str:
    """Which names there are, for an error: the nearest to `name` first, where there are many."""
    found = sorted(there)
    near = f"nearest: {nearest(name, found)}; " if len(found) > 3 else ""
    return f"{near}there are: {', '.join(found) or 'none'}"


def last(frame: pd.DataFrame, by: list[str], order: list[str]) -> pd.DataFrame:
    """For each value of the columns `by`, the row that is last in the order of the columns `order`; sorted by `by`."""
    keys = [encode(frame[name])[0] for name in by]
    sequence = np.lexsort([*(encode(frame[name])[0] for name in reversed(order)), *reversed(keys)])
    different = np.zeros(max(len(frame) - 1, 0), dtype=bool)
    for key in keys:
        different |= np.diff(key[sequence]) != 0
    ends = np.append(different, True)[: len(frame)]
    found: pd.DataFrame = frame.iloc[sequence[ends]].reset_index(drop=True)
    return found


def runs(place: Place, experiment: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a run: what its last attempt wrote when it began, in all `columns` or some."""
    by, order = ["experiment", "run"], ["attempt", "started"]
    return some(last(read(place, experiment, "runs", columns=with_keys(columns, by, order)), by, order), columns)


def with_keys(columns: Sequence[str] | None, *keys: Sequence[str]) -> list[str] | None:
    """Columns to read, where these and the `keys` are needed; None: all."""
    return None if columns is None else list(dict.fromkeys([*columns, *(name for of_key in keys for name in of_key)]))


def some(frame: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """The frame with these columns; None: as it is."""
    return frame if columns is None else frame[list(columns)]


def data_hashes(place: Place, experiment: str, names: Sequence[str]) -> dict[str, str]:
    """The hash of the images that each of the runs `names` was trained on. ValueError for a run without a row."""
    begun = runs(place, experiment, ["run", "data_hash"]).set_index("run")["data_hash"]
    if absent := [name for name in names if name not in begun.index]:
        raise ValueError(
            f"runs of {experiment} lacks {shown(absent)}, of which there are weights; "
            f"python -m jobs.check --name {experiment} --mend makes its rows anew"
        )
    return {name: str(begun[name]) for name in names}


def settings(
    place: Place, experiment: str | None = None, wide: bool = True, *, begun: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Settings of runs. `wide`: one row a run and one column a dotted key, of numbers if all of its values are numbers,
    else of text. Otherwise: one row a run and key. Settings of earlier versions have their present names. A run that
    has lost its rows has those that its config in `runs` tells; `begun`: the experiment and run of those that are to
    have any, where they are known already; by default all that `runs` has."""
    arrange = widen if wide else lengthen
    rows = read_arrow(place, experiment, "settings", encoded=wide)
    frame = arrange(rows)
    if lost := without_settings(place, experiment, frame, begun):
        frame = arrange(pa.concat_tables([rows, setting_rows_of(lost).cast(rows.schema)]))
    return frame


def without_settings(
    place: Place, experiment: str | None, told: pd.DataFrame, begun: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Experiment, run, attempt and config of the runs that have `begun` and are not `told` of."""
    there = told["experiment"] + "/" + told["run"]
    if begun is None:
        begun = read(place, experiment, "runs", columns=["experiment", "run"])
    if (begun["experiment"] + "/" + begun["run"]).isin(there).all():
        return []
    rows = runs(place, experiment, ["experiment", "run", "attempt", "config"])
    lost = rows[~(rows["experiment"] + "/" + rows["run"]).isin(there)]
    return [{str(name): value for name, value in row.items()} for row in lost.to_dict("records")]


def lengthen(rows: pa.Table) -> pd.DataFrame:
    """Rows of settings as one row a run and key, under the keys' present names."""
    frame = last(rows.to_pandas(types_mapper=pd.ArrowDtype), ["experiment", "run", "key"], ["attempt"])
    _, run = np.unique(
        np.stack([encode(frame[name])[0] for name in ("experiment", "run")]), axis=1, return_inverse=True
    )
    places, names = present_keys(run.reshape(-1), *(pa.array(frame[name]) for name in ("key", "text", "number")))
    frame["key"] = pd.Series(pa.array(names, pa.string()).take(pa.array(places)), dtype=frame["key"].dtype)
    return frame


def metrics(
    place: Place, experiment: str | None = None, name: str | None = None, run: str | None = None
) -> pd.DataFrame:
    """What training logged: one row for each run, tick and name ("autoencoder/distortion"). ValueError for a name or a
    run that is not there (names the nearest)."""
    return ask(place, experiment, "metrics", run, name=name)


def evals(
    place: Place,
    experiment: str | None = None,
    metric: str | None = None,
    subject: str | None = None,
    scope: str | None = None,
    split: str | None = None,
    run: str | None = None,
    column: str | None = None,
) -> pd.DataFrame:
    """Figures with their protocols. Scope "tick": the cheap ones, which steer. "best": the full ones, to report.

    `metric` may be NAME, NAME/SUBJECT or NAME/SUBJECT/COLUMN; "frechet" is the distance in anybody's features. Of what
    is known and was not measured there are no rows. ValueError for a word that no figure has (names the nearest)."""
    name = figure_name(metric, subject, column)
    equal = {"metric": name.exact, "subject": name.subject, "column": name.column, "scope": scope, "split": split}
    return name.choose(ask(place, experiment, "evals", run, **equal))


def samples(
    place: Place, experiment: str | None = None, kind: str | None = None, run: str | None = None
) -> pd.DataFrame:
    """Stored pictures, as PNG bytes. ValueError for a kind that no run stores (names the nearest)."""
    return ask(place, experiment, "samples", run, kind=kind)


def events(
    place: Place, experiment: str | None = None, kind: str | None = None, run: str | None = None
) -> pd.DataFrame:
    """Decisions and restarts, with their reasons. ValueError for a kind that is not known (names the nearest)."""
    return ask(place, experiment, "events", run, kind=kind)


def outcomes(
    place: Place, experiment: str | None = None, all_ends: bool = False, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The last end of each run that ended: of the latest tick, then of the latest attempt; in all `columns` or some.
    `all_ends`: every end, for a run has several if its budget has grown."""
    by, order = ["experiment", "run"], ["tick", "attempt", "ended"]
    ends = read(place, experiment, "outcomes", columns=with_keys(columns, by, order))
    return some(ends if all_ends else last(ends, by, order), columns)


def curves(
    place: Place, experiment: str, names: str | Sequence[str], run: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Numbers by epoch: one row for each run, tick and name, with `quantity`, `split`, `epoch` and `value`.

    A number that training logged ("autoencoder/distortion", split "train", a mean since the last tick) and a cheap
    figure ("distortion/images", split "validation") are of one quantity, the part that their names share. Each of
    `names` brings its counterpart of the other split too, so that training stands beside validation. A quantity in
    `names` ("distortion") brings all of its numbers, and "frechet" the distances in anybody's features. ValueError for
    another name (names the nearest, and those there are). `run`: one run, or several; None: all.
    """
    index = ["run", "tick", "epoch", "name", "quantity", "split"]
    chosen: set[str] | None = None
    if run is not None:
        begun = set(read(place, experiment, "runs", columns=["run"])["run"])
        chosen = {known_run(one, begun, f"experiment {experiment}") for one in ([run] if isinstance(run, str) else run)}
    columns = ["run", "attempt", "tick", "epoch", "value"]
    logged = read(place, experiment, "metrics", {"run": chosen}, [*columns, "name"])
    logged = logged.assign(quantity=logged["name"].str.replace(r"^.*/", "", regex=True), split="train")
    judged = read(place, experiment, "evals", {"scope": "tick", "run": chosen}, [*columns, *FIGURE]).rename(
        columns={"metric": "quantity"}
    )
    column = ("/" + judged["column"]).where(judged["column"] != "image", "")
    judged = judged.assign(name=judged["quantity"] + "/" + judged["subject"] + column)
    frame = pd.concat([part[[*index, "attempt", "value"]] for part in (logged, judged)])
    frame = last(frame, index, ["attempt"]).drop(columns="attempt")
    wanted = pd.Series(False, index=frame.index)
    for name in [names] if isinstance(names, str) else names:
        own = (frame["name"] == name) | (frame["quantity"] == name) | is_frechet(frame, name)
        if not own.any():
            there = told(name, frame["name"].unique()) if len(frame) else "there are: none yet"
            raise ValueError(f"no metric {name!r} in {run or 'the runs'} of experiment {experiment}; {there}")
        trained = frame["split"] == "train"
        counterpart = frame["quantity"].isin(frame["quantity"][own]) & ~trained.isin(trained[own])
        wanted |= own | counterpart
    return frame[wanted].reset_index(drop=True)


def is_frechet(frame: pd.DataFrame, name: str) -> pd.Series[bool]:
    """Which numbers of `curves` the name "frechet", or "frechet/SUBJECT", stands for."""
    own, _, rest = name.partition("/")
    if own != FRECHET:
        return pd.Series(False, index=frame.index)
    of_quantity = (frame["quantity"] == "fid") | frame["quantity"].str.startswith(f"{FRECHET}_")
    subject = frame["name"].str.replace(r"^[^/]*/", "", regex=True)
    return of_quantity & (frame["split"] != "train") & ((subject == rest) | (not rest))
