"""Which runs and epochs are shown in pictures, from tables; and the viewer in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen.pictures.files import png, tile
from gen.report.facts import facts
from gen.report.images import BUDGET
from gen.report.page import page
from gen.report.pictures import FRAMES, NEAREST, Choice, Frame, by_value, choose, in_turns, main_of, plan, section
from gen.results import Ledger, Storage
from tests.report.browser import Page
from tests.results.example_rows import begin, eval_row, go, outcome_row

CHOICE = Choice("best", "a", "the winner")


def runs_of(values: dict[str, float | None], collapsed: dict[str, str] | None = None) -> pd.DataFrame:
    told = {run: (collapsed or {}).get(run) for run in values}
    frame = pd.DataFrame({"run": list(values), "best": list(values.values()), "collapsed": list(told.values())})
    return frame.astype({"best": float, "collapsed": object}).assign(best_epoch=2.0)


def stored_of(pictures: dict[str, list[float]], kind: str = "fakes") -> pd.DataFrame:
    rows = [(run, int(epoch), epoch, kind) for run, epochs in pictures.items() for epoch in epochs]
    return pd.DataFrame(rows, columns=["run", "tick", "epoch", "kind"])


def roles(found: list[Choice]) -> dict[str, str]:
    return {one.role: one.run for one in found}


def test_the_best_the_median_and_a_collapsed_run() -> None:
    runs = runs_of(
        {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "f": None}, {"d": "epoch 3: blank", "f": "epoch 1"}
    )
    stored = stored_of({run: [1.0] for run in "abcdef"} | {"d": [1.0, 2.0, 3.0]})
    found = choose(runs, "a", "min", stored)
    assert roles(found) == {"best": "a", "median": "c", "collapsed": "d"}
    assert found[2].why == "collapsed at epoch 3: blank"
    assert roles(choose(runs, "e", "max", stored))["best"] == "e"


def test_where_pictures_are_missing_the_nearest_run_that_has_some_is_shown_and_said() -> None:
    runs = runs_of({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}, {"c": "epoch 3"})
    found = choose(runs, "a", "min", stored_of({"b": [1.0], "e": [1.0]}))
    assert roles(found) == {"best": "b", "median": "e"}
    assert "rank 2 of 5; no picture of the winner" in found[0].why
    assert "rank 5 of 5" in found[1].why
    assert "the nearest to the median of which there is a picture" in found[1].why


def test_a_run_without_a_value_is_shown_if_there_is_no_other() -> None:
    found = choose(runs_of({"a": None}), "", "min", stored_of({"a": [1.0]}))
    assert found == [Choice("best", "a", "no run has a value yet")]


values = st.dictionaries(st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 5).map(float)), min_size=1)


@given(values, st.sets(st.sampled_from("abcdefgh"), min_size=1), st.sets(st.sampled_from("abcdefgh")), st.data())
def test_a_run_is_chosen_once_and_has_pictures(known: dict, pictured: set, fallen: set, data: st.DataObject) -> None:
    pictured &= known.keys()
    if not pictured:
        return
    runs = runs_of(known, dict.fromkeys(fallen, "epoch 2"))
    best = data.draw(st.sampled_from(by_value(runs, "min") or [""]))
    found = choose(runs, best, "min", stored_of({run: [1.0, 2.0] for run in sorted(pictured)}))
    names = [one.run for one in found]
    assert names
    assert len(set(names)) == len(names)
    assert set(names) <= pictured
    assert found[0].role in ("best", "collapsed")
    if best in pictured:
        assert names[0] == best


@given(st.sets(st.integers(1, 60), min_size=1), st.integers(1, 60))
def test_a_few_frames_with_both_ends_and_the_best_one(epochs: set[int], best: int) -> None:
    stored = stored_of({"a": [float(epoch) for epoch in epochs]})
    frames = plan(CHOICE, stored, runs_of({"a": 1.0}).assign(best_epoch=float(best)))
    shown = [one.epoch for one in frames]
    assert shown == sorted(set(shown))
    assert {min(epochs), max(epochs)} <= set(shown) <= epochs
    assert len(shown) <= FRAMES + 1
    assert [one.epoch for one in frames if one.is_best] == [float(best)] * (best in epochs)
    assert main_of(frames).epoch == (best if best in epochs else max(epochs))
    fallen = [Frame(Choice("collapsed", "a", ""), one.kind, one.epoch, one.tick, one.is_best) for one in frames]
    assert main_of(fallen).epoch == max(epochs), "what it came to"


def test_frames_come_by_turns_from_both_ends_and_one_kind_alone_is_shown() -> None:
    stored = pd.concat([stored_of({"a": [1.0, 2.0, 3.0]}), stored_of({"a": [1.0]}, "reconstructions")])
    stored = pd.concat([stored, stored_of({"a": [9.0]}, NEAREST)])
    frames = plan(CHOICE, stored, runs_of({"a": 1.0}))
    assert [(one.kind, one.epoch) for one in frames] == [("fakes", epoch) for epoch in (1.0, 2.0, 3.0)]
    other = plan(Choice("median", "b", ""), stored_of({"b": [5.0, 6.0]}), runs_of({"b": 1.0}))
    turns = list(in_turns([frames, other], [frames[1]]))
    assert [one.epoch for one in turns] == [1.0, 5.0, 3.0, 6.0]


def grid(seed: int, side: int = 8, channels: int = 1) -> bytes:
    noise = torch.rand(64, channels, side, side, generator=torch.Generator().manual_seed(seed))
    return png(tile(2 * noise - 1, 8))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Five runs with pictures of every tick; of the winner one of its nearest training images too."""
    storage = Storage(str(tmp_path))
    for number in range(5):
        ledger = Ledger(storage, "e", f"run{number}", "a1")
        begin(ledger, settings=[("model.rate", float(number), str(number)), ("seed", 0.0, "0")])
        for tick in (1, 2):
            go(ledger, tick)
            ledger.add("samples", tick, step=tick, epoch=float(tick), kind="fakes", png=grid(10 * number + tick))
        if number == 0:
            near = png(torch.zeros(1, 9, 9), "the nearest <b>images</b>", written=False)
            ledger.add("samples", 2, step=2, epoch=2.0, kind=NEAREST, png=near)
        finish(ledger, float(number), collapsed="epoch 2: <i>blank</i>" if number == 4 else None)
    return tmp_path


