"""A slot serves trial after trial, and none leaves anything to the next."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset, open_dataset
from gen.engine.fit import fit
from gen.on_ray.replay import begun, ends
from gen.on_ray.submission import Search
from gen.on_ray.trainable import Resident
from gen.record import checkpoint
from gen.record.record import Home
from gen.results import Storage
from gen.zoo import ZOO, restore
from jobs.bench.nothing import Idle

OWN = ["experiment", "attempt", "seconds", "started", "ended", "hosts"]  # columns in which two attempts may differ


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, digits: Dataset, cache: str) -> Dataset:
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    return digits


def configs(entry: str, **settings: object) -> list[RunConfig]:
    """Three runs of an entry that differ in rate and seed."""
    small = override(ZOO[entry], {"budget.epochs": 2, "evaluate.images": 150, "evaluate.full_images": 150, **settings})
    key = "model.optimizer.rate" if entry == "vqvae" else "model.generator_optimizer.rate"
    return [override(small, {key: 1e-3 * (1 + seed), "seed": seed}).resolve() for seed in range(3)]


class Slot:
    """A slot as Tune drives one, without Tune."""

    def __init__(
        self, storage: Storage, experiment: str, runs: list[RunConfig], data_hash: str, rungs: tuple[int, ...] = ()
    ) -> None:
        facts = {"code_version": "", "packages": "{}"}
        by_name = {identity(config, data_hash): config for config in runs}
        self.search = Search(
            runs=by_name,
            storage=storage,
            experiment=experiment,
            attempt=results.new_attempt(),
            data_hashes={config.data: data_hash for config in runs},
            data_root=None,
            download=False,
            facts=facts,
            rungs=rungs,
        )
        self.decisions = results.Slot(storage, experiment, f"{self.search.attempt}-scheduler")
        self.resident: Resident | None = None

    def begin(self, trial: int) -> None:
        if self.resident is None:
            self.resident = Resident.__new__(Resident)  # what Tune's constructor adds are its log files
            self.resident.setup({"trial": trial}, search=self.search)
        else:
            assert self.resident.reset_config({"trial": trial})

    def finish(self, trial: int) -> None:
        self.begin(trial)
        while not self.resident.step()["done"]:
            pass

    def stop(self, trial: int, why: str, ticks: int = 1) -> None:
        self.begin(trial)
        for _ in range(ticks):
            report = self.resident.step()
        row = {"run": report["run"], "tick": report["tick"], "epoch": report["epoch"], "kind": "rung", "why": why}
        row |= {"experiment": self.search.experiment, "attempt": self.search.attempt, "decision": "stop"}
        self.decisions.extend({"events": [row | {"value": 1.0, "detail": "{}", "time": datetime.now(UTC)}]})

    def interrupt(self, trial: int) -> None:
        self.begin(trial)
        self.resident.step()


def rows(storage: Storage, experiment: str, table: str, run: str) -> pd.DataFrame:
    frame = results.queries.read(storage, experiment, table, {"run": run})
    if table == "metrics":
        frame = frame[~frame["name"].str.startswith(("engine/", "evaluate/"))]  # times, which differ
    frame = frame.drop(columns=[name for name in OWN if name in frame])
    return frame.sort_values(list(frame.columns), ignore_index=True)


def same(storage: Storage, one: str, other: str, run: str) -> None:
    """What two experiments hold of a run is equal, bit for bit: metrics, evals, pictures and the best weights."""
    for table in ("settings", "metrics", "evals", "samples"):
        left, right = rows(storage, one, table, run), rows(storage, other, table, run)
        assert len(left), table
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    states = [checkpoint.load_best(storage, name, run, torch.device("cpu")) for name in (one, other)]
    assert bits(states[0]) == bits(states[1])


def bits(state: dict[str, Any]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in state["weights"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["vqvae", "lsgan_mlp"])
def test_a_trial_alone_and_after_others(judged: Callable, tmp_path: Path, data: Dataset, entry: str):
    """One that finished, one that was stopped, one that was interrupted: the next trial of the slot knows of none."""
    storage = Storage(judged(tmp_path))
    sizes = {"hidden": 8} if entry == "vqvae" else {"generator_width": 16, "critic_width": 16}
    small = {f"model.networks.{name}": size for name, size in sizes.items()}
    runs = configs(entry, **small)
    run = [identity(config, data.hash) for config in runs]
    alone = Slot(storage, "alone", runs, data.hash)
    alone.finish(2)
    after = Slot(storage, "after", [*runs, override(runs[0], {"seed": 9})], data.hash)
    after.finish(0)
    after.stop(1, "it is worse")
    after.interrupt(3)
    after.finish(2)
    same(storage, "alone", "after", run[2])
    after.resident.cleanup()
    last = results.outcomes(storage, "after").set_index("run")
    assert dict(last["status"]) == {run[0]: "finished", run[1]: "stopped", run[2]: "finished"}
    assert last.loc[run[1], "why"] == "stopped by the scheduler: it is worse"
    assert last.loc[run[1], "epochs"] == 1
    # what ended keeps its best weights only; what was interrupted, all that it goes on from
    names = {name: storage.list(checkpoint.folder("after", name)) for name in last.index}
    assert all(len(files) == 1 and files[0].startswith("best-") for files in names.values())
    interrupted = list(after.search.runs)[3]
    assert "last.pt" in storage.list(checkpoint.folder("after", interrupted))


def test_a_run_gives_its_slot_away_at_a_rung_and_goes_on_in_another(judged: Callable, tmp_path: Path, data: Dataset):
    """It has left before anybody hears of it, so that two processes never train one run; and it loses nothing."""
    storage = Storage(judged(tmp_path))
    runs = configs("vqvae", **{"model.networks.hidden": 8})
    run = identity(runs[0], data.hash)
    Slot(storage, "alone", runs, data.hash).finish(0)
    first, second = (Slot(storage, "search", runs, data.hash, rungs=(1, 2)) for _ in range(2))
    first.begin(0)
    report = first.resident.step()
    assert (report["epoch"], report["done"], report["waits"], report["ended"]) == (1.0, True, True, "")
    assert "last.pt" in storage.list(checkpoint.folder("search", run))
    second.begin(0)  # while the process of the first is still there
    report = second.resident.step()
    assert (report["epoch"], report["done"], report["waits"]) == (1.0, False, False)  # where it stood, again
    report = second.resident.step()
    assert (report["epoch"], report["done"], report["waits"], report["ended"]) == (2.0, True, False, "finished")
    first.resident.cleanup()
    assert list(results.outcomes(storage, "search")["status"]) == ["finished"]
    same(storage, "alone", "search", run)


def test_the_reason_of_a_stop_is_found_among_many_and_is_of_this_epoch(judged: Callable, tmp_path: Path, data: Dataset):
    storage = Storage(judged(tmp_path))
    slot = Slot(storage, "search", configs("vqvae", **{"model.networks.hidden": 8}), data.hash)
    slot.stop(0, "the first")
    for number in range(40):  # more than a file of decisions holds
        row = {"experiment": "search", "attempt": slot.search.attempt, "run": f"{number:016x}", "tick": 1, "epoch": 1.0}
        row |= {"kind": "rung", "decision": "stop", "value": 1.0, "why": "another", "detail": "{}"}
        slot.decisions.extend({"events": [row | {"time": datetime.now(UTC)}]})
    assert slot.resident.reason_of_stop() == "the first"
    slot.resident.reached = 0.5  # it is trained again after a kill, and not there yet
    assert slot.resident.reason_of_stop() == ""


@pytest.mark.slow
def test_a_larger_budget_may_stop_at_its_old_end_what_finished_there(judged: Callable, tmp_path: Path, data: Dataset):
    """A short run leaves nothing to go on from: it is trained again, and its new end is the last word."""
    storage = Storage(judged(tmp_path))
    small = {"model.networks.hidden": 8}
    first = Slot(storage, "search", configs("vqvae", **small), data.hash)
    for trial in range(3):
        first.finish(trial)
    first.resident.cleanup()
    grown = configs("vqvae", **small, **{"budget.epochs": 4})
    by_run = {identity(config, data.hash): config for config in grown}
    stopped, longer, other = by_run
    assert ends(storage, "search", by_run) == {}
    again = Slot(storage, "search", grown, data.hash)
    again.stop(0, "at the old end", ticks=2)
    again.finish(1)
    again.resident.cleanup()
    assert {run: (end.status, end.epoch) for run, end in ends(storage, "search", by_run).items()} == {
        stopped: ("stopped", 2.0),
        longer: ("finished", 4.0),
    }
    last = results.outcomes(storage, "search").set_index("run")
    assert dict(last["status"]) == {stopped: "stopped", longer: "finished", other: "finished"}
    for table, keys in {"metrics": ["tick", "name"], "evals": ["tick", "scope", "split", "protocol"]}.items():
        frame = results.queries.read(storage, "search", table)
        assert not frame.duplicated(["run", *keys]).any()
    third = Slot(storage, "search", grown, data.hash)
    third.begin(0)  # on record now: it is not trained once more
    report = third.resident.step()
    assert (report["done"], report["ended"], report["epoch"]) == (True, "stopped", 2.0)


def on_slots(storage: Path, experiment: str) -> Iterator[tuple[str, list[str]]]:
    """The runs of each slot, in order."""
    named = sorted((storage / experiment / "outcomes").glob("slot-*.parquet"))
    for slot, files in itertools.groupby(named, key=lambda path: path.name.rsplit("-", 1)[0]):
        yield slot, [run for file in files for run in pq.read_table(file, columns=["run"])["run"].to_pylist()]


def test_slots_of_a_search(run_job: Callable, judged: Callable, tmp_path: Path):
    """Two processes serve all four runs, at the same time; a slot's last run is what it is alone."""
    arguments = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--set", "evaluate.full=all"]
    arguments += ["--epochs", 3, "--grace", 3, "--samples", 4]
    arguments += ["--set", "evaluate.full_images=300"]
    done = run_job("tune", *arguments, "--max-concurrent", 2, "--storage", judged(tmp_path), "--name", "search")
    assert done.returncode == 0, done.stderr
    slots = dict(on_slots(tmp_path, "search"))
    assert len(slots) == 2
    last = results.outcomes(str(tmp_path), "search").set_index("run")
    assert len(last) == 4
    began = last["ended"] - pd.to_timedelta(last["seconds"], unit="s")
    one, other = slots.values()
    assert any(began[a] < last["ended"][b] and began[b] < last["ended"][a] for a in one for b in other)
    # a slot's last run again, in this process
    run = next(iter(slots.values()))[-1]
    (row,) = results.queries.read(str(tmp_path), "search", "runs", {"run": run}).to_dict("records")
    home = Home(Storage(str(tmp_path)), "alone", results.new_attempt(), keep_last=False)
    config = restore(row["config"])
    for _ in fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home):
        pass
    same(home.storage, "search", "alone", run)


