"""What the tables may be asked for. A word that no row can have is refused, with the nearest that one can: an empty
table would look like an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from gen.checks import nearest
from gen.metrics.table import FRECHET, METRICS
from gen.results.schema import MEASURED_LATER

SCOPES, SPLITS = ("tick", "best"), ("validation", "test", "train")
SUBJECTS = ("fakes", "images", "reconstructions", "translations")
PICTURES = ("fakes", "nearest", "reconstructions", "translations")  # the kinds that are stored
EVENTS = ("cache", "collapse", "confirm", "forget", "picture", "proposal", "resume", "rung")
COLUMNS = ("image", "a", "b", "unlabelled")
KNOWN = {  # (table, column) -> words that are right even where no row has them
    ("evals", "column"): COLUMNS,
    ("evals", "metric"): (*METRICS, *(f"{FRECHET}_{features}" for features in ("classifier", "rotation"))),
    ("evals", "scope"): SCOPES,
    ("evals", "split"): SPLITS,
    ("evals", "subject"): SUBJECTS,
    ("events", "kind"): EVENTS,
    ("metrics", "name"): MEASURED_LATER,
    ("samples", "kind"): PICTURES,
}


@dataclass(frozen=True)
class FigureName:
    """What a figure is called: NAME, NAME/SUBJECT or NAME/SUBJECT/COLUMN. None: whichever there is."""

    metric: str | None
    subject: str | None = None
    column: str | None = None

    def __str__(self) -> str:
        parts = (self.metric, self.subject, None if self.column == "image" else self.column)
        return "/".join(part for part in parts if part)

    @property
    def exact(self) -> str | None:
        """The metric's name in the tables; None for "frechet", which stands for the distance in anybody's features."""
        return None if self.metric == FRECHET else self.metric

    def choose(self, figures: pd.DataFrame) -> pd.DataFrame:
        """Those rows of `evals` that have the name."""
        wanted = {"metric": self.exact, "subject": self.subject, "column": self.column}
        for column, value in wanted.items():
            figures = figures if value is None else figures[figures[column] == value]
        if self.metric == FRECHET:
            names = figures["metric"]
            figures = figures[names.str.startswith(f"{FRECHET}_") | (names == "fid")]
        return figures


def figure_name(metric: str | None, subject: str | None = None, column: str | None = None) -> FigureName:
    """The name of a figure, whose parts may be said in one, `metric`, or apart. ValueError for more parts than a name
    has, and where a part is said twice and differently."""
    own, *parts = [None] if metric is None else metric.split("/")
    if len(parts) > 2 or not all(parts):
        raise ValueError(f"metric={metric!r} is no name of a figure; allowed: NAME, NAME/SUBJECT, NAME/SUBJECT/COLUMN")
    found = dict(zip(("subject", "column"), parts, strict=False))
    for part, said in (("subject", subject), ("column", column)):
        if said is not None and found.setdefault(part, said) != said:
            raise ValueError(f"metric={metric!r} and {part}={said!r} say different things; say one of them")
    return FigureName(own, found.get("subject"), found.get("column"))


def check_split(split: str) -> None:
    """ValueError for a split that no data set has."""
    check_word("evals", "split", split, tuple)


def check_word(table: str, column: str, asked: str, there: Callable[[], Iterable[str]]) -> None:
    """ValueError (names the nearest) unless a column of a table may have the value `asked`: it is a known word, or one
    of those that are `there`. Of a column without known words nobody can tell before the first row."""
    known = KNOWN.get((table, column), ())
    if asked in known:
        return
    found = {*there()}
    if asked not in found and (found or (known and column != "name")):
        near = nearest(str(asked), found | {*known})
        raise ValueError(f"{column}={asked!r} is not known in {table}; nearest valid: {near}")
