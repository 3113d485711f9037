"""Its settings name a run, and the name stays the same in a version that has more settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from gen.config import RunConfig, essence, identity
from gen.phase import Model, Shape


@dataclass(frozen=True)
class Colour:
    """A family of kinds, of which a later version has more."""

    kinds: ClassVar[dict[str, type[Colour]]]


@dataclass(frozen=True)
class Grey(Colour):
    depth: int = 8


@dataclass(frozen=True)
class Hue(Colour):
    """It has no fields: its name alone tells it."""


@dataclass(frozen=True)
class LaterGrey(Colour):
    depth: int = 8
    gamma: float = 1.0


Colour.kinds = {"grey": Grey, "hue": Hue, "later_grey": LaterGrey}


@dataclass(frozen=True)
class Buildable:
    def build(self, shape: Shape) -> Model:
        raise NotImplementedError


@dataclass(frozen=True)
class First(Buildable):
    """What a version has."""

    width: int = 4
    colour: Colour = field(default_factory=Grey)


@dataclass(frozen=True)
class Second(Buildable):
    """What the next version has: a setting more, a group more and a variant more, each at what was done before."""

    colour: Colour = field(default_factory=Grey)
    width: int = 4
    steps: int = 1
    inner: First = field(default_factory=First)
    other: Colour = field(default_factory=Hue)


def run(model: Any, **changes: Any) -> RunConfig:
    return dataclasses.replace(RunConfig("entry", "family", model), **changes)


@pytest.mark.parametrize("changes", [{}, {"width": 5}, {"colour": Hue()}, {"colour": Grey(4)}])
def test_settings_that_come_later_leave_a_run_what_it_is(changes: dict[str, Any]) -> None:
    assert identity(run(First(**changes)), "data") == identity(run(Second(**changes)), "data")
    assert essence(run(First(**changes))) == essence(run(Second(**changes)))


@pytest.mark.parametrize(
    "later",
    [{"steps": 2}, {"inner": First(5)}, {"inner": First(colour=Hue())}, {"other": Grey()}, {"other": Grey(4)}],
)
def test_and_change_it_where_they_are_used(later: dict[str, Any]) -> None:
    models = [First(), Second(**later), *(Second(**one) for one in ({"steps": 3}, {"other": LaterGrey()}))]
    assert len({identity(run(model), "data") for model in models}) == 4


def test_a_value_that_is_said_and_is_the_default_is_not_part_of_it() -> None:
    assert essence(run(First())) == essence(run(First(width=4, colour=Grey(depth=8))))
    assert essence(run(First(width=5, colour=Hue()), seed=3)) == {
        "entry": "entry",
        "family": "family",
        "model.width": 5,
        "model.colour": "hue",
        "seed": 3,
        "train.micro_batches": 1,
    }


def test_a_default_is_that_of_the_field_and_not_of_the_kind() -> None:
    """Where a field's default is a kind with values of its own, these are what is left out."""

    @dataclass(frozen=True)
    class Deep(Buildable):
        colour: Colour = field(default_factory=lambda: Grey(16))

    assert "model.colour.depth" not in essence(run(Deep()))
    assert essence(run(Deep(Grey())))["model.colour.depth"] == 8


def test_entry_and_family_always_are() -> None:
    one = run(First())
    others = [dataclasses.replace(one, entry="other"), dataclasses.replace(one, family="other")]
    assert len({identity(config, "data") for config in (one, *others)}) == 3
