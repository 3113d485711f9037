"""The spaces of the adversarial entries: what each searches, and the wide ranges of an equal-budget comparison."""

import pytest

from gen.config import flat, name_of, override
from gen.zoo import ZOO
from tune_spaces import draw, extend, pin, space_for
from tune_spaces.gan import CRITIC, FIRST, GENERATOR

GANS = [name for name, config in ZOO.items() if config.family == "gan"]
GAMES = {
    ("saturating", "none"),
    ("non_saturating", "none"),
    ("least_squares", "none"),
    ("hinge", "none"),
    ("wasserstein", "clipping"),
    ("wasserstein", "one_centred"),
    ("non_saturating", "dragan"),
}
NEW = [name for name in GANS if name not in FIRST]


def draws(space, count=200):
    return [draw(space, 0, index) for index in range(count)]


def values(space, *keys):
    return {tuple(one.get(key) for key in keys) for one in draws(space)}


@pytest.mark.parametrize("name", GANS)
def test_the_wide_ranges_are_equal_for_all(name):
    space = space_for(ZOO[name], "wide")
    found = [flat(override(ZOO[name], one)) for one in draws(space)]
    assert {one["model.generator_optimizer"] for one in found} == {"adam"}
    for field, low, high in (("rate", 1e-5, 1e-2), ("beta1", 0.0, 0.999)):
        assert all(one[f"{GENERATOR}.{field}"] == one[f"{CRITIC}.{field}"] for one in found), "one for both players"
        drawn = [one[f"{CRITIC}.{field}"] for one in found]
        assert low <= min(drawn) < max(drawn) <= high
        assert len(set(drawn)) == len(found)
    assert min(one[f"{CRITIC}.rate"] for one in found) < 2e-5
    assert max(one[f"{CRITIC}.rate"] for one in found) > 5e-3
    assert {one["model.repeats"] for one in found} == {1, 2, 3, 4, 5}
    assert {one["model.networks.critic_norm"] for one in found} == {"none", "batch"}
    assert {one["train.batch"] for one in found} == {64}
    kept = ("model.objective", "model.penalty")
    assert {tuple(one[key] for key in kept) for one in found} == {tuple(flat(ZOO[name])[key] for key in kept)}
    for key, low, high in (("model.penalty.weight", 0.1, 100), ("model.penalty.limit", 1e-3, 1)):
        if key in flat(ZOO[name]):
            drawn = [one[key] for one in found]
            assert low <= min(drawn) < 3 * low
            assert high / 3 < max(drawn) <= high


def test_objective_and_penalty_are_drawn_together():
    """As pairs that are played: no critic of Wasserstein's is unbounded, and nothing is drawn that weighs nothing."""
    space = space_for(ZOO["dcgan"], "wide_games")
    drawn = draws(space)
    assert {(one["model.objective"], one["model.penalty"]) for one in drawn} == GAMES
    for one in drawn:
        assert ("model.penalty.weight" in one) == (one["model.penalty"] in ("one_centred", "dragan"))
        assert ("model.penalty.limit" in one) == (one["model.penalty"] == "clipping")
    fixed = draws(pin(space_for(override(ZOO["dcgan"], {"model.penalty": "dragan"}), "wide"), ["model.penalty"]))
    assert len({one["model.penalty.weight"] for one in fixed}) == len(fixed)
    assert not any("model.objective" in one or "model.penalty" in one for one in fixed)


def test_one_player_s_rate_can_be_fixed_and_the_other_s_is_drawn_as_before():
    space = space_for(ZOO["dcgan"], "wide")
    rates = [one[f"{CRITIC}.rate"] for one in draws(space, 20)]
    for rate, fixed in ((f"{GENERATOR}.rate", f"{CRITIC}.rate"), (f"{CRITIC}.rate", f"{GENERATOR}.rate")):
        left = draws(pin(space, [fixed]), 20)
        assert [one[rate] for one in left] == rates
        assert not any(fixed in one for one in left)
    chosen = extend(space, {f"{CRITIC}.rate": "1e-4,1e-3"})
    assert f"{CRITIC}.rate" not in chosen.tied
    assert f"{CRITIC}.beta1" in chosen.tied
    assert [one[f"{GENERATOR}.rate"] for one in draws(chosen, 20)] == rates


