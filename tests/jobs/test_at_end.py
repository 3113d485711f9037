"""What a search prints when it has ended, from tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gen import results
from gen.results import Ledger
from gen.results.floor import Asked, floor_lines, floor_rows
from jobs.at_end import show_found
from tests.results.example_rows import TIME, begin, end, eval_row, go

COLUMNS = ["rank", "entry", "mean", "low", "high", "n", "runs", "apart", "collapsed", "best", "run", "rate"]


def searched(place: Path, seeds: int) -> results.Storage:
    """An experiment "e" of two configurations; the best run of all is a lucky seed of the worse one."""
    storage = results.Storage(str(place))
    for rate, values in {0.1: (1.0, 9.0), 0.2: (2.0, 3.0)}.items():
        for seed, value in enumerate(values[:seeds]):
            ledger = Ledger(storage, "e", f"r{rate}-{seed}", "a1")
            settings = [("entry", None, "vqvae"), ("model.rate", rate, str(rate)), ("seed", float(seed), str(seed))]
            begin(ledger, seed, settings)
            go(ledger, 1)
            end(ledger, 1, value)
            ledger.close(1)
    return storage


def printed(storage: results.Storage, capsys: pytest.CaptureFixture[str], by: tuple[str, ...] = ()) -> list[str]:
    config: Any = SimpleNamespace(evaluate=SimpleNamespace(metric="frechet_classifier/reconstructions"))
    first = SimpleNamespace(asked=SimpleNamespace(name="e"), space=SimpleNamespace(config=config), also=())
    wanted: Any = SimpleNamespace(first=first, by=list(by))
    show_found(wanted, storage, None)
    return capsys.readouterr().out.splitlines()


def test_several_seeds_are_printed_as_one_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heading, *rows = printed(searched(tmp_path, 2), capsys)
    assert heading.split() == COLUMNS
    assert [row.split()[1] for row in rows[:2]] == ["1", "2"]
    assert [row.split()[-2:] for row in rows[:2]] == [["r0.2-0", "0.2"], ["r0.1-0", "0.1"]]


def test_one_seed_each_is_printed_by_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heading, *rows = printed(searched(tmp_path, 1), capsys)
    assert heading.split()[:5] == ["rank", "run", "entry", "seed", "value"]
    assert [row.split()[2] for row in rows[:2]] == ["r0.1-0", "r0.2-0"]


def test_the_floor_is_beside_a_comparison_and_says_of_how_many_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A split of fewer images than the figure's fakes has a floor of those that it has."""
    storage = searched(tmp_path, 2)
    table = results.compare(storage, "e", "entry", split="validation")
    assert table["floor"].isna().all()
    assert floor_lines(table) == []
    common = table.attrs["protocol"]
    of = Asked(common["data_hash"], "validation", "image", common["features_hash"], common["n_fake"])
    row = {**eval_row(1, 0.25, "best"), "variant": None, "n_fake": 99, "data_hash": common["data_hash"]}
    (event,) = floor_rows("e", of, [row], {"seconds": 0.1})
    results.Slot(storage, "e", "a1-floors", kind="evaluated").extend(
        {"events": [event | {"attempt": "a1", "time": TIME}]}
    )
    table = results.compare(storage, "e", "entry", split="validation")
    assert table["floor"].to_list() == [0.25]
    line = "floor: 0.25, of 99 real held-out images in the place of fakes"
    assert floor_lines(table) == [f"{line}, of fewer images: 99 against 180"]
    assert printed(storage, capsys)[3:5] == [line, "floor of fewer images: 99 against 180"]
    table.attrs["protocols"]["digits"]["n_fake"] = 99
    assert floor_lines(table) == [line]
