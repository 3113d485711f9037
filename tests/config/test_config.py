"""`override`: the one way to change a setting, for the command line and the tuner alike."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.config import (
    FREE,
    RunConfig,
    StageOne,
    flat,
    identity,
    is_free,
    on_stage,
    override,
    to_dotted,
    to_json,
    to_tree,
)
from gen.zoo import ZOO, restore, tiny

CONFIG = ZOO["vqvae"]


def value_like(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the same type, near enough to be in range."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(max(value, 1), max(value, 1) + 5)
    if isinstance(value, float):
        return st.floats(value * 0.5, value)
    return st.just(value)


@given(st.data())
@pytest.mark.parametrize("entry", ZOO)
def test_a_value_survives_text_and_json(entry: str, data: st.DataObject) -> None:
    config = ZOO[entry]
    keys = [key for key in flat(config) if key not in ("entry", "family")]
    key = data.draw(st.sampled_from(keys))
    value = data.draw(value_like(flat(config)[key]))
    changed = override(config, {key: value})
    assert flat(changed)[key] == value
    assert override(config, {key: str(value)}) == changed  # as the command line gives it
    tree: Any = value
    for part in reversed(key.split(".")):
        tree = {part: tree}
    assert override(config, tree) == changed  # as a sampled dict gives it
    assert to_dotted(to_tree(changed)) == flat(changed)
    assert restore(to_json(changed)) == changed


@pytest.mark.parametrize("entry", ZOO)
def test_every_config_is_lossless_json(entry: str) -> None:
    assert restore(to_json(ZOO[entry])) == ZOO[entry]
    assert restore(to_json(tiny(ZOO[entry]))) == tiny(ZOO[entry])
    assert json.loads(to_json(ZOO[entry]))["entry"] == entry


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.comitment": "1"}, "unknown setting model.comitment; nearest valid: "),
        ({"beta": "4"}, "unknown setting beta; nearest valid: model.beta"),
        ({"model.codebook.code": "4"}, "nearest valid: model.codebook.codes"),
        ({"model.beta.gamma": "4"}, "unknown setting model.beta.gamma"),
        ({"model.codebook": "4"}, "model.codebook is a group of settings: model.codebook.codes"),
        ({"model.beta": "high"}, "model.beta='high' is of the wrong type; expected float"),
        ({"model.beta": "nan"}, "model.beta=nan is out of range; allowed: finite numbers"),
        ({"model.beta": math.inf}, "model.beta=inf is out of range; allowed: finite numbers"),
        ({"train.batch": math.inf}, "train.batch=inf is of the wrong type; expected int"),
        ({"train.batch": "1.5"}, "train.batch='1.5' is of the wrong type; expected int"),
        ({"train.batch": 1.5}, "train.batch=1.5 is of the wrong type; expected int"),
        ({"train.batch": True}, "train.batch=True is of the wrong type; expected int"),
        ({"train.sync_batchnorm": "yes"}, "train.sync_batchnorm='yes' is of the wrong type; expected bool"),
        ({"model.beta": "-1"}, "model.beta=-1 is out of range; allowed: at least 0"),
        ({"model.codebook.decay": 2}, "model.codebook.decay=2 is out of range; allowed: from 0 to 1"),
        ({"train.precision": "fp8"}, "train.precision='fp8' is not known; allowed: float32, bf16, float64"),
        ({"entry": "gan_mlp"}, "unknown setting entry"),
        ({"model.optimizer.decay": "linear"}, "model.optimizer.decay_end=0.0 must exceed decay_start=0.0"),
        ({"data.size": "-8"}, "data.size=-8 is out of range"),
    ],
)
def test_bad_settings_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        override(CONFIG, settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_that_only_hold_together_are_checked_together() -> None:
    changed = override(CONFIG, {"model.optimizer.decay": "linear", "model.optimizer.decay_end": "5"})
    assert flat(changed)["model.optimizer.decay_end"] == 5.0


@pytest.mark.parametrize("entry", ZOO)
def test_adding_nothing_changes_nothing(entry: str) -> None:
    config = ZOO[entry]
    settings = {key: value for key, value in flat(config).items() if key not in ("entry", "family")}
    assert override(config, {}) == override(config, settings) == config
    assert identity(override(config, settings), "a") == identity(config, "a")


def test_what_is_free_is_what_may_change_while_a_run_goes_on() -> None:
    settings = flat(CONFIG)
    free = [key for key in settings if is_free(key)]
    assert {key.partition(".")[0] for key in free} == {"budget", "machine", "evaluate"}
    assert [key for key in free if key.startswith("evaluate.")] == ["evaluate.full", "evaluate.leaders"]
    assert all(any(key == name or key.startswith(f"{name}.") for key in settings) for name in FREE)


@pytest.mark.parametrize("key", [key for key in flat(CONFIG) if key not in ("entry", "family")])
def test_identity_sees_settings_but_for_those_that_are_free(key: str) -> None:
    words = ["min", "max", "cpu", "cuda", "ema", "loss", "all", "none", "leaders"]
    values = {bool: [True, False], int: [3, 4], float: [0.11, 0.12], str: words}
    old = flat(CONFIG)[key]
    for value in values[type(old)]:
        try:
            changed = override(CONFIG, {key: value, "train.micro_batches": 12} if "micro" not in key else {key: value})
        except ValueError:
            continue
        base = override(CONFIG, {"train.micro_batches": 12})
        same = identity(changed, "hash") == identity(base, "hash")
        assert same == (is_free(key) or flat(changed) == flat(base)), key


def test_identity_sees_the_data_and_the_first_stage() -> None:
    prior = ZOO["vqvae_gmm"]
    stages = [StageOne("first", "run", "vqvae", hash, "data", CONFIG.model) for hash in ("one", "other")]
    staged = [on_stage(prior, stage) for stage in stages]
    names = {identity(prior, "a"), identity(prior, "b"), *(identity(config, "a") for config in staged)}
    assert len(names) == 4
    assert all(len(name) == 16 for name in names)


def test_two_workers_are_two_micro_batches() -> None:
    two = override(CONFIG, {"machine.workers": 2})
    assert identity(two, "a") == identity(override(CONFIG, {"train.micro_batches": 2}), "a") != identity(CONFIG, "a")
    with pytest.raises(ValueError, match=r"train.micro_batches=3 must be a multiple of the number of workers, 2"):
        override(two, {"train.micro_batches": 3}).resolve()


def test_configs_are_frozen_values() -> None:
    for config in ZOO.values():
        assert isinstance(hash(config), int)
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.seed = 1  # type: ignore[misc]
    assert isinstance(CONFIG, RunConfig)
