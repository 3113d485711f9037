import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.search.sample import Categorical, Domain, Integer

from gen.config import TwoStageConfig, flat, is_variant, override, to_tree
from gen.metrics.table import direction, is_known
from gen.optimizers import Optimizer
from gen.phase import Shape
from gen.zoo import ZOO, buildable
from tests.fixtures.examples import examples
from tests.fixtures.variants import variants
from tune_spaces import InTurn, Space, check_objective, draw, every, extend, pin, space_for
from tune_spaces.space import is_covered
from tune_spaces.spaces import NAMED, SPACES

ENTRIES = sorted(name for name, config in ZOO.items() if config.family in SPACES)  # a family may have no space yet


def distinct():
    """Entry and space, for all spaces of all entries; those that search the same keys from the same kinds once."""
    found = {}
    for name in ENTRIES:
        own = variants(ZOO[name])
        kinds = tuple(value for key, value in flat(ZOO[name]).items() if key in own)
        for named in ("", *NAMED.get(ZOO[name].family, {})):
            found.setdefault((named, kinds, *sorted(space_for(ZOO[name], named).keys)), (name, named))
    return list(found.values())


ALL = distinct()
ONCE = sorted(
    {(type(ZOO[name].model), type(getattr(ZOO[name].model, "networks", None))): name for name in ENTRIES}.values()
)
MANY = 200  # draws: two kinds of equal chance are both among them
SEEDS = st.integers(0, 2**32)
INDICES = st.integers(0, 10_000)


@pytest.mark.parametrize(("name", "named"), ALL)
@given(seed=SEEDS, index=INDICES)
@settings(max_examples=examples(10))
def test_every_draw_is_a_valid_config_of_plain_values_and_a_pure_function(name, named, seed, index):
    space = space_for(ZOO[name], named)
    drawn = draw(space, seed, index)
    config = override(ZOO[name], drawn)
    assert {key: flat(config)[key] for key in drawn} == drawn
    assert json.loads(json.dumps(drawn)) == drawn
    assert all(type(value) in (int, float, str, bool) for value in drawn.values())
    assert draw(space, seed, index) == drawn


@pytest.mark.slow
@pytest.mark.parametrize(("name", "named"), ALL)
def test_draws_differ_and_the_smallest_budget_reaches_a_rung(name, named):
    """As many of them as there are to choose from: a space may have few."""
    space = space_for(ZOO[name], named)
    draws = [draw(space, 0, index) for index in range(space.samples)]
    if math.isinf(there_are := count(space.keys)):
        assert len(texts(draws)) == space.samples
        assert draw(space, 1, 0) != draws[0]
    elif there_are > 1:
        one, other = ([draw(space, seed, index) for index in range(MANY)] for seed in (0, 1))
        assert 1 < len(texts(one)) <= there_are
        assert one != other or all(isinstance(domain, InTurn) for domain in space.keys.values())
    phases = build(ZOO[name]).phases()
    whole = space.grace == space.max_epochs or not phases  # what nothing stops early, such as one fit
    assert 1 <= space.grace * space.reduction <= space.max_epochs or whole
    for one in draws[:4]:
        build(override(ZOO[name], one))


def build(config):
    """The model of full width. It has no numbers, which take long to draw; but a prior has, for it runs its first stage
    when it is built."""
    with torch.device("cpu" if isinstance(config.model, TwoStageConfig) else "meta"):
        return buildable(config).model.build(Shape(1, config.data.size or 8, 10))


def count(value):
    """How many values there are to draw from: infinitely many of real numbers that have no step."""
    if isinstance(value, (Categorical, InTurn)):
        return sum(count(choice) for choice in (value.choices if isinstance(value, InTurn) else value.categories))
    if isinstance(value, Domain):
        step = getattr(value.get_sampler(), "q", isinstance(value, Integer))
        return (value.upper - value.lower) // step + 1 if step else math.inf
    return math.prod(count(inner) for inner in value.values()) if isinstance(value, Mapping) else 1


def texts(draws):
    return {json.dumps(one, sort_keys=True) for one in draws}


