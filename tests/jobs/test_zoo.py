"""The zoo in words: jobs.zoo, and the kinds at the end of the other jobs' help."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gen.config import TwoStageConfig, flat, override
from gen.config.describe import choices, citation, comments, comments_in, parse_docstring, settings, source_of
from gen.config.tree import EvaluateConfig
from gen.data.dataset import open_dataset
from gen.models.vae import VAE, Dense
from gen.objectives.adversarial import Objective
from gen.optimizers import Adam
from gen.zoo import ZOO, entry
from jobs import prepare, train, tune, zoo
from tune_spaces import space_for
from tune_spaces.spaces import NAMED, SPACES


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def printed(job, *arguments: str) -> str:
    result = CliRunner().invoke(job.main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


@pytest.mark.slow
def test_the_table_has_every_entry_with_its_figures():
    heading, *lines = printed(zoo).splitlines()
    assert heading.split() == ["entry", "family", "paper", "data", "parameters", "epochs", "capabilities"]
    assert [line.split()[0] for line in lines] == list(ZOO)
    rows = json.loads(printed(zoo, "--json"))
    for row, line in zip(rows, lines, strict=True):
        config = entry(row["entry"])
        assert (row["family"], row["epochs"]) == (config.family, config.budget.epochs)
        assert str(row["parameters"]) in line
        assert ", ".join(row["capabilities"]) in line
        if not isinstance(config.model, TwoStageConfig):
            model = config.model.build(open_dataset(config.data).shape)
            assert row["parameters"] == model.count_learned()


def test_capabilities_are_those_under_the_entrys_settings():
    have = {row["entry"]: row["capabilities"] for row in json.loads(printed(zoo, "--json"))}
    assert "Conditional" in have["cvae"]
    assert "Conditional" not in have["vae_mlp"]
    assert "Imitates" in have["vae_mlp"]
    assert "Likelihood" in have["vqvae_bn"]
    assert "Likelihood" not in have["vqvae"]
    assert have["gan_mlp"] == ["Imitates", "Interpolates", "Plays"]
    assert "TwoStage" in have["vqvae_pixelcnn"]


@pytest.mark.slow
def test_the_table_needs_no_ray():
    hidden = "import sys; sys.modules['ray'] = None; from jobs.zoo import main; main([])"
    told = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "wgan_gp_mlp" in told.stdout


def test_an_unknown_entry_is_one_line():
    result = CliRunner().invoke(zoo.main, ["lsgan_mpl"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown entry 'lsgan_mpl'; nearest valid: lsgan_mlp")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_an_entry_is_told_whole(name: str):
    config, text = entry(name), printed(zoo, name)
    told = json.loads(printed(zoo, name, "--json"))
    leaves = {key: value for key, value in flat(config).items() if key not in ("entry", "family")}
    assert {one["key"]: one["value"] for one in told["settings"]} == leaves
    assert all(key in text for key in leaves)
    found = {key: group["kinds"] for group in told["choices"] for key in group["keys"]}
    for choice in choices(config):
        assert f"{choice.key} (here {choice.chosen})" in " ".join(text.split())
        assert [one["kind"] for one in found[choice.key]] == list(choice.kinds)
        for one in found[choice.key]:
            assert {field["key"] for field in one["fields"]} == set(vars(choice.kinds[one["kind"]]()))
            assert one["about"]
    assert len(told["source"]["deviations"]) == len(source_of(config).deviations)
    if config.family in SPACES:
        space = space_for(config)
        assert set(told["search"]["keys"]) == set(space.keys)
        assert told["search"]["budget"]["max_epochs"] == space.max_epochs
        named = NAMED.get(config.family, {})
        assert told["search"].get("named", {}).keys() == named.keys()
        for other in named:
            assert set(told["search"]["named"][other]["keys"]) == set(space_for(config, other).keys)
            assert f"With --space {other}: {told['search']['named'][other]['about'][:60]}" in text
    else:
        assert told["search"] == {}
        assert "jobs.tune has no search space for its family." in text
    assert [line for line in text.splitlines() if len(line) > 120] == []


def test_the_page_has_comments_kinds_deviations_and_the_space():
    text = printed(zoo, "lsgan_mlp")
    assert "model.latent                            96             dimensions of z (papers: 100, 1024, 128)" in text
    assert "least_squares  what the two minimise; one of non_saturating, saturating," in text
    assert "      weight  10.0  lambda (10)" in text  # of a kind that is not in force
    assert "  4. Uniform noise unless" in text
    assert "frechet/fakes" in text
    assert "LogUniform (0.0001, 0.002)" in text
    assert "  model.critic_optimizer.rate      as model.generator_optimizer.rate" in text  # with --space wide


def test_kinds_inside_of_kinds_are_told():
    keys = [choice.key for choice in choices(entry("vqvae"))]
    assert "model.likelihood.variance" in keys  # its likelihood in force, the squared error, has none
    assert len(keys) == len(set(keys))
    within = {choice.key: choice for choice in choices(entry("vae_conv_bn"))}["model.likelihood.variance"]
    assert within.chosen == "data"


def test_comments_are_those_behind_the_fields():
    assert comments(Dense)["width"] == "units of the encoder's first layer (paper: 500)"
    assert comments(VAE.Config)["beta"].startswith("weight of the rate")
    assert comments(VAE.Config)["networks"] == "of encoder and decoder"
    assert comments(Adam)["decay_start"] == "epoch"  # inherited
    assert comments(EvaluateConfig)["every"] == "epochs a tick"


def test_a_comment_may_go_on_in_the_next_line_and_a_value_over_several():
    source = '''
    @dataclass(frozen=True)
    class Config:
        """Sizes."""

        first: int = 1  # units
        # of the layer (paper: 2)
        second: str = "# none"
        # a heading of what comes next
        third: tuple[int, ...] = (  # widths,
            1,
            2,
        )  # two of them

        def build(self) -> None:
            kept: int = 3  # no field
    '''
    assert comments_in(source) == {
        "first": "units of the layer (paper: 2)",
        "second": "",
        "third": "widths, two of them",
    }


def test_a_docstring_is_a_paper_and_numbered_deviations():
    text = """A Title, Some One and Other 1999,
    https://one.example/abs.

    Deviations from the papers:
    1. One thing, with 2. in it
       and a second line.
    2. Another.

    More that is none.
    """
    found = parse_docstring(text)
    assert found.paper == "A Title, Some One and Other 1999, https://one.example/abs."
    assert found.deviations == ("One thing, with 2. in it and a second line.", "Another.")
    assert parse_docstring("What it is.").deviations == ()


def test_an_entry_is_cited_by_the_kind_that_makes_it_another():
    assert citation(entry("gan_mlp")) == "Goodfellow et al. 2014"
    assert citation(entry("lsgan_mlp")) == "Mao et al. 2016"
    assert citation(entry("cvae")) == "Sohn et al. 2015"
    assert citation(entry("wgan_gp_mlp")) == "Arjovsky et al. 2017 + Gulrajani et al. 2017"
    assert citation(entry("vqvae")) == "van den Oord et al. 2017"
    assert citation(entry("vqvae_vae")) == "arxiv.org/abs/1312.6114"
    assert citation(entry("vqvae_gmm")) == ""


def test_an_entry_is_cited_by_the_value_that_makes_it_another():
    assert citation(entry("beta_vae")) == "Higgins et al. 2017"
    assert citation(override(entry("vae_mlp"), {"model.beta": 4})) == "Higgins et al. 2017"
    assert citation(override(entry("beta_vae"), {"model.beta": 1})) == "Kingma and Welling 2013"
    assert citation(override(entry("cvae"), {"model.beta": 4})) == "Higgins et al. 2017 + Sohn et al. 2015"
    assert citation(override(entry("vae_mlp"), {"model.latent": 3, "model.optimizer.rate": 1e-4})) == (
        "Kingma and Welling 2013"
    )


def test_a_kind_is_said_to_take_its_defaults_only_where_it_is_another():
    """Settings of the kind in force stay where it is named once more, which `override` sees to."""
    page, text = (" ".join(printed(*arguments).split()) for arguments in ((zoo, "lsgan_mlp"), (train, "--help")))
    assert "takes one, with its defaults if it is another than the one in force" in page
    assert "takes a kind, with the defaults below if it is another than the one in force" in text


@pytest.mark.slow
@pytest.mark.parametrize("job", [train, tune])
def test_help_ends_with_the_kinds(job):
    lines = printed(job, "--help").splitlines()
    assert all(len(line) <= 80 for line in lines)
    for config in ZOO.values():
        for choice in choices(config):
            assert any(f"{choice.key} (" in line for line in lines)
            for name in choice.kinds:
                first = "".join(f"{field.key}={field.text}" for field in choice.fields(name)[:1])
                assert any(line.split()[:2] == [name, first] if first else line.split() == [name] for line in lines)
    assert lines[-1] == "python -m jobs.zoo lists the entries, python -m jobs.zoo ENTRY tells all of one."


def test_help_of_jobs_without_entries_ends_as_it_did():
    assert printed(prepare, "--help").splitlines()[-1].split()[0] == "--help"


def test_settings_come_in_the_order_of_flat_with_the_allowed_values():
    config = entry("gan_mlp")
    found = list(settings(config))
    assert [one.key for one in found] == list(flat(config))
    by_key = {one.key: one for one in found}
    assert by_key["model.noise"].allowed == ("uniform", "normal")
    assert by_key["model.objective"].allowed == tuple(Objective.kinds)
    assert by_key["model.latent"].allowed == ()
    assert by_key["evaluate.metric"].text == '""'
