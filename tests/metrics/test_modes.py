"""Mode coverage in closed form."""

import math

import pytest
import torch

from gen.metrics.modes import mode_coverage
from gen.metrics.table import METRICS, direction, metric


def test_equally_many_fakes_of_each_class_are_all_modes_and_no_divergence() -> None:
    found = mode_coverage(torch.full((1000,), 10))
    assert found["modes"] == 1000
    assert found["mode_share"] == 1
    assert found["mode_entropy"] == pytest.approx(math.log(1000), rel=1e-12)
    assert found["mode_divergence"] == pytest.approx(0, abs=1e-12)
    assert found["mode_divergence"] >= 0


def test_fakes_of_one_class_have_no_entropy() -> None:
    counts = torch.zeros(10, dtype=torch.int64)
    counts[3] = 500
    expected = {"modes": 1, "mode_share": 0.1, "mode_entropy": 0, "mode_divergence": math.log(10)}
    assert mode_coverage(counts) == pytest.approx(expected, rel=1e-12)


def test_a_class_that_no_fake_reaches_adds_nothing() -> None:
    """The divergence is of the fakes from uniform; the other way round it would be infinite here."""
    found = mode_coverage(torch.tensor([3, 1, 0, 0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    expected = {"modes": 2, "mode_share": 0.5, "mode_entropy": entropy, "mode_divergence": math.log(4) - entropy}
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_divergence_is_the_sum_that_defines_it() -> None:
    counts = torch.randint(0, 20, (50,), generator=torch.Generator().manual_seed(0))
    shares = (counts / counts.sum()).double()
    terms = [float(share) * math.log(float(share) * 50) for share in shares if share]
    assert mode_coverage(counts)["mode_divergence"] == pytest.approx(sum(terms), rel=1e-6)


def test_even_draws_diverge_by_chance_as_the_docstring_says() -> None:
    drawn = torch.randint(0, 1000, (10_000,), generator=torch.Generator().manual_seed(0))
    found = mode_coverage(torch.bincount(drawn, minlength=1000))
    assert found["mode_divergence"] == pytest.approx(999 / 20_000, rel=0.15)
    assert found["modes"] > 990


def test_no_fakes_have_no_entropy_to_speak_of() -> None:
    found = mode_coverage(torch.zeros(4, dtype=torch.int64))
    assert found["modes"] == 0
    assert math.isnan(found["mode_entropy"])
    assert math.isnan(found["mode_divergence"])


def test_each_number_is_in_the_table_and_never_measured_at_ticks_unless_asked_for() -> None:
    names = mode_coverage(torch.ones(4)).keys()
    assert names <= METRICS.keys()
    assert {name: direction(name) for name in names} == {**dict.fromkeys(names, "max"), "mode_divergence": "min"}
    assert all(metric(name).cost != "cheap" for name in names)
    assert {name for name in names if metric(name).unit.startswith("nats")} == {"mode_entropy", "mode_divergence"}
