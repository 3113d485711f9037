import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from gen.config import flat, override
from gen.phase import Shape
from gen.zoo import ZOO, buildable
from tune_spaces import Space, check_objective, draw, extend, pin, space_for

ENTRIES = sorted(ZOO)
SEEDS = st.integers(0, 2**32)
INDICES = st.integers(0, 10_000)


@pytest.mark.parametrize("name", ENTRIES)
@given(seed=SEEDS, index=INDICES)
@settings(max_examples=40)
def test_every_draw_is_a_valid_config_of_plain_values_and_a_pure_function(name, seed, index):
    space = space_for(ZOO[name])
    drawn = draw(space, seed, index)
    config = override(ZOO[name], drawn)
    assert {key: flat(config)[key] for key in drawn} == drawn
    assert json.loads(json.dumps(drawn)) == drawn
    assert all(type(value) in (int, float, str, bool) for value in drawn.values())
    assert draw(space, seed, index) == drawn


@pytest.mark.parametrize("name", ENTRIES)
def test_draws_differ_and_the_smallest_budget_reaches_a_rung(name):
    space = space_for(ZOO[name])
    draws = [draw(space, 0, index) for index in range(space.samples)]
    assert len({json.dumps(one, sort_keys=True) for one in draws}) == space.samples
    assert draw(space, 1, 0) != draws[0]
    phases = buildable(ZOO[name]).model.build(Shape(1, ZOO[name].data.size or 8, 10)).phases()
    assert 1 <= space.grace * space.reduction <= space.max_epochs or not phases  # one fit, which nothing stops early
    assert space.mode == "min"
    for one in draws[:4]:
        override(buildable(ZOO[name]), one).model.build(Shape(1, ZOO[name].data.size or 8, 10))


def test_the_choices_that_the_project_compares_are_all_drawn():
    def values(name, *keys):
        return {tuple(one.get(key) for key in keys) for one in (draw(space_for(ZOO[name]), 0, n) for n in range(200))}

    codings = values("lsgan_mlp", "model.objective.a", "model.objective.b", "model.objective.c")
    assert {(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)} < codings
    assert len(codings) > 20  # and free ones
    assert len(values("vqvae", "model.codebook.codes", "model.codebook.dimensions")) == 16
    assert len(values("vae_mlp", "model.beta")) == 200
    assert len(values("wgan_gp_mlp", "model.penalty")) == 200
    assert values("gan_mlp", "model.objective.a", "model.penalty") == {(None, None)}
    likelihoods = values("vqvae", "model.likelihood.kind", "model.likelihood.variance")
    assert likelihoods == {("mse", None), ("bernoulli", None), ("gaussian", "shared"), ("gaussian", "pixel")}
    assert len(values("vae_deep", "model.depth", "model.width")) == 16


@pytest.mark.parametrize("name", ["vae_deep", "vqvae"])
def test_bounds_of_two_likelihoods_are_refused_and_reconstructions_are_not(name):
    space = extend(space_for(ZOO[name]), {"model.likelihood.kind": "bernoulli,gaussian"})
    configs = [override(ZOO[name], draw(space, 0, index)) for index in range(8)]
    measured = ["bound/images", "distortion/images", "mse/reconstructions"]

    def check(metric):
        check_objective(space, metric, configs, measured, ["autoencoder"])

    check("mse/reconstructions")
    with pytest.raises(
        ValueError, match=r"'bound/images' changes its scale with model.likelihood.kind.* which vary; use mse"
    ):
        check("bound/images")


def test_the_codebooks_decay_is_drawn_only_where_it_means_something():
    draws = [draw(space_for(ZOO["vqvae"]), 0, index) for index in range(50)]
    assert {one["model.codebook.update"] for one in draws} == {"ema", "loss"}
    assert all(("model.codebook.decay" in one) == (one["model.codebook.update"] == "ema") for one in draws)


@pytest.mark.parametrize("name", ENTRIES)
@given(index=INDICES, data=st.data())
@settings(max_examples=25)
def test_pinning_or_adding_a_key_leaves_the_other_draws_alone(name, index, data):
    space = space_for(ZOO[name])
    drawn = draw(space, 0, index)
    key = data.draw(st.sampled_from(sorted(drawn)))
    assert draw(pin(space, [key]), 0, index) == {other: value for other, value in drawn.items() if other != key}
    added = draw(extend(space, {"train.batch": "32,64"}), 0, index)
    assert added.pop("train.batch") in (32, 64)
    assert added == {other: value for other, value in drawn.items() if other != "train.batch"}


def test_pinning_a_group_pins_all_below_it():
    for name, group in (("lsgan_mlp", "model.objective"), ("vqvae", "model.codebook")):
        drawn = draw(pin(space_for(ZOO[name]), [group]), 0, 0)
        assert drawn
        assert not any(key.startswith(group) for key in drawn)


def test_extending_replaces_a_key_even_inside_a_group():
    space = extend(space_for(ZOO["vqvae"]), {"model.codebook.update": "loss", "model.beta": " 1, 2"})
    draws = [draw(space, 0, index) for index in range(20)]
    assert {one["model.codebook.update"] for one in draws} == {"loss"}
    assert {one["model.beta"] for one in draws} == {1.0, 2.0}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"train.bach": "1"}, r"unknown setting train.bach; nearest valid: train.batch"),
        ({"model.bata": "1"}, r"unknown setting model.bata; nearest valid: model.beta"),
        ({"train.batch": "32,many"}, r"train.batch='many' is of the wrong type; expected int"),
        ({"train.batch": "32,0"}, r"train.batch=0 is out of range"),
        ({"entry": "vqvae"}, r"unknown setting entry"),
        ({"model": "3"}, r"model is a group of settings"),
    ],
)
def test_extending_by_what_is_not_there_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        extend(space_for(ZOO["vae_mlp"]), choices)


def test_a_family_without_a_space_is_refused():
    with pytest.raises(ValueError, match=r"family 'flow' has no search space; those with one: gan, prior_gmm, "):
        space_for(replace(ZOO["vae_mlp"], family="flow"))


def test_dicts_within_dicts_are_drawn_to_their_leaves():
    keys = {"model": tune.choice([{"optimizer": tune.choice([{"rate": tune.uniform(0.5, 1.0), "beta1": 0.5}])}])}
    drawn = draw(Space(ZOO["vae_mlp"], keys, metric="bound/images"), 0, 0)
    assert drawn.keys() == {"model.optimizer.rate", "model.optimizer.beta1"}
    assert 0.5 <= drawn["model.optimizer.rate"] <= 1


def test_draws_are_the_same_in_every_version_of_the_house():
    """A search that is submitted again must find what is done: if this fails, all searches start anew."""
    drawn = draw(space_for(ZOO["vae_mlp"]), 0, 1)
    assert drawn["model.latent"] == 64
    assert drawn["model.beta"] == pytest.approx(2.9939098739233074, rel=1e-12)