def test_a_space_of_few_choices_is_counted():
    within = tune.choice([{"update": "ema", "decay": tune.choice([0.9, 0.99])}, {"update": "loss"}])
    assert count({"model.codebook": within, "train.batch": tune.choice([32, 64])}) == 6
    assert count({"train.batch": tune.choice([32, 64]), "model.beta": tune.uniform(0, 1)}) == math.inf
    assert 3 <= count({"model.depth": tune.randint(1, 4)}) <= 4  # the last is left out
    assert count({"model.beta": tune.quniform(0, 1, 0.25)}) == 5
    assert count({"model.beta": tune.sample_from(lambda spec: 1)}) == math.inf
    assert count({}) == 1


@pytest.mark.parametrize("name", ENTRIES)
def test_the_metric_alone_says_what_is_good_of_what_ranks(name):
    assert is_known(space_for(ZOO[name]).metric)
    assert not {"mode", "scales"} & {field.name for field in dataclasses.fields(Space)}


def test_small_is_good_of_bounds_errors_and_distances():
    for metric in ("bound/images", "mse/reconstructions", "frechet/fakes"):
        assert direction(metric) == "min"


def test_the_choices_that_the_project_compares_are_all_drawn():
    def values(name, *keys):
        return {tuple(one.get(key) for key in keys) for one in (draw(space_for(ZOO[name]), 0, n) for n in range(200))}

    codings = values("lsgan_mlp", "model.objective.a", "model.objective.b", "model.objective.c")
    assert {(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)} < codings
    assert len(codings) > 20  # and free ones
    assert len(values("vqvae", "model.codebook.codes", "model.codebook.dimensions")) == 16
    assert len(values("vae_mlp", "model.beta")) == 200
    assert len(values("wgan_gp_mlp", "model.penalty.weight")) == 200
    assert values("gan_mlp", "model.objective.a", "model.penalty.weight") == {(None, None)}
    likelihoods = values("vqvae", "model.likelihood", "model.likelihood.variance")
    assert likelihoods == {("mse", None), ("bernoulli", None), ("gaussian", "shared"), ("gaussian", "pixel")}
    assert len(values("vae_deep", "model.networks.depth", "model.networks.width")) == 16


@pytest.mark.parametrize("name", ["vae_deep", "vqvae"])
def test_bounds_of_two_likelihoods_are_refused_and_reconstructions_are_not(name):
    space = extend(space_for(ZOO[name]), {"model.likelihood": "bernoulli,gaussian"})
    configs = [override(ZOO[name], draw(space, 0, index)) for index in range(8)]
    measured = ["bound/images", "distortion/images", "mse/reconstructions"]

    def check(metric):
        check_objective(space, metric, configs, measured, ["autoencoder"])

    check("mse/reconstructions")
    with pytest.raises(
        ValueError, match=r"'bound/images' changes its scale with model.likelihood, .* which vary; use mse"
    ):
        check("bound/images")


def test_the_codebooks_decay_is_drawn_only_where_it_means_something():
    draws = [draw(space_for(ZOO["vqvae"]), 0, index) for index in range(50)]
    assert {one["model.codebook.update"] for one in draws} == {"ema", "loss"}
    assert all(("model.codebook.decay" in one) == (one["model.codebook.update"] == "ema") for one in draws)


@pytest.mark.parametrize(("name", "named"), ALL)
@given(index=INDICES, data=st.data())
@settings(max_examples=examples(10))
def test_pinning_or_adding_a_key_leaves_the_other_draws_alone(name, named, index, data):
    space = space_for(ZOO[name], named)
    drawn = draw(space, 0, index)
    key = data.draw(st.sampled_from(sorted(drawn) or ["seed"]))  # a space may be empty, for users to fill
    pinned = pin(space, [key])  # a kind goes with its fields, but for those that have keys of their own
    left = {other: value for other, value in drawn.items() if not is_covered(other, [key]) or other in pinned.keys}
    assert key not in left
    assert draw(pinned, 0, index) == left
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


OPTIMIZERS = [
    (name, key)
    for name in ENTRIES
    for key, kinds in variants(ZOO[name]).items()
    if kinds == Optimizer.kinds and f"{key}.rate" in space_for(ZOO[name]).keys
]


