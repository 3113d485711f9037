"""Every kind of every variant of the zoo, found by a walk over its configs: a kind is chosen by its name, shown by its
name, and changed by its fields.

And settings under the names that earlier versions gave them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.config import flat, identity, is_variant, name_of, override, to_dotted, to_json, to_tree
from gen.config.variants import is_group
from gen.results.renamed import KEYS
from gen.zoo import ZOO, buildable, restore
from tests.config.test_config import value_like
from tests.fixtures.variants import choices, chosen, named, variants

CONFIGS = {entry: buildable(config) for entry, config in ZOO.items()}  # those of two stages with their first
CHOICES = chosen(CONFIGS)
VARIANTS = [(entry, key) for entry, config in CONFIGS.items() for key in variants(config)]


def at(config: Any, key: str) -> Any:
    """What a config has under a dotted key."""
    for name in key.split("."):
        config = getattr(config, name)
    return config


def fields_of(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_the_walk_finds_the_choices_that_the_project_compares() -> None:
    assert {"model.objective", "model.penalty", "model.networks", "model.critic_optimizer"} <= {
        key for entry, key in VARIANTS if ZOO[entry].family == "gan"
    }
    assert ("vqvae_gmm", "model.stage_one.model.likelihood") in VARIANTS
    assert ("vqvae", {"model.likelihood": "gaussian", "model.likelihood.variance": "shared"}) in CHOICES


@pytest.mark.parametrize(("entry", "key"), VARIANTS)
def test_kinds_are_frozen_values_that_need_nothing(entry: str, key: str) -> None:
    kinds = variants(CONFIGS[entry])[key]
    assert len(kinds) == len(set(kinds.values()))
    for name, kind in kinds.items():
        made = kind()
        assert is_variant(made)
        assert name_of(made) == name
        assert made == kind()
        assert isinstance(hash(made), int)
        for field in dataclasses.fields(made):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(made, field.name, getattr(made, field.name))


def groups_in(group: Any) -> list[Any]:
    """A group, and all groups in it."""
    parts = [getattr(group, field.name) for field in dataclasses.fields(group)]
    return [group, *itertools.chain.from_iterable(groups_in(part) for part in parts if is_group(part))]


@pytest.mark.parametrize(("entry", "settings"), CHOICES, ids=named)
def test_no_field_is_called_kind(entry: str, settings: dict[str, str]) -> None:
    """In JSON and in sampled dicts that is the name of a group's kind."""
    for group in groups_in(override(CONFIGS[entry], settings)):
        assert "kind" not in fields_of(group)


@pytest.mark.parametrize(("entry", "settings"), CHOICES, ids=named)
def test_a_kind_is_chosen_by_its_name_in_every_form(entry: str, settings: dict[str, str]) -> None:
    config, kinds = CONFIGS[entry], variants(CONFIGS[entry])
    changed = override(config, settings)
    for key, name in settings.items():
        assert flat(changed)[key] == name == name_of(at(changed, key))
    (first, name), *below = settings.items()
    if not below and name_of(at(config, first)) == name:
        assert changed == config, "what is in force stays as it is"
    elif not below:
        assert at(changed, first) == kinds[first][name](), "its defaults"
    assert override(config, {f"{key}.kind": name for key, name in settings.items()}) == changed
    tree: dict[str, Any] = {}
    for key, name in settings.items():
        group = tree
        for part in key.split("."):
            group = group.setdefault(part, {})
        group["kind"] = name
    assert override(config, tree) == changed, "as a search draws it"
    assert all(flat(changed)[other] == value for other, value in flat(config).items() if not other.startswith(first))


@pytest.mark.parametrize(("entry", "settings"), CHOICES, ids=named)
def test_json_there_and_back(entry: str, settings: dict[str, str]) -> None:
    config = override(CONFIGS[entry], settings)
    assert restore(to_json(config)) == config
    assert to_json(restore(to_json(config))) == to_json(config)
    tree = json.loads(to_json(config))
    for key, name in settings.items():
        group = tree
        for part in key.split("."):
            group = group[part]
        assert group["kind"] == name
    assert to_dotted(to_tree(config)) == flat(config)


@pytest.mark.parametrize(("entry", "settings_"), CHOICES, ids=named)
@given(data=st.data())
@settings(max_examples=5)
def test_a_field_of_the_kind_in_force_is_set(entry: str, settings_: dict[str, str], data: st.DataObject) -> None:
    config = override(CONFIGS[entry], settings_)
    key = list(settings_)[-1]
    leaves = [leaf for leaf in flat(config) if leaf.startswith(f"{key}.") and leaf not in variants(config)]
    if not leaves:
        assert not [
            field for field in dataclasses.fields(at(config, key)) if not is_group(at(config, f"{key}.{field.name}"))
        ]
        return
    leaf = data.draw(st.sampled_from(leaves))
    value = data.draw(value_like(flat(config)[leaf]))
    changed = override(config, {leaf: str(value)})
    assert flat(changed) == {**flat(config), leaf: value}
    assert override(CONFIGS[entry], {**settings_, leaf: value}) == changed, "with its kind, in one go"
    assert override(CONFIGS[entry], {leaf: value, **settings_}) == changed, "in whatever order"
    assert restore(to_json(changed)) == changed


@pytest.mark.parametrize("entry", CONFIGS)
def test_identity_tells_kinds_whether_they_have_fields_or_not(entry: str) -> None:
    configs = [override(CONFIGS[entry], settings) for settings in choices(CONFIGS[entry])]
    texts = {to_json(config) for config in configs}
    assert len(texts) > len(variants(CONFIGS[entry])) or not configs
    assert len({identity(config, "data") for config in configs}) == len(texts)


