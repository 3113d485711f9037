"""Who is compared on the page: the search's own runs, by figures of one protocol. Those with fresh seeds confirm, and
those that are ranked no more are counted and left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from gen.report import board, curves, pareto, pictures, progress, several, slots
from gen.report.facts import Facts, facts
from gen.report.first import section as first_screen
from gen.report.importance import of_contour, of_coordinates, of_slices
from gen.report.page import page
from gen.report.spending import spent
from gen.report.trials import MEMBERS, trials
from gen.report.winner import doubts, winner
from gen.results import Storage
from gen.results.confirmation import KIND as CONFIRM
from gen.results.confirmation import RUN
from gen.results.forget import KIND as FORGET
from tests.report import rows

WHY = "its images were others"


def read(place: Path, *names: str) -> Facts:
    return facts(Storage(str(place)), names)


def words(html: str) -> str:
    return " ".join(html.split())


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one configuration, each with its figure on 180 test images."""
    place = tmp_path_factory.mktemp("measured")
    rows.write(place, "e", rows.configs(rates=[0.001]))
    return place


def test_a_test_figure_of_another_protocol_is_not_mixed_into_the_first_screen(measured: Path) -> None:
    rows.measured_again(measured, "e", "r0-0", 9.9, n_fake=100)
    rows.measured_again(measured, "e", "r0-0", 9.8, features="inception", features_hash="f2", protocol="third")
    rows.measured_again(measured, "e", "r0-0", 9.7, n_real=100, n_fake=100, protocol="fourth")
    found = winner(read(measured, "e").first)
    assert found is not None
    assert (found.test, found.test_runs, found.test_images) == (pytest.approx(0.106), 2, 180)
    assert "On 180 test images: <strong>0.106</strong>" in words(first_screen(read(measured, "e")).html)


def test_where_test_figures_are_of_several_protocols_none_is_told_and_that_is_said(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001], seeds=1))
    rows.measured_again(tmp_path, "e", "r0-0", 9.7, n_real=100, n_fake=100)
    found = winner(experiment := read(tmp_path, "e").first)
    assert found is not None
    assert np.isnan(found.test)
    assert any("2 protocols" in line and "n_fake: " in line for line in doubts(experiment, found))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rates with two seeds each: of "forgot" both runs of the best rate are ranked no more; of "raced" the first
    seeds, which are the better ones, are fresh."""
    place = tmp_path_factory.mktemp("rivals")
    for name in ("forgot", "raced"):
        rows.write(place, name, rows.configs(rates=[0.001, 0.002, 0.003]))
    for run in ("r0-0", "r0-1"):
        rows.event(place, "forgot", run, FORGET, None, why=WHY)
    for number in range(3):
        rows.event(place, "raced", f"r{number}-0", CONFIRM, RUN, configuration=f"r{number}-1", race=1)
    return place


def test_a_forgotten_run_wins_nothing_and_is_counted(place: Path) -> None:
    found = read(place, "forgot")
    experiment = found.first
    assert sorted(experiment.searched["run"]) == ["r1-0", "r1-1", "r2-0", "r2-1"]
    assert dict(experiment.forgotten) == dict.fromkeys(("r0-0", "r0-1"), WHY)
    won = winner(experiment)
    assert won is not None
    assert won.run == "r1-0"
    assert progress.spent(experiment)["best"].iloc[-1] == pytest.approx(0.2)
    assert list(board.configurations(experiment)["run"]) == ["r1-0", "r2-0"]
    assert trials(experiment).table["value"].min() == pytest.approx(0.205)
    assert sorted(curves.curves(experiment).runs["run"]) == sorted(experiment.searched["run"])
    for section in (progress.section, board.section, curves.section):
        made = section(found)
        assert made is not None
        assert "2 runs that are ranked no more" in words(made.html), section.__module__
    assert f"<code>r0-0</code>: {WHY}" in board.section(found).html  # type: ignore[union-attr]


def test_where_nothing_was_measured_in_full_a_forgotten_run_is_not_the_best_so_far(tmp_path: Path) -> None:
    runs = rows.configs(rates=[0.001, 0.002], seeds=1)
    rows.write(tmp_path, "e", runs, dict.fromkeys(runs, "stopped"))
    rows.event(tmp_path, "e", "r0-0", FORGET, None, why=WHY)
    found = winner(read(tmp_path, "e").first)
    assert found is not None
    assert (found.run, found.full) == ("r1-0", False)
    rows.event(tmp_path, "e", "r1-0", FORGET, None, why=WHY)
    assert winner(read(tmp_path, "e").first) is None
    assert "2 runs that are ranked no more" in words(page(read(tmp_path, "e")))


def test_fresh_seeds_are_in_no_curve_of_the_search(place: Path) -> None:
    found = read(place, "raced")
    frame = progress.spent(found.first)
    assert list(frame["run"]) == ["r0-1", "r1-1", "r2-1"]
    assert frame["device_seconds"].iloc[-1] == 3 * 2 * rows.EPOCHS == spent(found.first).device_seconds / 2
    assert set(curves.curves(found.first).runs["run"]) == set(frame["run"])
    made = pictures.section(found)
    assert made is not None
    assert "rank 2 of 3" in words(made.html), "the median of the search's runs"
    for section in (progress.section, curves.section):
        made = section(found)
        assert made is not None
        assert "3 runs with fresh seeds" in words(made.html), section.__module__


def test_rungs_are_where_runs_were_compared_and_no_other_epochs(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002], seeds=1))
    rows.event(tmp_path, "e", "r0-0", "rung", "continue", 3, rung=2.0)  # its report came later than the rung
    rows.event(tmp_path, "e", "r1-0", "rung", "stop", 5, rung=None)  # not finite between rungs
    assert curves.curves(read(tmp_path, "e").first).rungs == [2.0]


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by two figures, at a price."""
    place = tmp_path_factory.mktemp("noted")
    rows.write(place, "e", rows.configs(rates=[0.001, 0.002, 0.003], seeds=1))
    rows.note(place, "e", search={"also": ["psnr/reconstructions"]}, price={"device_hour": 900.0, "devices": 0.5})
    return place