@pytest.mark.parametrize(("name", "key"), OPTIMIZERS)
def test_fields_that_all_chosen_kinds_have_are_still_searched(name, key):
    space = space_for(ZOO[name])
    draws = [draw(extend(space, {key: ", ".join(Optimizer.kinds)}), 0, index) for index in range(20)]
    assert {one.pop(key) for one in draws} == set(Optimizer.kinds)
    own = {f"{key}.{field.name}" for kind in Optimizer.kinds.values() for field in dataclasses.fields(kind)}
    shared = {f"{key}.{field.name}" for field in dataclasses.fields(Optimizer)}
    assert draws == [
        {other: value for other, value in draw(space, 0, index).items() if other not in own - shared}
        for index in range(20)
    ]
    assert all(f"{key}.rate" in one for one in draws)


def test_fields_that_one_of_the_chosen_kinds_lacks_are_not():
    space = extend(space_for(ZOO["lsgan_mlp"]), {"model.objective": "wasserstein,least_squares"})
    draws = [draw(space, 0, index) for index in range(20)]
    assert {one["model.objective"] for one in draws} == {"wasserstein", "least_squares"}
    assert not any(key.startswith("model.objective.") for one in draws for key in one)
    penalised = extend(space_for(ZOO["wgan_gp_mlp"]), {"model.penalty": "none,one_centred"})
    draws = [draw(penalised, 0, index) for index in range(20)]
    assert {one["model.penalty"] for one in draws} == {"none", "one_centred"}
    assert not any("model.penalty.weight" in one for one in draws)
    kept = [draw(extend(space_for(ZOO["wgan_gp_mlp"]), {"model.penalty": "one_centred"}), 0, n) for n in range(20)]
    assert len({one["model.penalty.weight"] for one in kept}) == 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ONCE)
def test_every_kind_of_every_variant_can_be_searched(name):
    for key, kinds in variants(ZOO[name]).items():
        space = extend(space_for(ZOO[name]), {key: ",".join(kinds)})
        draws = [draw(space, 0, index) for index in range(60)]
        assert {one[key] for one in draws} == set(kinds)
        for one in draws:
            config = override(ZOO[name], one)
            assert {leaf: flat(config)[leaf] for leaf in one} == one, "no field of a kind that is not in force"


@pytest.mark.parametrize("name", ENTRIES)
def test_pinning_a_kind_alone_leaves_its_fields_to_the_search(name):
    """As --set does, which says what is in force; a field that is set by itself is no longer drawn."""
    space = space_for(ZOO[name])
    for key in variants(ZOO[name]):
        fields = {other for other in space.keys if other.startswith(f"{key}.")}
        assert fields <= set(pin(space, [key]).keys)
        for field in fields:
            pinned = draw(pin(space, [key, field]), 0, 0)
            assert pinned.keys() & fields == fields - {field}


def test_a_field_that_the_kind_in_force_lacks_is_no_longer_drawn():
    """As --set model.penalty=none leaves nothing to weigh."""
    space = space_for(ZOO["wgan_gp_mlp"])
    plain = pin(replace(space, config=override(space.config, {"model.penalty": "none"})), ["model.penalty"])
    assert "model.penalty.weight" in space.keys
    assert "model.penalty.weight" not in plain.keys
    assert override(plain.config, draw(plain, 0, 0)).model.penalty == plain.config.model.penalty


def test_a_draw_may_be_of_the_form_that_json_has():
    config = override(ZOO["vqvae"], {"model.likelihood": "gaussian", "model.likelihood.variance": "shared"})
    likelihood = config.model.likelihood
    assert is_variant(likelihood)
    space = Space(ZOO["vqvae"], {"model.likelihood": tune.choice([to_tree(likelihood)])}, metric="mse/reconstructions")
    assert override(ZOO["vqvae"], draw(space, 0, 0)) == config


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"train.bach": "1"}, r"unknown setting train.bach; nearest valid: train.batch"),
        ({"model.bata": "1"}, r"unknown setting model.bata; nearest valid: model.beta"),
        ({"train.batch": "32,many"}, r"train.batch='many' is of the wrong type; expected int"),
        ({"train.batch": "32,0"}, r"train.batch=0 is out of range"),
        ({"entry": "vqvae"}, r"unknown setting entry"),
        ({"model": "3"}, r"model is a group of settings"),
        ({"model.likelihood": "gaussian,mse"}, r"model.likelihood='mse' is not known; allowed: bernoulli, gaussian"),
        (
            {"model.likelihood.tanh": "true,false"},
            r"^model.likelihood.tanh is a setting of gaussian, .* is bernoulli: .* by --set model.likelihood=gaussian$",
        ),
        (
            {"model.likelihood": "gaussian", "model.likelihood.tanh": "true,false"},
            r"tanh is a setting of gaussian, .*=gaussian and leave --search model.likelihood out$",
        ),
        (
            {"model.likelihood.tanh": "true,false", "model.likelihood": "gaussian,bernoulli"},
            r"tanh is a setting of gaussian, .*=gaussian and leave --search model.likelihood out$",
        ),
        ({"model.likelihood": "gaussian", "model.likelihood.tahn": "true"}, r"^unknown setting model.likelihood.tahn"),
    ],
)
def test_extending_by_what_is_not_there_is_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        extend(space_for(ZOO["vae_mlp"]), choices)


