"""The settings of a game, and its own variants, go the way of all settings."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from gen.capabilities import Conditional, Imitates, has
from gen.config import essence, flat, identity, override, to_json
from gen.engine.build import build_model
from gen.objectives.adversarial import Wasserstein
from gen.phase import Shape
from gen.zoo import ZOO, entry, restore, tiny
from tests.fixtures import tables
from tests.fixtures.games import GAMES, Denoiser, Holes, Noise
from tests.seams.house import CPU

DENOISER = GAMES["denoiser"]


@pytest.fixture(autouse=True)
def _in_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in GAMES.items():
        monkeypatch.setitem(ZOO, name, config)


def other(value: Any) -> Any:
    """Another value of the same type; None for a text."""
    if isinstance(value, bool):
        return not value
    return {int: lambda: value + 1, float: lambda: value / 2 + 0.125}.get(type(value), lambda: None)()


@pytest.mark.parametrize("name", GAMES)
def test_a_config_comes_back_from_its_json(name: str) -> None:
    for config in (entry(name), tiny(entry(name)), override(entry(name), {"seed": 5, "train.ema": 0.5})):
        assert restore(to_json(config)) == config
        assert isinstance(hash(config), int)
    assert json.loads(to_json(entry(name)))["entry"] == name


@pytest.mark.parametrize("name", GAMES)
def test_every_setting_is_overridden_as_text_and_as_a_tree_and_makes_another_run(name: str) -> None:
    config, names = entry(name), set()
    keys = [key for key in flat(config) if key.startswith("model.") and other(flat(config)[key]) is not None]
    assert len(keys) >= 3
    for key in keys:
        value = other(flat(config)[key])
        changed = override(config, {key: str(value)})
        tree: Any = value
        for part in reversed(key.split(".")):
            tree = {part: tree}
        assert override(config, tree) == changed
        assert flat(changed)[key] == value
        assert restore(to_json(changed)) == changed
        assert math.isclose(essence(changed)[key], value)
        names.add(identity(changed, "data"))
    assert len(names - {identity(config, "data")}) == len(keys)
    for free in ({"budget.epochs": 99}, {"machine.threads": 3}, {"evaluate.full": "none"}):
        assert identity(override(config, free), "data") == identity(config, "data")


@pytest.mark.parametrize(
    "chosen",
    [
        {"model.corruption": "holes", "model.corruption.share": "0.5"},  # as the command line gives it
        {"model": {"corruption": {"kind": "holes", "share": 0.5}}},  # as a search samples it
        {"model.corruption.kind": "holes", "model.corruption.share": 0.5},
    ],
)
def test_a_variant_of_a_family_s_own_is_chosen_with_its_fields(chosen: dict[str, Any]) -> None:
    config = override(DENOISER, chosen)
    assert config.model == Denoiser.Config(corruption=Holes(0.5))
    assert {key: value for key, value in flat(config).items() if "corruption" in key} == {
        "model.corruption": "holes",
        "model.corruption.share": 0.5,
    }
    assert restore(to_json(config)) == config
    assert json.loads(to_json(config))["model"]["corruption"] == {"kind": "holes", "share": 0.5}


def test_kinds_are_runs_of_their_own_and_defaults_are_not_told() -> None:
    noise, holes = DENOISER, override(DENOISER, {"model.corruption": "holes"})
    assert (noise.model.corruption, holes.model.corruption) == (Noise(), Holes())  # type: ignore[attr-defined]
    assert identity(noise, "data") != identity(holes, "data")
    assert not [key for key in essence(noise) if "corruption" in key]
    assert {key: value for key, value in essence(holes).items() if "corruption" in key} == {"model.corruption": "holes"}
    assert override(holes, {"model.corruption": "noise"}) == noise


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.corruption.share": 0.5}, r"model.corruption.share is a setting of holes, and .* such as model.corru"),
        ({"model.corruption": "blur"}, r"^model.corruption='blur' is not known; allowed: noise, holes$"),
        ({"model.corruption.sahre": 0.5}, r"^unknown setting model.corruption.sahre; nearest valid: model.corruption"),
        ({"model.corruption": "holes", "model.corruption.share": 2}, r"^model.corruption.share=2 is out of range"),
        ({"model.widht": 3}, r"^unknown setting model.widht; nearest valid: model.width"),
    ],
)
def test_what_a_user_gets_wrong_of_a_game_is_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        override(DENOISER, settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["conditional_gan"])
def test_a_shared_family_is_chosen_in_a_game_too(name: str) -> None:
    config = override(entry(name), {"model.objective": "wasserstein", "model.optimizer": "rmsprop"})
    assert config.model.objective == Wasserstein()  # type: ignore[attr-defined]
    assert flat(config)["model.optimizer.smoothing"] == 0.99
    assert restore(to_json(config)) == config


def test_settings_take_a_capability_away() -> None:
    config = override(tiny(entry("conditional_gan")), {"model.conditioning": "none"})
    model = build_model(config, tables.unlabelled(), CPU)
    assert has(model, Imitates)
    assert not has(model, Conditional)
    assert model.needs == {"image"}


@pytest.mark.parametrize("name", GAMES)
def test_a_game_gets_the_plainest_data_that_it_can_use_and_refuses_others(name: str) -> None:
    needs = tiny(entry(name)).model.build(Shape(1, 8, tables.CLASSES)).needs
    chosen = tables.fitting(needs)
    for kind in tables.KINDS:
        dataset = kind()
        if needs <= dataset.columns:
            assert build_model(tiny(entry(name)), dataset, CPU).needs == needs
        else:
            with pytest.raises(ValueError, match="lacks column") as error:
                build_model(tiny(entry(name)), dataclasses.replace(dataset, shape=chosen.shape), CPU)
            assert all(missing in str(error.value) for missing in needs - dataset.columns)
