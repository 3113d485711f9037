"""A search by several figures, jobs.tune --metric A --metric B: what is asked for, and the Pareto set at its end."""

from __future__ import annotations

from collections.abc import Sequence

from gen import results
from gen.metrics.table import direction
from jobs.confirm import Confirm

TOP = 20  # configurations of the front that are printed


def objectives(metrics: Sequence[str], mode: str | None, confirm: Confirm | None) -> tuple[str | None, tuple[str, ...]]:
    """The figure that steers the runs, None: what suits the family, and the further ones of a search by several.
    ValueError for what cannot be."""
    if len(metrics) < 2:
        return (metrics[0] if metrics else None), ()
    shown = " and ".join(metrics)
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"metric={shown} names a figure twice; name each once")
    if mode:
        raise ValueError(f"mode={mode} with metric={shown}: each metric has its own direction; leave the mode out")
    if confirm:
        raise ValueError(
            f"confirm={confirm.count} with metric={shown}: a race is by one figure; search by one, or leave confirm out"
        )
    for one in metrics[1:]:
        direction(one)
    return metrics[0], tuple(metrics[1:])


def objectives_in_words(metric: str, also: Sequence[str], grace: int, epochs: int) -> str:
    """A line on how a search by several figures stops runs; "" for one by one."""
    if not also:
        return ""
    if grace < epochs:
        return f"grace={grace} is below the epochs, so {metric} stops runs early, whatever their {', '.join(also)}"
    return f"by {', '.join((metric, *also))}, which are not one order: no run is stopped early unless --grace says so"


def show_front(storage: results.Storage, name: str, metrics: Sequence[str]) -> None:
    """Prints the configurations that no other one beats by all figures."""
    table = results.pareto(storage, name, metrics)
    front = table[table["front"]].drop(columns="front")
    unknown = int(table[list(metrics)].isna().any(axis=1).sum())
    lacks = f"; {unknown} lack a figure" if unknown else ""
    print(f"Pareto set by {', '.join(metrics)}: {len(front)} of {len(table)} configurations{lacks}")
    print(front.head(TOP).to_string(index=False))
    if len(front) > TOP:
        print(f"not printed: {len(front) - TOP} of them; results.pareto gives all")