def test_what_the_refusal_of_a_field_beside_its_kinds_tells_works():
    """Also where the kind in force has the field, and not all kinds that are searched do."""
    space, choices = space_for(ZOO["lsgan_mlp"]), {"model.objective": "least_squares,wasserstein"}
    with pytest.raises(
        ValueError, match=r"model.objective is wasserstein: .* by --set model.objective=least_squares and"
    ):
        extend(space, {**choices, "model.objective.a": "0,1"})
    chosen = override(ZOO["gan_mlp"], {"model.objective": "least_squares"})  # as --set does
    told = extend(pin(replace(space_for(chosen), config=chosen), ["model.objective"]), {"model.objective.a": "0,1"})
    assert {draw(told, 0, index)["model.objective.a"] for index in range(20)} == {0.0, 1.0}


def test_a_field_that_all_kinds_have_is_searched_beside_them():
    choices = {"model.optimizer": "adam,rmsprop", "model.optimizer.rate": "0.1,0.2"}
    space = extend(space_for(ZOO["vae_mlp"]), choices)
    drawn = {(one["model.optimizer"], one["model.optimizer.rate"]) for one in (draw(space, 0, n) for n in range(60))}
    assert drawn == {("adam", 0.1), ("adam", 0.2), ("rmsprop", 0.1), ("rmsprop", 0.2)}


def test_a_family_without_a_space_is_refused():
    with pytest.raises(
        ValueError, match=f"family 'flow' has no search space; those with one: {', '.join(sorted(SPACES))}"
    ):
        space_for(replace(ZOO["vae_mlp"], family="flow"))


def test_dicts_within_dicts_are_drawn_to_their_leaves():
    keys = {"model": tune.choice([{"optimizer": tune.choice([{"rate": tune.uniform(0.5, 1.0), "beta1": 0.5}])}])}
    drawn = draw(Space(ZOO["vae_mlp"], keys, metric="bound/images"), 0, 0)
    assert drawn.keys() == {"model.optimizer.rate", "model.optimizer.beta1"}
    assert 0.5 <= drawn["model.optimizer.rate"] <= 1


def test_all_configurations_of_a_finite_space_are_those_that_its_draws_find():
    kinds = [{"kind": "gaussian", "variance": tune.choice(["fixed", "pixel"])}, {"kind": "bernoulli"}]
    keys = {
        "model.likelihood": tune.choice(kinds),
        "model.beta": InTurn([1.0, 2.0]),
        "train.batch": tune.choice([32, 64, 32]),
        "model.latent": tune.choice([2, 3]),
        "model.networks.width": tune.choice([2, 3]),
    }
    tied = {"model.networks.width": "model.latent"}
    space = Space(ZOO["vae_mlp"], keys, metric="bound/images", tied=tied)
    found = every(space, 72)
    assert found is not None
    assert len(found) == 3 * 2 * 2 * 2
    drawn = {repr(draw(space, 0, index)) for index in range(MANY * 2)}
    assert drawn == {repr(one) for one in found}
    assert every(space, 35) is None, "counted before they are made, 32 twice"
    fixed = dataclasses.replace(space, fixed=frozenset({"model.likelihood.variance"}))
    assert all("model.likelihood.variance" not in one for one in every(fixed, 100) or [{}])
    endless = dataclasses.replace(space, keys={**keys, "model.beta": tune.uniform(0.0, 1.0)})
    assert every(endless, 10**9) is None
    assert every(dataclasses.replace(space, keys={}, tied={}), 1) == [{}]
