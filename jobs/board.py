"""Prints an experiment's leaderboard: python -m jobs.board --name vqvae-mnist --by configuration

Ranked by the full figure of each run's best weights; runs without one follow, by what steered them. By configuration
the mean over seeds is ranked, with its interval. The tables can be read while the experiment's jobs still write.
--forget RUN --why TEXT takes a run out of all rankings, for good; its rows stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pandas as pd

from gen import results
from gen.checks import at_least
from gen.metrics.table import direction
from gen.results.forget import forget
from jobs.options import Job, refusing
from jobs.places import storage_at
from jobs.runs import tell_lost

BY: dict[str, Callable[..., Any]] = {"run": results.leaderboard, "configuration": results.configurations}
GOOD = {"min": "small is good", "max": "large is good"}
TOLD = ("split", "n_real", "n_fake", "features", "weights", "labels", "protocol")  # of a figure's protocol


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--by", type=click.Choice(list(BY)), default="run", show_default=True, help="What a row is.")
@click.option("--metric", help="Figure, NAME/SUBJECT, such as frechet/fakes; default: what steered the runs.")
@click.option("--split", default="validation", show_default=True, help="Images that the figure is of.")
@click.option("--features", help="Extractor, where runs were measured by several.")
@click.option("--fakes", "n_fake", type=int, help="Number of fakes, where runs were measured with several.")
@click.option("--protocol", help="Hash of the protocol, where runs were measured under several.")
@click.option("--top", type=int, default=20, show_default=True, help="Rows to print; 0: all.")
@click.option("--forget", "unwanted", multiple=True, metavar="RUN", help="Rank this run no more; it stays on record.")
@click.option("--why", default="", help="The reason, with --forget.")
def main(storage: str, name: str, by: str, top: int, unwanted: tuple[str, ...], why: str, **choice: Any) -> None:
    """Ranks and prints."""
    with refusing():
        at_least("top", top, 0)
        place = storage_at(storage)
        if bool(why) != bool(unwanted):
            raise ValueError("forget= and why= belong together: say which run is to be ranked no more, and why")
        if unwanted:
            names = [results.find_run(place, name, text) for text in unwanted]  # before anything is written
            with results.Lease(place, name) as lease:
                for run in names:
                    forget(lease.storage, name, lease.attempt, run, why)
        tell_lost(place, name)
        begun = len(results.runs(place, name))
        board = BY[by](place, name, **choice)
    for line in heading(name, str(place), board.attrs["protocol"], board.attrs["code_versions"]):
        print(line)
    if len(board):
        print((board.head(top) if top else board).to_string(index=False))
    gone = board.attrs["forgotten"]
    for line in footing(board, top, begun - len(gone)):
        print(line)
    for run, reason in gone.items():
        print(f"forgotten: run {run}: {reason}")


def heading(name: str, place: str, protocol: dict[str, Any], versions: list[str]) -> list[str]:
    """What the ranking is of."""
    about = [f"{key}={protocol[key]}" for key in TOLD if protocol.get(key) is not None]
    metric = protocol.get("metric")
    ranked = "not measured in full: ordered by what steered the runs"
    if metric:
        figure = results.FigureName(metric, protocol["subject"], protocol["column"])
        ranked = f"by {figure} ({GOOD[direction(metric)]}), {', '.join(about)}"
    mixture = [f"the runs are of {len(versions)} versions of the code: {', '.join(versions)}"] if versions[1:] else []
    return [f"{name} in {place}, {ranked}", *mixture]


def footing(board: pd.DataFrame, top: int, begun: int | None = None) -> list[str]:
    """What real images reach, and what the printed rows leave out, counted. `begun`: runs of the experiment; None: all
    have ended."""
    ended = len(board) if "runs" not in board else int(board["runs"].sum())
    collapsed = int((board["collapsed"].notna() if "runs" not in board else board["collapsed"]).sum())
    hidden = max(len(board) - top, 0) if top else 0
    floor = board.attrs.get("floor")
    return [
        *(
            [f"floor: {floor['value']:.6g}, of {floor['n_fake']} real held-out images in the place of fakes"]
            if floor
            else []
        ),
        *([f"not printed: {hidden} of {len(board)} rows; jobs.board --top 0 prints all"] if hidden else []),
        *([f"collapsed: {collapsed} of {ended} runs"] if collapsed else []),
        *([f"not ended yet: {begun - ended} of {begun} runs"] if begun is not None and begun > ended else []),
    ]


if __name__ == "__main__":
    main()
