"""The confirmation of a search, as jobs.tune --confirm asks for it: what is asked, the race, and what is printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from gen import results
from gen.checks import at_least
from gen.config import DataConfig, RunConfig, override
from gen.data.dataset import open_dataset
from gen.metrics.table import direction
from gen.record.names import Names
from gen.results.confirmation import Begun, last_race
from gen.results.forget import forgotten
from gen.search.race import check_level, fewest
from gen.search.samplers import ENDLESS
from jobs.cluster import facts
from jobs.draws import with_seed
from jobs.known import note_of
from jobs.progress import decode_here, interject, show_progress

if TYPE_CHECKING:
    from gen.on_ray.search import Result
    from jobs.options import Asked
    from jobs.plan import Plan
    from jobs.several import Plans

LEVEL, SEEDS = 0.13, 10  # unless the user says others; at this level the third seed may tell, at 0.05 the fifth
FRESH = 1_000  # number of the first fresh seed, counted from --seed: a search uses lower ones
SHOWN = ["run", "confirmed", "confirmed_low", "confirmed_high", "confirmed_n", "confirmed_runs", "mean", "n"]
CALLED = {"mean": "searched", "n": "searched_n", "confirmed_low": "low", "confirmed_high": "high"}
CALLED |= {"confirmed_n": "n", "confirmed_runs": "runs"}


@dataclass(frozen=True)
class Confirm:
    """What is to be confirmed, and how."""

    count: int  # of the best configurations
    seeds: int  # fresh ones, of each at most
    level: float  # of the test after each seed

    def words(self, searched: int) -> str:
        """One line on what that means. `searched`: seeds of a configuration in the search."""
        each = "1 seed a configuration" if searched == 1 else f"the {searched} seeds a configuration that are on record"
        first = fewest(self.level)
        drops = f"who is behind the leader drops out, by a test at level {self.level:g}, from seed {first} on"
        if first > self.seeds:
            drops = f"nobody drops out, for a test at level {self.level:g} needs {first} seeds"
        return (
            f"confirm: the search trains {each}; then its best {self.count} train again with up to {self.seeds} fresh "
            f"seeds; {drops}"
        )


def confirm_of(count: int | None, level: float | None, seeds: int | None) -> Confirm | None:
    """What the options --confirm, --confirm-level and --seeds ask for; None without the first. ValueError for what
    cannot be."""
    if count is None:
        if level is not None:
            raise ValueError(f"confirm-level={level:g} goes with confirm: say --confirm K too, or leave it out")
        return None
    found = Confirm(count, SEEDS if seeds is None else seeds, LEVEL if level is None else level)
    at_least("confirm", count, 1)
    check_level(found.level)
    if found.seeds < 2:
        raise ValueError(
            f"seeds={seeds} with confirm={count}: they are the fresh seeds; allowed: at least 2, such as 10"
        )
    return found


def searched_seeds(asked: Asked) -> int:
    """Seeds of a configuration in a search that is to be confirmed: one, or as many as it has on record."""
    note = note_of(asked.storage, asked.name, asked.config.entry)
    return int((note or {}).get("seeds", 1))


def check_confirm(part: Plan) -> None:
    """ValueError where a search has no winner that could be confirmed."""
    assert part.confirm is not None
    wrong = f"confirm={part.confirm.count}"
    if part.space.each:
        raise ValueError(f"{wrong}: runs under different {', '.join(part.space.each)} are no rivals; leave it out")
    if part.space.samples == ENDLESS:
        from gen.on_ray.preflight import configurations

        name, storage = part.asked.name, part.asked.storage
        begun = configurations(storage, name, part.space.config.entry) if name in storage.folders("") else 0
        number, then = (str(begun), "") if begun else ("N", " then")
        raise ValueError(
            f"{wrong} with samples=0: a search without an end is never over; search first, and confirm by the same "
            f"with --samples {number}, the configurations that it has begun{then}"
        )
    if part.space.config.evaluate.full == "none":
        raise ValueError(f"{wrong} measures in full, and evaluate.full=none measures nothing; leave one of them out")


@dataclass(frozen=True)
class Raced:
    """What a race came to."""

    result: Result
    runs: Mapping[str, RunConfig]  # of the race, all that there may be
    order: Sequence[str]  # who took part and is in, by their means
    dropped: Sequence[str]  # ... and who dropped out, the last one first


def race(
    wanted: Plans,
    runs: Mapping[str, RunConfig],
    hashes: Mapping[DataConfig, str],
    named: Names,
    lease: results.Lease,
    needed: Mapping[str, float],
    seconds: float,
    heard: Callable[[], None],
) -> Raced:
    """Trains the best configurations among the `runs` of a search again, until `seconds` have passed. `heard` is called
    at each sign of a run."""
    from gen.on_ray.confirm import Confirmation
    from gen.on_ray.search import Result, search
    from gen.on_ray.submission import Search

    first = wanted.first
    asked, asking, storage, began = first.asked, first.confirm, lease.storage, time.monotonic()
    assert asking is not None
    begun = begin(wanted, runs, lease)
    if begun is None:
        print("confirm: no configuration of the search has finished; there is nothing to confirm", flush=True)
        return Raced(Result([], 0), {}, [], [])
    whole = dict(hashes)
    table = fresh(wanted, begun, runs, named, whole)
    slot = results.Slot(storage, asked.name, f"{lease.attempt}-race", kind="confirmed")
    mode = direction(first.space.config.evaluate.metric)
    source = Confirmation(begun, table, mode, asking.level, slot, lease.attempt, interject)
    ended = len(results.outcomes(storage, asked.name).query("run in @source.runs"))
    if gone := len(source.forgotten):
        print(f"confirm: {gone} of its runs are to be ranked no more: they count in no test and in no mean", flush=True)
    print(
        f"confirming {len(begun.entrants)} configurations: at most {len(table)} runs, {ended} on record; a paired "
        f"Wilcoxon test of what steered them drops who is behind at level {asking.level:g}",
        flush=True,
    )
    with show_progress(len(table), ended, heard) as hear:
        result = search(
            Search(runs=source.runs, retry=first.retry, **asked.submission(lease, whole, facts())),
            lease,
            needed,
            hear,
            mode=mode,
            grace=max(config.budget.epochs for config in source.runs.values()),
            reduction=first.space.reduction,
            most=first.most,
            seconds=max(seconds - (time.monotonic() - began), 0.0),
            supply=source,
            budget=first.budget,
        )
    now = source.state
    return Raced(result, source.runs, now.order, [drop.configuration for drop in reversed(now.drops)])


def begin(wanted: Plans, runs: Mapping[str, RunConfig], lease: results.Lease) -> Begun | None:
    """The race on record, if it was begun under the same terms and nobody in it is to be forgotten, else a new one,
    which is on record then; None if nobody can take part."""
    from gen.on_ray.confirm import contenders, enter

    name, storage, asking = wanted.first.asked.name, lease.storage, wanted.first.confirm
    assert asking is not None
    ends = results.outcomes(storage, name)
    epochs = max(config.budget.epochs for config in runs.values())
    terms = {"confirm": asking.count, "level": asking.level, "epochs": epochs}
    terms |= {"runs": int(ends["run"].isin(runs).sum())}  # of the search that ended: with more it has another outcome
    last = last_race(storage, name)
    ranked = runs.keys() - forgotten(storage, name).keys()
    if last is not None and last.terms == terms and set(last.entrants) <= ranked:
        return last
    try:
        those = contenders(storage, name, runs, asking.count)
    except ValueError as unlike:
        print(f"confirm: what steered the runs chooses, for their full figures do not: {unlike}", flush=True)
        those = contenders(storage, name, runs, asking.count, full=False)
    if not those:
        return None
    if len(those) < asking.count:
        print(f"confirm: {len(those)} configurations finished, fewer than {asking.count}", flush=True)
    slot = results.Slot(storage, name, f"{lease.attempt}-entered", kind="confirmed")
    number, seed = (last.number + 1, last.first) if last else (1, max(FRESH, wanted.first.seeds))
    enter(slot, lease.attempt, those, number, seed, terms)
    return last_race(storage, name)


def fresh(
    wanted: Plans, begun: Begun, runs: Mapping[str, RunConfig], named: Names, hashes: dict[DataConfig, str]
) -> dict[tuple[str, int], tuple[str, RunConfig]]:
    """Configuration and number of a seed -> name and config of its run, for all runs that a race may come to. `hashes`
    gets those of images of which other ones keep their labels."""
    asked, asking = wanted.first.asked, wanted.first.confirm
    assert asking is not None
    bases = {part.space.config.entry: part.space.config for part in wanted.parts}
    found = {}
    for entrant in begun.entrants:
        config = runs[entrant]
        base = bases[config.entry]
        zero = override(config, {"seed": base.seed, "data.label_seed": base.data.label_seed})
        for number in range(begun.first, begun.first + asking.seeds):
            one = with_seed(zero, number)
            if one.data not in hashes:
                hashes[one.data] = open_dataset(one.data, asked.data_root, asked.download, runner=decode_here).hash
            found[entrant, number] = named.of(one, hashes[one.data]), one
    return found


def measurable(storage: results.Storage, name: str, runs: Mapping[str, RunConfig]) -> list[str]:
    """The runs that have ended with weights that can be measured, but for those that are to be ranked no more."""
    ends = results.outcomes(storage, name)
    ends = ends[ends["run"].isin(runs.keys() - forgotten(storage, name).keys())]
    return list(ends["run"][(ends["status"] != "failed") & ends["checkpoint"].notna()])


def show_confirmed(storage: results.Storage, name: str, raced: Raced) -> None:
    """Prints what the confirmation found, apart from what the search had found."""
    board, order = results.leaderboard(storage, name, by="config").set_index("run"), [*raced.order, *raced.dropped]
    confidence = board.attrs["confidence"]
    board = board.loc[[one for one in order if one in board.index]].reset_index()
    if board.empty:
        return
    varied = list(board.columns)[list(board.columns).index("confirmed_apart") + 1 :]
    print(f"confirmed with fresh seeds, on test images, with {confidence:.0%} intervals:")
    print(board[[*SHOWN, *varied]].rename(columns=CALLED).to_string(index=False))
    for line in overlaps(board, raced.dropped):
        print(line)


def overlaps(board: pd.DataFrame, dropped: Collection[str]) -> list[str]:
    """Lines on the configurations whose intervals overlap that of the best confirmed mean."""
    close = list(board["run"][board["confirmed_apart"].eq(False).fillna(False)])
    best = list(board["run"][board["confirmed_apart"].isna() & board["confirmed_low"].notna()])
    alike, told = ([one for one in close if (one in dropped) == out] for out in (False, True))
    lines = (
        [f"cannot be told apart from run {best[0]}, for their intervals overlap: {', '.join(alike)}"] if alike else []
    )
    if told:
        more = f"the intervals of {', '.join(told)} overlap that of run {best[0]}"
        lines.append(f"{more}; the race, which compares seed by seed, on validation images, dropped them")
    return lines
