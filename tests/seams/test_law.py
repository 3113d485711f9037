"""N workers at batch B compute of a game what one worker computes that accumulates N micro-batches of B."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE, Workers
from gen.engine.build import build_model
from gen.judge import Figure, Judge
from gen.judge.networks.extractors import Extractor
from tests.fixtures.games import GAMES
from tests.fixtures.pair import Pair
from tests.seams.house import CPU, data_of, exact, judge_of, small, stepper

pytestmark = pytest.mark.slow

STILL = {  # rates of zero: only what `project` learns and what is counted moves, and no round-off is amplified
    "cycle": {"model.optimizer.rate": 0.0, "model.places": 7},
    "conditional_gan": {"model.optimizer.rate": 0.0},
    "denoiser": {"model.optimizer.rate": 0.0},
}


def gradients(workers: Workers, entry: str, dataset: Dataset, micro_batches: int) -> dict[str, Tensor]:
    """Every player's averaged gradient in a step after three, and all buffers after it."""
    steps = stepper(exact(entry, micro_batches, **STILL[entry]), dataset, workers)
    for _ in range(3):
        steps.advance()
    found: dict[str, Tensor] = {}
    drawn = steps._draw(steps.step * steps.draws)
    for number, phase in enumerate(steps.phases):
        with steps.freezer.thawing(number):
            steps.gradients(number, 0, drawn)
            for name, parameter in phase.player.named_parameters():
                assert parameter.grad is not None
                found[f"{phase.name}/{name}"] = parameter.grad.clone()
        steps.project(number, 0)
    return found | {f"buffer/{name}": buffer.clone() for name, buffer in steps.model.named_buffers()}


@pytest.mark.parametrize("micro_batches", [2, 4])
@pytest.mark.parametrize("entry", GAMES)
def test_two_workers_compute_what_one_accumulates(entry: str, micro_batches: int, pair: Pair) -> None:
    dataset = data_of(entry)
    alone = gradients(ALONE, entry, dataset, micro_batches)
    for together in pair.run(gradients, entry, dataset, micro_batches):
        assert together.keys() == alone.keys()
        for name, expected in alone.items():
            torch.testing.assert_close(together[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    assert max(value.abs().max() for name, value in alone.items() if not name.startswith("buffer/")) > 1e-6


def test_the_pool_is_full_of_true_fakes_of_several_steps() -> None:
    """Otherwise the law above was not about the pool."""
    found = gradients(ALONE, "cycle", data_of("cycle"), 2)
    for column in "ab":
        fakes = found[f"buffer/pools.{column}.fakes"]
        assert found[f"buffer/pools.{column}.filled"]
        assert not found[f"buffer/pools.{column}.fresh"].any()
        assert len({image.numpy().tobytes() for image in fakes}) > len(fakes) // 2
        assert fakes.abs().max() <= 1
        assert fakes.flatten(1).std(1).min() > 0.01  # none is a sum or a zero


def ten_steps(workers: Workers, entry: str, dataset: Dataset) -> tuple[dict[str, Tensor], dict[str, float]]:
    steps = stepper(exact(entry, 2), dataset, workers)
    for _ in range(10):
        steps.advance()
    return steps.model.state_dict(), steps.take_logs()


@pytest.mark.parametrize("entry", GAMES)
def test_both_workers_hold_the_same_weights_and_report_the_same_means(entry: str, pair: Pair) -> None:
    dataset = data_of(entry)
    (first, logs), (second, other_logs) = pair.run(ten_steps, entry, dataset)
    assert logs == other_logs
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    _, alone = ten_steps(ALONE, entry, dataset)
    assert logs == pytest.approx(alone, rel=1e-3, abs=1e-6)  # ten Adam steps amplify round-off


def figures(workers: Workers, entry: str, dataset: Dataset, extractor: Extractor) -> list[Figure]:
    """The figures of a fresh model, the work spread over the workers in batches of eleven."""
    model, judge = build_model(small(entry), dataset, CPU).eval(), Judge(dataset, extractor, CPU, 11)
    names = {figure.name for figure in judge.plan(model, "validation", 40, "raw")} - {"ssim/reconstructions"}
    return judge.figures(model, "validation", 40, "raw", workers, names)  # ssim: its library takes long to import


@pytest.mark.parametrize("entry", GAMES)
def test_two_workers_measure_what_one_measures(entry: str, pair: Pair) -> None:
    dataset, extractor = data_of(entry), judge_of(entry).extractor
    alone = figures(ALONE, entry, dataset, extractor)
    for together in pair.run(figures, entry, dataset, extractor):
        for one, other in zip(alone, together, strict=True):
            assert dataclasses.replace(one, value=0.0) == dataclasses.replace(other, value=0.0)
            assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-9), one.name
