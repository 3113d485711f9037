"""While a phase of a game runs, only its player moves: parameters, buffers, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gen.phase import Model
from tests.seams.house import PLAYED, data_of, exact, stepper


def everything(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in (*model.named_parameters(), *model.named_buffers())}


@pytest.mark.parametrize("entry", PLAYED)
def test_outside_the_player_nothing_moves_and_inside_all_has_a_gradient(entry: str) -> None:
    steps = stepper(exact(entry, 2), data_of(entry))
    model = steps.model
    for number, phase in enumerate(steps.phases):
        before, drawn = everything(model), steps._draw(0)
        assert all(torch.equal(value, before[name]) for name, value in everything(model).items())
        assert not any(column.requires_grad for batch in drawn for column in batch.values())
        inside = {id(value) for value in (*phase.player.parameters(), *phase.player.buffers())}
        with steps.freezer.thawing(number) as parameters:
            steps._move(number, 0, parameters, drawn)
        after = (*model.named_parameters(), *model.named_buffers())
        moved = {name for name, value in after if not torch.equal(value, before[name])}
        assert moved
        assert moved <= {name for name, value in after if id(value) in inside}
        for name, parameter in model.named_parameters():
            if id(parameter) in inside and name not in model.unmoved:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, f"{phase.name} gives {name} no gradient"


@pytest.mark.parametrize("entry", PLAYED)
def test_over_ten_steps_every_parameter_moves(entry: str) -> None:
    steps = stepper(exact(entry, 1), data_of(entry))
    before = everything(steps.model)
    for _ in range(10):
        steps.advance()
    still = {name for name, value in steps.model.named_parameters() if torch.equal(value, before[name])}
    assert still <= set(steps.model.unmoved)  # Adam makes steps of round-off
