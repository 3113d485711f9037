"""Spans of runs from hand-made tables, and the laws of lanes, of what is idle, and of how many are busy."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.report.lanes import SPAN, find_spans, idle_share, pack, unfinished, utilisation, windows, without_pauses

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def tables(begun=(), resumed=(), ends=(), ticks=(), rungs=()):
    """Frames of the rows that `find_spans` takes; times are seconds since `START`."""
    return (
        pd.DataFrame(
            [(run, attempt, at(time), hosts) for run, attempt, time, hosts in begun],
            columns=["run", "attempt", "started", "hosts"],
        ),
        pd.DataFrame(
            [(run, attempt, tick, at(time), json.dumps(detail)) for run, attempt, tick, time, detail in resumed],
            columns=["run", "attempt", "tick", "time", "detail"],
        ),
        pd.DataFrame(
            [(run, attempt, tick, at(time), status) for run, attempt, tick, time, status in ends],
            columns=["run", "attempt", "tick", "ended", "status"],
        ),
        pd.DataFrame(ticks, columns=["run", "tick", "seconds"]),
        pd.DataFrame(rungs, columns=["run", "tick"]),
    )


def told(*found):
    """Rows (run, attempt, host, start, end, how, first, last) of the spans, by seconds since `START`."""
    spans = find_spans(*found)
    shifted = spans.assign(start=spans["start"] - START.timestamp(), end=spans["end"] - START.timestamp())
    return [tuple(row) for row in shifted.itertuples(index=False)]


def test_a_run_holds_its_slot_from_its_start_to_its_outcome() -> None:
    found = tables(
        begun=[("a", "1", 0, ["x"]), ("b", "1", 2, ["y", "x"])],
        ends=[("a", "1", 3, 4, "stopped"), ("b", "1", 9, 20, "failed")],
    )
    assert told(*found) == [("a", "1", "x", 0, 4, "stopped", 1, 3), ("b", "1", "y, x", 2, 20, "failed", 1, 9)]
    assert unfinished(*found[:3]) == []


def test_a_run_that_was_killed_is_drawn_up_to_the_tick_from_which_it_goes_on() -> None:
    found = tables(
        begun=[("a", "1", 0, ["x"])],
        resumed=[("a", "2", 3, 100, {"hosts": ["y"]})],
        ends=[("a", "2", 4, 107, "finished")],
        ticks=[("a", 1, 5.0), ("a", 2, 11.0), ("a", 3, 14.0), ("a", 4, 17.0)],
    )
    assert unfinished(*found[:3]) == ["a"]
    assert told(*found) == [("a", "1", "x", 0, 11, "later", 1, 2), ("a", "2", "y", 100, 107, "finished", 3, 4)]


@pytest.mark.parametrize(("rungs", "how"), [([("a", 2)], "waited"), ([("a", 1)], "lost"), ([], "lost")])
def test_who_gives_a_slot_away_at_a_rung_is_told_from_who_loses_its_process(rungs: list, how: str) -> None:
    found = tables(
        begun=[("a", "1", 0, ["x"])],
        resumed=[("a", "1", 3, 50, {})],
        ends=[("a", "1", 4, 60, "finished")],
        ticks=[("a", 1, 5.0), ("a", 2, 11.0), ("a", 3, 14.0)],
        rungs=rungs,
    )
    assert told(*found) == [("a", "1", "x", 0, 11, how, 1, 2), ("a", "1", "x", 50, 60, "finished", 3, 4)]


def test_a_run_that_begins_anew_left_nothing_of_its_first_start() -> None:
    found = tables(
        begun=[("a", "1", 0, ["x"]), ("a", "2", 30, ["x"])],
        ends=[("a", "2", 4, 60, "finished")],
        ticks=[("a", 1, 5.0), ("a", 2, 11.0)],
    )
    assert told(*found) == [("a", "1", "x", 0, 0, "later", 1, 0), ("a", "2", "x", 30, 60, "finished", 1, 4)]


def test_what_goes_on_is_open_up_to_its_last_tick_and_a_budget_that_grew_has_two_ends() -> None:
    found = tables(
        begun=[("a", "1", 0, ["x"]), ("b", "1", 0, ["x"])],
        resumed=[("b", "2", 3, 70, {})],
        ends=[("b", "1", 2, 9, "finished"), ("b", "2", 5, 90, "finished")],
        ticks=[("a", 1, 5.0)],
    )
    assert unfinished(*found[:3]) == ["a"]
    assert told(*found) == [
        ("a", "1", "x", 0, 5, "open", 1, 1),
        ("b", "1", "x", 0, 9, "finished", 1, 2),
        ("b", "2", "x", 70, 90, "finished", 3, 5),
    ]


def test_no_runs_have_no_spans() -> None:
    spans = find_spans(*tables())
    assert list(spans.columns) == list(SPAN)
    assert len(pack(spans)) == 0
    assert windows(spans) == []
    assert np.isnan(idle_share(spans, pack(spans)))


whole = st.integers(0, 40)
anywhere = st.tuples(st.sampled_from("xy"), st.sampled_from("12"), whole, st.integers(0, 12))
any_spans = st.lists(anywhere, min_size=1, max_size=30).map(
    lambda drawn: pd.DataFrame(
        [
            (str(n), attempt, host, float(start), float(start + length))
            for n, (host, attempt, start, length) in enumerate(drawn)
        ],
        columns=["run", "attempt", "host", "start", "end"],
    )
)


def overlap(spans: pd.DataFrame) -> int:
    """How many spans lie over one another at most; one that took no time needs a lane where it lies all the same."""
    length = spans["end"] - spans["start"]
    over = [
        int(((spans["start"] <= time) & (spans["end"] > time)).sum()) + int((length[spans["start"] == time] == 0).any())
        for time in spans["start"]
    ]
    return max(over)


@given(any_spans)
def test_lanes_never_overlap_and_are_as_few_as_can_be(spans: pd.DataFrame) -> None:
    lanes = pack(spans)
    for host, of_host in spans.assign(lane=lanes).groupby("host"):
        for _, lane in of_host.sort_values(["start", "end"]).groupby("lane"):
            assert (lane["start"].to_numpy()[1:] >= lane["end"].to_numpy()[:-1]).all()
        used = sorted(of_host["lane"].unique())
        assert used == list(range(len(used)))
        assert len(used) <= overlap(spans[spans["host"] == host])
        solid = of_host[of_host["end"] > of_host["start"]]
        assert len(used) >= (overlap(solid) if len(solid) else 1)


@given(any_spans, st.lists(whole, min_size=2, max_size=8, unique=True).map(sorted))
def test_busy_times_the_width_of_the_bins_is_the_time_of_the_spans(spans: pd.DataFrame, inner: list[int]) -> None:
    edges = np.array(inner, dtype=float)
    busy = utilisation(spans["start"].to_numpy(), spans["end"].to_numpy(), edges)
    slow = [
        sum(
            max(0.0, min(end, right) - max(start, left))
            for start, end in zip(spans["start"], spans["end"], strict=True)
        )
        / (right - left)
        for left, right in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(busy, slow, atol=1e-9)


@given(any_spans)
def test_the_idle_share_is_a_share_and_a_full_slot_is_never_idle(spans: pd.DataFrame) -> None:
    share = idle_share(spans, pack(spans))
    assert np.isnan(share) or -1e-9 <= share < 1
    for _, alone in spans[spans["end"] > spans["start"]].groupby("run"):
        assert idle_share(alone, pack(alone)) == pytest.approx(0)


def test_the_idle_share_of_a_slot_that_waits_half_the_time() -> None:
    spans = pd.DataFrame(
        [("a", "1", "x", 0.0, 10.0), ("b", "1", "x", 0.0, 5.0), ("c", "2", "x", 100.0, 110.0)],
        columns=["run", "attempt", "host", "start", "end"],
    )
    assert idle_share(spans, pack(spans)) == pytest.approx(5 / 30)


@given(any_spans)
def test_pauses_are_left_out_and_nothing_else(spans: pd.DataFrame) -> None:
    working = windows(spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(working))
    start, end = (without_pauses(spans[name], working) for name in ("start", "end"))
    np.testing.assert_allclose(end - start, spans["end"] - spans["start"])
    assert max(end) == pytest.approx(sum(right - left for left, right in working))
    order = np.argsort(spans["start"].to_numpy(), kind="stable")
    assert (np.diff(start[order]) >= 0).all()
