"""The configurations of an experiment as a study of Optuna's, whose analysis then applies to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gen.report.facts import Experiment
from gen.report.section import plain
from gen.report.thin import thin
from gen.report.winner import short_names

if TYPE_CHECKING:
    import optuna

WIDE = 50.0  # times the least value is the largest, from which on a scale is logarithmic
MEMBERS = "runs of the mean"  # column: of how many runs a value is the mean; a run that failed may have none
BEST = 100  # configurations that are kept whatever is left out


@dataclass(frozen=True)
class Trials:
    """One row for each configuration that has a value, the best first: `table` holds `value`, the mean over its runs
    of the figure that steered, `MEMBERS`, and a column for each of the `settings`, which all of them have."""

    table: pd.DataFrame
    settings: Sequence[str]  # by their short names, as Plotly may show them
    partial: Sequence[str]  # settings that vary and that some configurations lack
    without: int  # configurations without a value
    mode: str

    def thinned(self, most: int) -> Trials:
        """At most so many configurations: the best, then the others evenly by their rank."""
        best = min(BEST, most // 2)
        if len(self.table) <= most:
            return self
        places = [*range(best), *(best + thin(len(self.table) - best, most - best))]
        table = self.table.iloc[places].reset_index(drop=True)
        return Trials(table, self.settings, self.partial, self.without, self.mode)

    @property
    def means(self) -> str:
        """Of how many runs the values are means, in words."""
        low, high = int(self.table[MEMBERS].min()), int(self.table[MEMBERS].max())
        return f"means of {low} to {high} runs" if low < high else "of one run" if low == 1 else f"means of {low} runs"

    def study(self, table: pd.DataFrame | None = None, more: Sequence[str] = ()) -> optuna.Study:
        """A study of these configurations, or of other rows of such a `table`, with `more` settings."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        rows = self.table if table is None else table
        names = [*self.settings, *more]
        distributions = {name: distribution(rows[name]) for name in names}
        columns = {name: plain_values(rows[name]) for name in names}
        study = optuna.create_study(direction="minimize" if self.mode == "min" else "maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: columns[name][place] for name in names},
                    distributions=distributions,
                    value=float(value),
                )
                for place, value in enumerate(rows["value"])
            ]
        )
        return study


def trials(experiment: Experiment) -> Trials:
    """The configurations of an experiment."""
    keys = {key: plain(name) for key, name in short_names(experiment.varying).items()}
    runs = experiment.searched[experiment.searched["ended"].notna()]
    runs = runs[["run", "configuration", "best"]].merge(
        experiment.settings[["run", *keys]].rename(columns=keys), on="run"
    )
    groups = runs.groupby("configuration", sort=False)
    table = groups[list(keys.values())].first()
    table.insert(0, "value", groups["best"].mean())
    table.insert(1, MEMBERS, groups["best"].count().astype(int))
    there = table[table["value"].notna()]
    order = np.argsort((1 if experiment.mode == "min" else -1) * there["value"].to_numpy(dtype=float), kind="stable")
    there = there.iloc[order].reset_index(drop=True)
    varies = [name for name in keys.values() if there[name].nunique(dropna=False) > 1]
    whole = [name for name in varies if there[name].notna().all()]
    partial = [name for name in varies if name not in whole]
    return Trials(there, whole, partial, len(table) - len(there), experiment.mode)


def is_numeric(values: pd.Series[Any]) -> bool:
    """Whether a setting is a number."""
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def is_wide(values: Any) -> bool:
    """Whether numbers are to be shown on a logarithmic scale."""
    numbers = np.asarray(values, dtype=float)
    return bool(len(numbers) and numbers.min() > 0 and numbers.max() / numbers.min() >= WIDE)


def distribution(values: pd.Series[Any]) -> Any:
    """The distribution that such values may be of."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not is_numeric(values):
        return CategoricalDistribution(sorted({plain(value) for value in values}))
    numbers = values.to_numpy(dtype=float)
    low, high, log = float(numbers.min()), float(numbers.max()), is_wide(numbers)
    if pd.api.types.is_integer_dtype(values):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def plain_values(values: pd.Series[Any]) -> list[Any]:
    """The values as Optuna takes them."""
    if not is_numeric(values):
        return [plain(value) for value in values]
    whole = pd.api.types.is_integer_dtype(values)
    return [int(value) if whole else float(value) for value in values]
