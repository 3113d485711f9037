"""What an earlier version drew is drawn again, under the names and in the forms of now."""

import pytest

from gen.config import override
from gen.zoo import ZOO
from tune_spaces import draw, extend, pin, space_for


def test_draws_are_the_same_in_every_version_of_the_house():
    """A search that is submitted again must find what is done: if this fails, all searches start anew."""
    drawn = draw(space_for(ZOO["vae_mlp"]), 0, 1)
    assert drawn["model.latent"] == 64
    assert drawn["model.beta"] == pytest.approx(2.9939098739233074, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vae_mlp", {"model.networks.width": 512, "model.networks.depth": 1}),
        ("vae_conv", {"model.networks.width": 32}),
        ("gan_mlp", {"model.networks.generator_width": 256, "model.networks.critic_width": 256}),
        ("lsgan_mlp", {"model.objective.a": -1.0, "model.objective.b": 1.0, "model.objective.c": 0.0}),
        ("wgan_gp_mlp", {"model.penalty.weight": 11.797657609149075, "model.repeats": 2}),
        (
            "vqvae",
            {
                "model.likelihood": "gaussian",
                "model.likelihood.variance": "pixel",
                "model.networks.hidden": 64,
                "model.networks.blocks": 1,
                "model.codebook.decay": 0.9033049453790454,
            },
        ),
        ("vqvae_vae", {"model.width": 512, "model.depth": 1}),
    ],
)
def test_what_is_renamed_is_drawn_as_it_was_under_its_old_name(name, expected):
    """The values are those that the names and forms of version 1 gave."""
    drawn = draw(space_for(ZOO[name]), 0, 1)
    assert {key: drawn[key] for key in expected} == pytest.approx(expected, rel=1e-12)


def test_old_names_are_searched_and_pinned_as_the_present_ones():
    space = space_for(ZOO["vae_mlp"])
    draws = [draw(extend(space, {"model.width": "8,16"}), 0, index) for index in range(20)]
    assert {one["model.networks.width"] for one in draws} == {8, 16}
    assert "model.networks.width" not in pin(space, ["model.width"]).keys


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        ("wgan_gp_mlp", {"model.penalty": "1,10"}, {("one_centred", 1.0), ("one_centred", 10.0)}),
        ("gan_mlp", {"model.penalty": "0,5"}, {("none", None), ("one_centred", 5.0)}),
    ],
)
def test_old_forms_are_searched_as_what_they_are_now(name, choices, expected):
    space = extend(space_for(ZOO[name]), choices)
    draws = [draw(space, 0, index) for index in range(20)]
    assert {(one["model.penalty"], one.get("model.penalty.weight")) for one in draws} == expected
    assert all(override(ZOO[name], one) for one in draws)


def test_an_old_truth_value_is_searched_as_a_kind():
    space = extend(space_for(ZOO["vae_mlp"]), {"model.conditional": "true,false"})
    assert {draw(space, 0, index)["model.conditioning"] for index in range(20)} == {"one_hot", "none"}
