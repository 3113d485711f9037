"""The tests of a device with the CPU as the device, so that they do not rot where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.gpu import bodies, memory_bodies, rates
from tests.seams.house import ALL, CPU, data_of, small, stepper

pytestmark = pytest.mark.slow

SOME = ["cyclegan", "sgan", "sgan_vae", "gan_mlp", "vqvae", "vqvae_gmm"]  # with noise of every kind


class Watched(bodies.SameNoise):
    """Fails where something draws that the mode does not know."""

    drawn = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = torch.get_rng_state()
        made = super().__torch_function__(function, types, args, kwargs)
        moved = not torch.equal(before, torch.get_rng_state())
        assert function in bodies.DRAWS or not moved, f"{function} draws: name it in tests/gpu/bodies.py"
        self.drawn += moved
        return made


def test_a_run_that_exceeds_its_share_is_said_and_the_next_one_fits(tmp_path: Path) -> None:
    memory_bodies.what_is_too_large_is_said(CPU, tmp_path)
    memory_bodies.a_share_is_kept(CPU)
    memory_bodies.data_lie_where_the_share_has_room(CPU)


@dataclass(frozen=True, eq=False)
class Begun:
    """What a run's beginning gives."""

    logs: dict[str, float]
    tensors: dict[str, Tensor]  # weights, buffers and images

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Begun)
        assert self.tensors.keys() == other.tensors.keys()
        alike = all(torch.equal(value, other.tensors[name]) for name, value in self.tensors.items())
        return alike and self.logs == other.logs


def begin(entry: str, mode: AbstractContextManager[Any], noise: int = 0) -> Begun:
    """A step of a run, and images after it. From the same weights and the same draw, whatever seed its noise has."""
    run = stepper(small(entry), data_of(entry))
    run.seed = noise
    with mode:
        run.fit()
        run.advance()
        with run.evaluating() as model, torch.no_grad():
            torch.manual_seed(noise)
            made = bodies.images_of(model, run.stream.rows(0, 0, 8))
    return Begun(run.take_logs(), {**run.model.state_dict(), **made})


@pytest.mark.parametrize("entry", ALL)
def test_every_draw_is_the_cpu_s_and_the_same(entry: str) -> None:
    """Otherwise two devices would be compared at unlike noise."""
    watched = Watched()
    plain = begin(entry, bodies.whole())
    assert begin(entry, watched) == plain
    if begin(entry, bodies.whole(), noise=1) != plain:
        assert watched.drawn, "its noise was drawn, and the mode saw nothing"


def test_noise_that_is_drawn_tells() -> None:
    """Otherwise the test above would ask nothing of the entries that have some."""
    for entry in SOME:
        assert begin(entry, bodies.whole(), noise=1) != begin(entry, bodies.whole())


@pytest.mark.parametrize("entry", SOME)
def test_bodies_about_entries(entry: str, tmp_path: Path) -> None:
    bodies.losses_agree(entry, CPU)
    bodies.a_tick_agrees(small(entry), entry, CPU)
    bodies.own_noise_is_seeded(entry, CPU)
    bodies.steps_do_not_wait(entry, CPU)
    bodies.bf16_is_close(entry, CPU)
    bodies.figures_agree(entry, CPU)


@pytest.mark.parametrize("entry", ["cyclegan", "vqvae_bn"])
def test_bodies_about_averages(entry: str) -> None:
    bodies.averages_agree(entry, CPU)


@pytest.mark.parametrize("entry", ["cyclegan", "vqvae"])
def test_bodies_about_checkpoints(entry: str, tmp_path: Path) -> None:
    bodies.a_checkpoint_travels(entry, CPU, tmp_path)


def test_bodies_about_one_thing(tmp_path: Path) -> None:
    bodies.rows_agree(CPU, resident=True)
    bodies.rows_agree(CPU, resident=False)
    bodies.windows_agree(CPU, resident=False)
    bodies.statistics_over_workers(CPU, tmp_path)
    bodies.a_run_with_sync_batchnorm(CPU, tmp_path)
    bodies.what_is_not_finite_is_named(CPU, tmp_path)


@pytest.mark.parametrize("entry", ["sgan", "vqvae_vae"])  # cyclegan at its usual size takes minutes on a CPU
def test_bodies_about_time(entry: str) -> None:
    dataset = rates.usual_data(entry, 300)
    config = bodies.usual(entry, dataset, **{"train.batch": 4})
    assert all(rate > 0 for rate in rates.images_a_second(config, dataset, CPU, 1))


@pytest.mark.parametrize("entry", ALL)
def test_usual_widths_fit_usual_data(entry: str) -> None:
    dataset = rates.usual_data(entry, 64)
    model = bodies.usual(entry, dataset).model.build(dataset.shape)
    assert model.needs <= dataset.columns
    assert all(phase.name for phase in model.phases())
