"""Prints an experiment's leaderboard: python -m jobs.board --name vqvae-mnist --by config

Ranked by the full figure of each run's best weights; runs without one follow, by what steered them. By configuration
the mean over seeds is ranked, with its interval; what was confirmed stands beside it, of test images. Runs with fresh
seeds, which confirm, are none of the search's: --by fresh ranks them. The tables can be read while jobs still write.
--forget RUN --why TEXT takes a run out of all rankings, for good; its rows stay.
"""

from __future__ import annotations

from typing import Any, Literal

import click
import pandas as pd

from gen import results
from gen.checks import at_least
from gen.metrics.table import direction
from gen.results.board import BY
from gen.results.configs import CONFIRMED
from gen.results.floor import fewer
from gen.results.forget import forget
from gen.results.queries import shown
from jobs.experiments import tell_lost
from jobs.places import storage_at
from jobs.program import Program, refusing

GOOD = {"min": "small is good", "max": "large is good"}
APART = {
    "run": "runs with fresh seeds, which confirm; jobs.board --by fresh ranks them",
    "fresh": "runs of the search; jobs.board --by run ranks them",
}  # what a ranking by runs leaves out
SHORTER = "runs with fresh seeds, of fewer epochs than the latest confirmation trains for"
NONE = {"fresh": "no run with a fresh seed has ended; jobs.tune --confirm trains some"}  # where there are no rows
TOLD = ("split", "n_real", "n_fake", "features", "weights", "labels", "protocol")  # of a figure's protocol


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--by", type=click.Choice(BY), default="run", show_default=True, help="What a row is.")
@click.option("--metric", help="Figure, NAME/SUBJECT, such as frechet/fakes; default: what steered the runs.")
@click.option("--split", default="validation", show_default=True, help="Images that the figure is of.")
@click.option("--features", help="Extractor, where runs were measured by several.")
@click.option("--fakes", "n_fake", type=int, help="Number of fakes, where runs were measured with several.")
@click.option("--protocol", help="Hash of the protocol, where runs were measured under several.")
@click.option("--top", type=int, default=20, show_default=True, help="Rows to print; 0: all.")
@click.option("--forget", "unwanted", multiple=True, metavar="RUN", help="Rank this run no more; it stays on record.")
@click.option("--why", default="", help="The reason, with --forget.")
def main(
    storage: str,
    name: str,
    by: Literal["run", "config", "fresh"],
    top: int,
    unwanted: tuple[str, ...],
    why: str,
    **choice: Any,
) -> None:
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
        board = results.leaderboard(place, name, by=by, **choice)
    for line in heading(name, str(place), by, board):
        print(line)
    gone = board.attrs["forgotten"]
    if len(board):
        hidden = [] if by != "config" or board["confirmed_runs"].any() else list(CONFIRMED)
        print((board.head(top) if top else board).drop(columns=hidden).to_string(index=False))
    for line in [*footing(board, top, begun - len(gone)), *(overlaps(board) if by == "config" else ())]:
        print(line)
    for run, reason in gone.items():
        print(f"forgotten: run {run}: {reason}")


def heading(name: str, place: str, by: str, board: pd.DataFrame) -> list[str]:
    """What the ranking is of."""
    protocol, versions = board.attrs["protocol"], board.attrs["code_versions"]
    if board.empty:
        return [f"{name} in {place}: {NONE.get(by, 'no run has ended')}"]
    about = [f"{key}={protocol[key]}" for key in TOLD if protocol.get(key) is not None]
    metric = protocol.get("metric")
    ranked = f"not measured in full: ordered by what steered the runs; jobs.evaluate --name {name} measures them"
    if metric:
        figure = results.FigureName(metric, protocol["subject"], protocol["column"])
        ranked = f"by {figure} ({GOOD[direction(metric)]}), {', '.join(about)}"
    mixture = [f"the runs are of {len(versions)} versions of the code: {', '.join(versions)}"] if versions[1:] else []
    return [f"{name} in {place}, {ranked}", *mixture]


def overlaps(board: pd.DataFrame) -> list[str]:
    """A line for the search, and one for its confirmation, where intervals overlap that of the first configuration."""
    found = []
    of_both = (("apart", "low", "rank 1"), ("confirmed_apart", "confirmed_low", "the best confirmed mean"))
    for column, low, of in of_both:
        alike = list(board["run"][board[column].eq(False).fillna(False)])
        first = board["run"][board[column].isna() & board[low].notna()]
        if alike and len(first):
            found.append(f"cannot be told apart from {of}, run {first.iloc[0]}, by their intervals: {shown(alike)}")
    return found


def footing(board: pd.DataFrame, top: int, begun: int | None = None) -> list[str]:
    """What real images reach, and what the printed rows leave out, counted. `begun`: runs of the experiment; None: all
    have ended."""
    ended = len(board) if "runs" not in board else int(board["runs"].sum())
    apart = board.attrs["apart"]
    collapsed = int((board["collapsed"].notna() if "runs" not in board else board["collapsed"]).sum())
    hidden = max(len(board) - top, 0) if top else 0
    floor = board.attrs.get("floor")
    return [
        *([told_floor(floor)] if floor else []),
        *([f"floor {less}"] if (less := fewer(floor, board.attrs["protocol"])) else []),
        *([f"not printed: {hidden} of {len(board)} rows; jobs.board --top 0 prints all"] if hidden else []),
        *([f"left out: {apart} {APART[board.attrs['by']]}"] if apart and "runs" not in board else []),
        *([f"left out: {short} {SHORTER}"] if (short := board.attrs.get("shorter")) else []),
        *([f"collapsed: {collapsed} of {ended} runs"] if collapsed else []),
        *([f"not ended yet: {left} of {begun} runs"] if begun and (left := begun - ended - apart) > 0 else []),
    ]


def told_floor(floor: dict[str, Any]) -> str:
    """The floor of the ranked figure, and what it cost."""
    cost = (
        f"; {floor['seconds']:.1f} s, {floor['share']:.1%} of what the experiment had cost" if "share" in floor else ""
    )
    return f"floor: {floor['value']:.6g}, of {floor['n_fake']} real held-out images in the place of fakes{cost}"


if __name__ == "__main__":
    main()
