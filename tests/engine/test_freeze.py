"""While a phase runs only its player moves: parameters, buffers, gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gen.data.dataset import Dataset
from gen.distributed.workers import ALONE
from gen.phase import Model
from gen.zoo import ZOO
from tests.engine.test_law import built, normed, stepper

ENTRIES = [*ZOO, "normed"]


def model_of(entry: str, dataset: Dataset) -> Model:
    return built(entry, dataset) if entry in ZOO else normed(dataset)


def everything(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in (*model.named_parameters(), *model.named_buffers())}


@pytest.mark.parametrize("entry", ENTRIES)
def test_outside_the_player_nothing_moves_and_inside_all_has_a_gradient(
    entry: str, fitting: Callable[[str], Dataset]
) -> None:
    dataset = fitting(entry)
    model = model_of(entry, dataset)
    steps = stepper(model, dataset, ALONE, 2)
    for number, phase in enumerate(steps.phases):
        before = everything(model)
        first = steps._draw(0)
        assert all(
            torch.equal(value, before[name]) for name, value in everything(model).items()
        )  # prepare moves nothing
        inside = {id(value) for value in (*phase.player.parameters(), *phase.player.buffers())}
        with steps.freezer.thawing(number) as parameters:
            assert {id(parameter) for parameter in model.parameters() if parameter.requires_grad} == {
                id(parameter) for parameter in parameters
            }
            steps._move(number, 0, parameters, first)
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if id(value) not in inside:
                assert torch.equal(value, before[name]), f"{phase.name} moved {name}"
        assert not any(parameter.requires_grad for parameter in model.parameters())
        for name, parameter in model.named_parameters():
            if id(parameter) in inside and name not in model.unmoved:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, f"{phase.name} gives {name} no gradient"


@pytest.mark.parametrize("entry", ENTRIES)
def test_over_ten_steps_every_parameter_of_a_player_moves(entry: str, fitting: Callable[[str], Dataset]) -> None:
    dataset = fitting(entry)
    model = model_of(entry, dataset)
    steps = stepper(model, dataset, ALONE, 1)
    played = {id(parameter) for phase in steps.phases for parameter in phase.player.parameters()}
    before = everything(model)
    for _ in range(10):
        steps.advance()
    still = {
        name
        for name, parameter in model.named_parameters()
        if id(parameter) in played and torch.equal(parameter, before[name])
    }
    assert still <= set(model.unmoved), still
    assert set(model.unmoved) <= set(before)


def test_frozen_batchnorm_uses_the_batch_and_keeps_its_statistics(digits: Dataset) -> None:
    model = normed(digits)
    steps = stepper(model, digits, ALONE, 1)
    norm = model.generator[1]
    kept = [buffer.clone() for buffer in norm.buffers()]
    inputs = torch.randn(64, 8, dtype=torch.float64) * 5 + 3
    out = norm(inputs)  # frozen
    assert torch.allclose(out.mean(0), norm.bias, atol=1e-6)
    assert all(torch.equal(buffer, old) for buffer, old in zip(norm.buffers(), kept, strict=True))
    with steps.freezer.thawing(1):
        norm(inputs)
    assert not torch.equal(norm.running_mean, kept[0])
    with steps.freezer.judging():
        assert not torch.allclose(norm(inputs).mean(0), norm.bias, atol=0.1)  # running statistics, far from the batch's
    stage = model.first_stage[1]
    assert not torch.allclose(stage(torch.randn(64, digits.shape.pixels, dtype=torch.float64) + 9).mean(0), stage.bias)


def test_a_stray_gradient_cannot_exist(digits: Dataset) -> None:
    """The generator is frozen in the critic's phase, so the fakes need no detach and build no graph."""
    model = built("gan_mlp", digits)
    steps = stepper(model, digits, ALONE, 1)
    assert not steps._draw(0)[0]["fake"].requires_grad
    drawn = steps._draw(0)
    with steps.freezer.thawing(0):
        steps.gradients(0, 0, drawn)
    assert all(parameter.grad is None for parameter in model.get_submodule("generator").parameters())