@pytest.mark.parametrize(("entry", "key"), VARIANTS)
def test_an_unknown_kind_names_the_allowed_ones(entry: str, key: str) -> None:
    with pytest.raises(ValueError) as error:
        override(CONFIGS[entry], {key: "nonsense"})
    assert str(error.value) == f"{key}='nonsense' is not known; allowed: {', '.join(variants(CONFIGS[entry])[key])}"


@pytest.mark.parametrize(("entry", "key"), VARIANTS)
def test_a_field_of_another_kind_names_the_kinds_that_have_it(entry: str, key: str) -> None:
    kinds = variants(CONFIGS[entry])[key]
    for name, kind in kinds.items():
        for field in sorted(set.union(*map(fields_of, kinds.values())) - fields_of(kind)):
            have = [other for other in kinds if field in fields_of(kinds[other])]
            with pytest.raises(ValueError) as error:
                override(CONFIGS[entry], {key: name, f"{key}.{field}": 1})
            message = (
                f"{key}.{field} is a setting of {' and '.join(have)}, and {key} is {name}: choose a kind that has it"
            )
            assert str(error.value) == f"{message}, such as {key}={have[0]}"


@pytest.mark.parametrize(("entry", "key"), VARIANTS)
def test_a_field_of_no_kind_names_the_nearest_or_says_that_there_are_none(entry: str, key: str) -> None:
    for name, kind in variants(CONFIGS[entry])[key].items():
        with pytest.raises(ValueError) as error:
            override(CONFIGS[entry], {key: name, f"{key}.nonsense": 1})
        message = str(error.value)
        assert message.startswith(f"unknown setting {key}.nonsense")
        if fields_of(kind):
            assert f"nearest valid: {key}." in message
        else:
            assert message.endswith(f"{key} of {name}, the kind in force, has no settings")


RENAMED = [
    (entry, old, new)
    for entry, config in ZOO.items()
    for old, new in KEYS.get(config.family, {}).items()
    if new in flat(config)
]


@pytest.mark.parametrize(("entry", "old", "new"), RENAMED)
def test_a_setting_is_known_by_its_old_name_too(entry: str, old: str, new: str) -> None:
    value = flat(ZOO[entry])[new]
    value = not value if isinstance(value, bool) else value * 2
    changed = override(ZOO[entry], {new: value})
    assert flat(changed)[new] == value
    assert override(ZOO[entry], {old: str(value)}) == changed
    assert override(ZOO[entry], {"model": {old.removeprefix("model."): value}}) == changed


@pytest.mark.parametrize(
    ("entry", "old", "new"),
    [
        ("vae_mlp", {"model.width": 8}, {"model.networks.width": 8}),
        ("vae_mlp", {"model.conditional": "true"}, {"model.conditioning": "one_hot"}),
        ("vae_mlp", {"model.conditional": True}, {"model.conditioning": "one_hot"}),
        ("cvae", {"model.conditional": "false"}, {"model.conditioning": "none"}),
        ("vae_mlp", {"model.likelihood.kind": "gaussian"}, {"model.likelihood": "gaussian"}),
        (
            "vqvae",
            {
                "model.likelihood.kind": "gaussian",
                "model.likelihood.variance": "fixed",
                "model.likelihood.deviation": 0.5,
            },
            {
                "model.likelihood": "gaussian",
                "model.likelihood.variance": "fixed",
                "model.likelihood.variance.deviation": 0.5,
            },
        ),
        ("vae_conv_bn", {"model.likelihood.least_deviation": 0.1}, {"model.likelihood.variance.least_deviation": 0.1}),
        ("gan_mlp", {"model.penalty": 5}, {"model.penalty": "one_centred", "model.penalty.weight": 5}),
        ("gan_mlp", {"model.penalty": "0.5"}, {"model.penalty": "one_centred", "model.penalty.weight": 0.5}),
        ("wgan_gp_mlp", {"model.penalty": 5}, {"model.penalty.weight": 5}),
        ("wgan_gp_mlp", {"model.penalty": "0"}, {"model.penalty": "none"}),
        ("wgan_gp_mlp", {"model.penalty": 0.0}, {"model.penalty": "none"}),
        ("gan_mlp", {"model.optimizer.kind": "adam"}, None),
        ("gan_mlp", {"model.critic_optimizer.kind": "rmsprop"}, {"model.critic_optimizer": "rmsprop"}),
        ("vqvae", {"model.hidden": 16, "model.blocks": 1}, {"model.networks.hidden": 16, "model.networks.blocks": 1}),
        ("vqvae_pixelcnn", {"model.width": 8}, {"model.width": 8}),  # which has not moved
        ("wgan_gp_mlp", {"model.width": 8}, None),
        ("vqvae", {"model.conditional": "true"}, None),
        ("vae_mlp", {"model.penalty": 5}, None),
    ],
)
def test_what_had_another_form_is_understood_in_its_family_alone(
    entry: str, old: dict[str, Any], new: dict[str, Any] | None
) -> None:
    if new is None:
        with pytest.raises(ValueError, match=r"^unknown setting model\."):
            override(ZOO[entry], old)
    else:
        assert override(ZOO[entry], old) == override(ZOO[entry], new)


def test_what_never_meant_anything_is_refused_by_its_present_name() -> None:
    with pytest.raises(ValueError, match=r"^model.penalty='some' is not known; allowed: none, one_centred"):
        override(ZOO["gan_mlp"], {"model.penalty": "some"})
    with pytest.raises(ValueError, match=r"^model.penalty.weight=-1 is out of range; allowed: at least 0"):
        override(ZOO["gan_mlp"], {"model.penalty": "-1"})
    with pytest.raises(ValueError, match=r"^model.networks.width=2 is out of range"):
        override(ZOO["vae_mlp"], {"model.width": 2})
