"""Who proposes the configurations of a search, and what of that is on record."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gen.config import DataConfig, RunConfig
from gen.metrics.table import direction
from gen.record.learned import Learned, find_learned, record_learned
from gen.record.names import Names
from gen.results.forget import forgotten
from gen.results.ledger import Slot
from gen.results.pareto import of_runs
from gen.results.storage import Storage
from gen.search.samplers import QUEUE, TPE, Drawn, Queued, Sampler, Score, Settings
from gen.search.tpe import Tpe
from jobs.known import learned
from jobs.plan import Plan
from jobs.several import Plans
from tune_spaces import SpaceQuestions, draw

if TYPE_CHECKING:
    from gen.on_ray.proposals import Part, Supply


@dataclass(frozen=True)
class Sampled:
    """The runs of a search."""

    runs: Mapping[str, RunConfig]  # name -> config: all, or those proposed so far, to which others come
    known: Mapping[str, RunConfig]  # those that every process of the search is sent
    count: int  # all, as far as that is known
    supply: Supply | None = None  # where a sampler learns: who proposes them
    lines: Sequence[str] = ()  # on what the sampler learned from an earlier experiment, and what it does not hear


def sample(wanted: Plans, hashes: Mapping[DataConfig, str], named: Names, slot: Slot, attempt: str) -> Sampled:
    """The runs of a search, with their proposals on record if they are all known; else with who proposes them."""
    if not is_supplied(wanted):
        runs = runs_on_record(wanted, hashes, named)
        record_all(wanted, hashes, named, slot, attempt)
        return Sampled(runs, runs, len(runs), lines=left_out(slot, runs))
    supply, lines = supply_of(wanted, hashes, named, slot, attempt)
    known = {named.of(one, hashes[one.data]): one for one in wanted.configs[:1]}
    return Sampled(supply.runs, known, supply.count, supply, [*lines, *left_out(slot, supply.runs)])


def left_out(slot: Slot, runs: Collection[str]) -> list[str]:
    """A line that counts the runs of a search that are ranked no more; none if there are none."""
    if not (gone := forgotten(slot.storage, slot.experiment).keys() & runs):
        return []
    count = f"{len(gone)} of {len(runs)} runs {'are' if len(gone) > 1 else 'is'} ranked no more"
    return [f"forgotten: {count}, not trained, heard by no sampler, compared with no run from now on; decisions stand"]


def is_supplied(wanted: Plans) -> bool:
    """Whether what a search tries is known only on the way: it depends on what became of other runs, or has no end."""
    return wanted.first.sampler == TPE or wanted.first.endless


def earlier(part: Plan, data_hash: str, storage: Storage, attempt: str) -> tuple[Sequence[tuple[Settings, Score]], str]:
    """What an earlier experiment taught the sampler of an entry, from the record of the search, where it is put if it
    is not there yet; and a line on that, "" without such an experiment. `storage`: the lease's."""
    config, asked, source = part.space.config, part.asked, part.begins.source
    if part.sampler != TPE or (part.also and not source):
        return [], ""
    if part.also:
        return [], f"start-from {source}: a sampler of several objectives learns from the search's own runs alone"
    if found := find_learned(storage, asked.name, config.entry):
        many = f"{len(found.known)} configurations"
        return found.known, f"start-from {found.source}: the sampler goes on with what it learned from {many} of it"
    if not source:
        return [], ""
    known, line = learned(asked.storage, source, config, asked.pinned, data_hash)
    slot = Slot(storage, asked.name, f"{attempt}-learned-{config.entry}", kind="proposed")
    record_learned(slot, attempt, config.entry, Learned(source, known), line)
    return known, line


def part_of(
    part: Plan, hashes: Mapping[DataConfig, str], named: Names, storage: Storage, attempt: str
) -> tuple[Part, str]:
    """The configurations of an entry, as a search is supplied with them, with no proposal on record yet; and a line on
    what an earlier experiment taught the sampler, "" without one."""
    from gen.on_ray.proposals import Part

    config, begins = part.space.config, part.begins
    known, line = earlier(part, hashes[part.configs[0].data], storage, attempt)
    samples = math.inf if part.endless else part.space.samples
    own: Sampler = Drawn(lambda number: draw(part.space, config.seed, number))
    if part.sampler == TPE:
        mode, *others = (direction(metric) for metric in (config.evaluate.metric, *part.also))
        own = Tpe(SpaceQuestions(part.space), config.seed, mode, known, others)

    def runs(settings: Settings) -> dict[str, RunConfig]:
        return {named.of(one, hashes[one.data]): one for one in part.runs_of(settings)}

    return Part(config.entry, part.sampler, Queued(begins.first, own), len(begins.first), samples, runs), line


def supply_of(
    wanted: Plans, hashes: Mapping[DataConfig, str], named: Names, slot: Slot, attempt: str
) -> tuple[Supply, list[str]]:
    """The proposals of a search whose sampler learns: those on record, and from then on new ones. And lines on what the
    sampler learned from an earlier experiment."""
    from gen.on_ray.proposals import Supply, proposals

    parts, lines = zip(*(part_of(part, hashes, named, slot.storage, attempt) for part in wanted.parts), strict=True)
    also = wanted.first.also
    others = functools.partial(of_runs, slot.storage, slot.experiment, also) if also else None
    recorded = proposals(slot.storage, slot.experiment)
    gone = forgotten(slot.storage, slot.experiment)
    return Supply(parts, slot, attempt, recorded, others, gone), [line for line in lines if line]


def record_all(wanted: Plans, hashes: Mapping[DataConfig, str], named: Names, slot: Slot, attempt: str) -> None:
    """Puts the proposals of a search that knows them all on record, those that are not yet."""
    from gen.on_ray.proposals import Proposal, proposals, record

    known = {(one.entry, one.number): one.runs for one in proposals(slot.storage, slot.experiment)}
    found = []
    for part in wanted.parts:
        each = len(part.configs) // len(part.drawn)  # runs of a configuration
        for number, settings in enumerate(part.drawn):
            configs = part.configs[number * each : (number + 1) * each]
            runs = [named.of(one, hashes[one.data]) for one in configs]
            name = QUEUE if number < len(part.begins.first) else part.sampler
            new = frozenset(runs) - known.get((part.space.config.entry, number), frozenset())
            found.append(Proposal(part.space.config.entry, number, settings, name, new))
    record(slot, attempt, found)


def runs_on_record(wanted: Plans, hashes: Mapping[DataConfig, str], named: Names) -> dict[str, RunConfig]:
    """The runs of a search, name -> config, as far as they are known: all, or those proposed before if its sampler
    learns. Equal draws are one run."""
    from gen.on_ray.proposals import proposals

    if not is_supplied(wanted):
        return {named.of(one, hashes[one.data]): one for one in wanted.configs}
    asked, by_entry = wanted.first.asked, {part.space.config.entry: part for part in wanted.parts}
    known = [
        config
        for one in proposals(asked.storage, asked.name)
        if one.entry in by_entry and one.number < by_entry[one.entry].space.samples
        for config in by_entry[one.entry].runs_of(one.settings)
    ]
    return {named.of(one, hashes[one.data]): one for one in known}