def finish(ledger: Ledger, value: float, **changes: str | None) -> None:
    """The end of a run at tick 2."""
    ledger.add("evals", 2, **eval_row(2, value, "best"))
    ledger.add("outcomes", 2, **outcome_row(2, best=value, **changes))
    ledger.close(2)


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_click_opens_and_keys_lead_on(browser: Page, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text(page(facts(Storage(str(place)), ["e"])))
    browser.open(out)
    images = "return [...document.querySelectorAll('[data-open] img')]"
    assert all(browser.run(f"{images}.map((one) => one.complete && one.naturalWidth > 0 && one.alt.length > 10)"))
    opens = browser.run("return [...document.querySelectorAll('[data-open]')].map((one) => one.dataset.open)")
    # the winner; the best, the median and the collapsed one beside each other and over training; the nearest images
    assert len(opens) == 1 + 3 + 3 * 2 + 1
    assert all(
        browser.run("return [...document.querySelectorAll('[data-open] img')].map((one) => one.alt.length > 10)")
    )
    assert opens[-1] == "the nearest <b>images</b>", "text is data"
    shown = (
        "const own = document.getElementById('viewer'); return [own.open, own.querySelector('figcaption').textContent]"
    )
    first = browser.find("[data-open]")
    browser.run("arguments[0].focus()", first)
    keys = browser.driver.switch_to.active_element
    keys.send_keys("\ue007")  # Enter
    assert browser.run(shown) == [True, opens[0]]
    browser.driver.switch_to.active_element.send_keys("\ue014")  # to the right
    assert browser.run(shown) == [True, opens[1]]
    browser.driver.switch_to.active_element.send_keys("\ue012\ue012")  # to the left, twice
    assert browser.run(shown) == [True, opens[-1]]
    browser.driver.switch_to.active_element.send_keys("\ue00c")  # Escape
    browser.wait("return !document.getElementById('viewer').open")
    # the browser gives the focus back to the first picture, and a task later the page gives it to the last one shown
    browser.wait(f"return document.activeElement.dataset.open === {json.dumps(opens[-1])}")
    browser.run("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", first)
    first.click()
    assert browser.run(shown) == [True, opens[0]]
    browser.find("[data-close]").click()
    assert browser.run(shown)[0] is False
    assert browser.errors() == []
    assert browser.requests() == []


def test_large_pictures_are_cut_and_left_out_and_that_is_said(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for number in range(3):
        ledger = Ledger(storage, "large", f"run{number}", "a1")
        begin(ledger, settings=[("model.rate", float(number), str(number)), ("seed", 0.0, "0")])
        for tick in (1, 2, 3, 4):
            picture = grid(10 * number + tick, side=40, channels=3)
            ledger.add("samples", tick, step=tick, epoch=float(tick), kind="fakes", png=picture)
        finish(ledger, float(number))
    found = section(facts(storage, ["large"]))
    assert found is not None
    assert BUDGET / 2 < len(found.html) < BUDGET + 20_000
    assert "of the picture.</figcaption>" in found.html, "upper rows"
    told = re.search(r"Left out, for the page holds no more: (\d) picture", found.html)
    assert told
    assert found.html.count("data-open") + int(told[1]) == 2 + 2 * 4, "beside each other, and over training"
    for path in (tmp_path / "large" / "samples").iterdir():
        path.unlink()
    assert section(facts(storage, ["large"])) is None