def test_a_search_by_two_figures_shows_its_own_pareto_set(noted: Path) -> None:
    made = pareto.section(read(noted, "e"))
    assert made is not None
    assert made.plots[0].figure.layout.xaxis.title.text == rows.METRIC
    assert "3 configurations of 3 are beaten by none in both" in words(made.html)


def test_objectives_that_nobody_measured_are_said_and_end_nothing(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002], seeds=1))
    rows.note(tmp_path, "e", search={"also": ["rate"]})
    made = pareto.section(read(tmp_path, "e"))
    assert made is not None
    assert "rate was measured of no run" in made.html


def test_what_a_search_with_a_price_cost_in_money(noted: Path) -> None:
    found = read(noted, "e")
    seconds = 3 * 2 * rows.EPOCHS
    assert spent(found.first).money == pytest.approx(900 * seconds / 2 / 3600)
    told = "4.5 at 900 a device-hour, of which a worker takes 0.5"
    assert told in words(first_screen(found).html)
    assert page(found).count(told) == 2, "in the environment too"


def test_a_share_of_a_gpu_costs_its_share(tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002, 0.003], seeds=1), {"r2-0": "stopped"}, devices=0.25)
    rows.note(tmp_path, "e", price={"device_hour": 900.0})
    found = read(tmp_path, "e")
    cost = spent(found.first)
    assert cost.device_seconds == 0.25 * 2 * (2 * rows.EPOCHS + rows.STOPPED)
    assert cost.saved_seconds == 0.25 * 2 * (rows.EPOCHS - rows.STOPPED)
    assert cost.money == 900 * cost.device_seconds / 3600
    assert "1.75 at 900 a device-hour</span>" in first_screen(found).html
    assert progress.spent(found.first)["device_seconds"].iloc[-1] == cost.device_seconds


def test_best_of_k_has_a_curve_for_each_entry(tmp_path: Path) -> None:
    mixed = rows.configs(rates=[0.001, 0.002], seeds=1) | {
        f"s{run}": one for run, one in rows.configs("vae_conv", rates=[0.003, 0.004], seeds=1).items()
    }
    rows.write(tmp_path, "mixed", mixed)
    rows.write(tmp_path, "plain", rows.configs(rates=[0.005, 0.006], seeds=1))
    for names, expected in (
        (["mixed"], ["vae_conv", "vqvae"]),
        (["mixed", "plain"], ["mixed, vae_conv", "mixed, vqvae", "plain, vqvae"]),
    ):
        made = several.section(read(tmp_path, *names))
        assert made is not None
        lines = [trace for trace in made.plots[0].figure.data if trace.name]
        assert [trace.name for trace in lines] == expected
        assert [len(trace.x) for trace in lines] == [2] * len(expected)


def test_every_mean_says_how_many_runs_it_is_of(place: Path) -> None:
    uneven = rows.configs(rates=[0.001 * number for number in range(1, 10)])
    del uneven["r1-1"]
    folder = place / "uneven-place"
    rows.write(folder, "e", uneven, {"r0-1": "failed"})
    experiment = read(folder, "e").first
    found = trials(experiment)
    assert list(found.table[MEMBERS]) == [1, 1] + [2] * 7
    both = found.table.assign(other=np.arange(len(found.table))[::-1])
    two = dataclasses.replace(found, table=both, settings=["rate", "other"])
    for plot in (*of_slices(found, list(found.settings), "figure"), of_contour(two, list(two.settings), "figure")):
        (points,) = [trace for trace in plot.figure.data if trace.type == "scatter" and len(trace.x)]
        assert [text[0] for text in points.customdata] == list(found.table[MEMBERS])
        assert "%{customdata[0]}" in points.hovertemplate
    told = of_coordinates(found, list(found.settings), "figure")
    assert "means of 1 to 2 runs" in told.caption
    table = board.configurations(experiment).set_index("run")
    assert table["steering_n"].to_dict() == {"r0-0": 1, "r1-0": 1} | {f"r{number}-0": 2 for number in range(2, 9)}
    assert "runs in steering" in board.section(read(folder, "e")).html  # type: ignore[union-attr]


def test_what_a_mouse_tells_of_curves_bars_and_decisions_stands_in_tables_too(place: Path, tmp_path: Path) -> None:
    rows.write(tmp_path, "e", rows.configs(rates=[0.001, 0.002], seeds=1), {"r0-0": "stopped"})
    rows.rung(tmp_path, "e", "r0-0", "stop")
    for section, ident in ((curves.section, "curves-runs"), (slots.section, "slots-runs")):
        made = section(read(tmp_path, "e"))
        assert made is not None
        assert made.html.count("<details>") >= 1
        own = made.html[made.html.index(f'id="{ident}"') :]
        assert all(run in own for run in ("r0-0", "r1-0"))
    decisions = made.html[made.html.index('id="slots-decisions"') :]
    assert "r0-0" in decisions
    assert "stopped at a rung" in decisions
