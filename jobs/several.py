"""Searches of several entries in one experiment, so that they are compared at equal terms: one plan an entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gen.config import DataConfig, RunConfig
from gen.data.dataset import Dataset, slug
from gen.record import names
from jobs.options import split_names
from jobs.plan import Plan, check_held_out, plan
from tune_spaces import check_alike


@dataclass(frozen=True)
class Plans:
    """The search of each entry. What is not an entry's own is the same in all of them: the first one tells."""

    parts: Sequence[Plan]

    @property
    def first(self) -> Plan:
        """The plan that tells what all have."""
        return self.parts[0]

    @property
    def configs(self) -> list[RunConfig]:
        """All runs, those of an entry next to each other."""
        return [config for part in self.parts for config in part.configs]

    @property
    def by(self) -> list[str]:
        """The settings by which the runs are to be compared."""
        return [*(["entry"] if len(self.parts) > 1 else []), *self.first.space.each]

    @property
    def notices(self) -> list[str]:
        """Lines for the user: entries of which there are fewer configurations than samples were asked for."""
        confirm = [self.first.confirm.words(self.first.seeds)] if self.first.confirm else []
        return [*(f"{part.space.config.entry}: {part.notice}" for part in self.parts if part.notice), *confirm]

    def open(self) -> Mapping[DataConfig, Dataset]:
        """Settings of data -> data set, of all runs. ValueError as `Plan.open`, and where the entries' figures do not
        compare."""
        for part in self.parts:
            part.open()
        datasets = {data: dataset for part in self.parts for data, dataset in part.datasets.items()}
        check_held_out(datasets)
        self.check()
        return datasets

    def look(self) -> None:
        """Checks what can be told before any image is read."""
        for part in self.parts:
            part.look()
        self.check()
        asked = self.first.asked
        if found := names.read_note(asked.storage, asked.name):
            from gen.on_ray.preflight import check_name

            hashes = dict.fromkeys((config.data for config in self.configs), str(found["data_hash"]))
            for entry, note in self.notes(hashes):
                check_name(asked.storage, asked.name, note, entry)

    def check(self) -> None:
        """ValueError where the entries' figures do not compare."""
        steering = {part.space.config.entry: part.space.config.evaluate.metric for part in self.parts}
        if len(set(steering.values())) > 1:
            shown = ", ".join(f"{entry} by {figure}" for entry, figure in steering.items())
            raise ValueError(f"the entries are not steered by the same figure: {shown}; name one by --metric")
        for metric in (self.first.space.config.evaluate.metric, *self.first.also):
            check_alike(metric, self.configs, "name another by --metric")

    def notes(self, hashes: Mapping[DataConfig, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The notes of the experiment: the name of an entry, "" for the first, and what the experiment is of it."""
        entries = [part.space.config.entry for part in self.parts]
        more = {"entries": entries} if len(entries) > 1 else {}
        for part in self.parts:
            first = part is self.first
            yield "" if first else part.space.config.entry, part.note(hashes[part.configs[0].data]) | more


def plans(options: dict[str, Any]) -> Plans:
    """The options of jobs.tune as plans. ValueError for whatever is wrong with them."""
    entries = list(dict.fromkeys(split_names("entry", options["entry"])))
    several, name = len(entries) > 1, options["name"]
    parts = [plan({**options, "entry": entry}, several) for entry in entries]
    if several and name is None:
        name = "-".join([*entries, slug(parts[0].asked.config.data.name)])
        parts = [plan({**options, "entry": entry, "name": name}, several) for entry in entries]
    return Plans(parts)