def test_who_says_rmsprop_keeps_it():
    space = space_for(ZOO["wgan"], "wide")
    left = draws(pin(space, [GENERATOR, CRITIC]), 20)
    assert not any(key in one for one in left for key in (GENERATOR, CRITIC, f"{CRITIC}.beta1"))
    assert len({one[f"{CRITIC}.rate"] for one in left}) == 20


@pytest.mark.parametrize("name", NEW)
def test_each_entry_searches_what_it_has(name):
    own, space = flat(ZOO[name]), space_for(ZOO[name])
    assert {f"{GENERATOR}.rate", f"{CRITIC}.rate", "model.repeats", "model.latent"} <= set(space.keys)
    assert len(values(space, f"{GENERATOR}.rate", f"{CRITIC}.rate")) == 200
    assert all(one[f"{GENERATOR}.rate"] != one[f"{CRITIC}.rate"] for one in draws(space, 20)), "each player has its own"
    found = [flat(override(ZOO[name], one)) for one in draws(space)]
    if f"{GENERATOR}.beta1" in own:
        assert {(one[f"{GENERATOR}.beta1"], one[f"{CRITIC}.beta1"]) for one in found} == {(b, b) for b in (0, 0.5, 0.9)}
    for width in ("model.networks.generator_width", "model.networks.critic_width"):
        assert {one[width] for one in found} == {own[width] // 2, own[width], 2 * own[width]}
    for key, there in (("model.penalty.weight", "weight"), ("model.penalty.limit", "limit")):
        assert (key in space.keys) == (key in own), there
    assert len({one["model.networks.critic_norm"] for one in found}) > 1
    assert own["model.latent"] in {one["model.latent"] for one in found}
    games = {(one["model.objective"], one["model.penalty"]) for one in found}
    general = (own["model.objective"], own["model.penalty"]) == ("non_saturating", "none")
    assert games == (GAMES if general else {(own["model.objective"], own["model.penalty"])})


def test_a_gradient_penalty_is_searched_without_batchnorm():
    for name in ("wgan_gp", "cwgan_gp", "dragan"):
        assert {norm for (norm,) in values(space_for(ZOO[name]), "model.networks.critic_norm")} == {
            "none",
            "layer",
            "instance",
        }
    codings = values(space_for(ZOO["lsgan"]), "model.objective.a", "model.objective.b", "model.objective.c")
    assert {(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)} < codings
    assert len(codings) > 20


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("gan_mlp", set()),
        ("lsgan_mlp", {"model.objective"}),
        ("wgan_gp_mlp", {"model.penalty.weight", "model.repeats"}),
    ],
)
def test_the_first_entries_keep_the_spaces_of_the_searches_on_record(name, keys):
    """A search is refused under its old name if its space is another."""
    space = space_for(ZOO[name])
    shared = {f"{GENERATOR}.rate", f"{CRITIC}.rate", "model.latent"}
    assert space.keys.keys() == shared | keys | {"model.networks.generator_width", "model.networks.critic_width"}
    assert not space.tied
    assert (space.max_epochs, space.grace, space.samples) == (60, 5, 32)


def test_an_unknown_space_is_refused_with_the_names_of_the_family_s():
    with pytest.raises(ValueError, match=r"^space='broad' is no search space of family gan; allowed: losses, wide"):
        space_for(ZOO["dcgan"], "broad")
    with pytest.raises(ValueError, match=r"^space='wide' is no search space of family vae; it has its own only"):
        space_for(ZOO["vae_mlp"], "wide")


def test_losses_are_compared_each_as_published_and_equally_often():
    space = space_for(ZOO["dcgan_28"], "losses")
    drawn = [override(ZOO["dcgan_28"], draw(space, seed, index)).model for seed in (0, 1) for index in range(5)]
    assert drawn[:5] == drawn[5:]  # chance has no part in it
    games = [(name_of(model.objective), name_of(model.penalty), model.repeats) for model in drawn[:5]]
    assert games == [
        ("non_saturating", "none", 1),
        ("least_squares", "none", 1),
        ("wasserstein", "one_centred", 5),
        ("non_saturating", "dragan", 1),
        ("hinge", "none", 1),
    ]
    assert drawn[2].critic_optimizer == ZOO["wgan_gp"].model.critic_optimizer
    assert draw(space, 0, 7) == draw(space, 0, 2)
    assert space.grace == space.max_epochs  # none is stopped early