def test_a_run_whose_rows_were_cut_off_writes_none_twice(tmp_path: Path, data: Dataset):
    """It left no checkpoint, for no value of it was finite, and its process was killed between two tables."""
    storage = Storage(str(tmp_path))
    search = Slot(storage, "search", configs("vqvae"), data.hash).search
    run = next(iter(search.runs))
    assert begun(storage, "search") == frozenset()

    def train(known: frozenset[str]) -> None:
        resident = Idle.__new__(Idle)
        resident.setup({"trial": 1}, search=dataclasses.replace(search, begun=known))
        while not resident.step()["done"]:
            pass
        assert resident.reset_config({"trial": 0})  # not the first of its process, which looks by itself
        while not resident.step()["done"]:
            pass

    train(frozenset())
    assert begun(storage, "search") == frozenset()
    for path in (tmp_path / "search" / "outcomes").iterdir():
        path.unlink()
    cut = begun(storage, "search")
    assert run in cut
    search = dataclasses.replace(search, attempt=results.new_attempt())
    train(cut)
    for table, keys in {"runs": ["run"], "settings": ["run", "key"], "metrics": ["run", "tick", "name"]}.items():
        frame = results.queries.read(storage, "search", table)
        assert not frame.duplicated(keys).any(), table
    assert len(results.outcomes(storage, "search")) == 2
