"""What a search knows before it draws: the entry's defaults, and --start-from, an experiment or a file."""

import json
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from gen import results
from gen.config import RunConfig, flat, identity, override, to_json
from gen.record import names
from gen.results.forget import forget
from gen.results.storage import Storage
from gen.search.samplers import Score
from gen.zoo import ZOO
from jobs import tune
from jobs.known import learned
from jobs.plan import Plan, plan
from jobs.sampling import supply_of
from jobs.several import Plans
from tests.record.test_earlier_version import ARCHIVE, SEARCHES, SMALL
from tests.results.example_rows import run_row


def planned(place: Path, *arguments: str) -> Plan:
    asked = ["--entry", "vqvae", "--storage", str(place), "--name", "new", *arguments]
    return plan(tune.main.make_context("tune", asked).params)


def trained(place: Path, ends: list[tuple[RunConfig, str, float | None, float]], name: str = "earlier") -> None:
    """An experiment whose runs ended so: config, status, best value, epochs."""
    storage, attempt = Storage(str(place)), results.new_attempt()
    slot = results.Slot(storage, name, attempt)
    for config, status, best, epochs in ends:
        run = identity(config, "images")
        begun = run_row(config.seed, entry=config.entry, config=to_json(config), data_hash="images")
        row = {"experiment": name, "run": run, "attempt": attempt, "tick": int(epochs), "status": status, "why": ""}
        row |= {"metric": "mse/reconstructions", "best": best, "best_epoch": 1.0, "last": best, "checkpoint": None}
        row |= {"epochs": epochs, "steps": 1, "images": 1, "seconds": 1.0, "images_per_second": None, "parameters": 1}
        begun |= {"experiment": name, "run": run, "attempt": attempt}
        slot.extend({"runs": [begun], "outcomes": [row | {"ended": datetime.now(UTC)}]})


def begun(**settings: object) -> RunConfig:
    """A run as a search trains it."""
    asked = {"evaluate.metric": "mse/reconstructions", "data.stratified": True, "budget.epochs": 20}
    return override(ZOO["vqvae"], asked | {key.replace("__", "."): value for key, value in settings.items()}).resolve()


def test_a_new_search_begins_with_the_entrys_own_defaults(tmp_path: Path):
    wanted = planned(tmp_path, "--samples", "4", "--seeds", "2", "--set", "model.beta=2")
    assert [one.seed for one in wanted.configs[:2]] == [0, 1]
    assert wanted.configs[0].model == override(ZOO["vqvae"], {"model.beta": 2}).model
    assert len(wanted.configs) == 8
    assert wanted.about()["first"] == [{}]
    drawn = planned(tmp_path, "--samples", "4", "--only", "--search", "model.beta=1,2,4")
    assert {one.model.beta for one in drawn.configs} == {1.0, 2.0, 4.0}  # it tries what it names
    assert "first" not in drawn.about()


def test_a_search_of_an_earlier_version_goes_on_with_its_draws(tmp_path: Path):
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    asked = [*SEARCHES["search-lsgan"], *SMALL, "--max-epochs=4", "--name=search-lsgan", f"--storage={tmp_path}"]
    wanted = plan(tune.main.make_context("tune", [*asked, "--samples=6"]).params)
    assert wanted.begins.first == []
    assert "first" not in wanted.about()
    (tmp_path / "search-lsgan" / names.NOTE).unlink()  # nor does it once its note is lost
    assert plan(tune.main.make_context("tune", [*asked, "--samples=6"]).params).begins.first == []


def test_the_best_of_an_earlier_experiment_are_tried_first(tmp_path: Path):
    ends = [(begun(model__beta=float(beta), seed=seed), "finished", 1.0 + abs(beta - 3) + seed, 20.0)
            for beta in range(1, 9) for seed in (0, 1)]  # fmt: skip
    ends += [(begun(), "finished", 0.5, 20.0)]  # the entry's own, which are first anyway
    ends += [(begun(model__beta=0.1), "stopped", 0.01, 2.0), (begun(model__beta=0.2), "failed", None, 1.0)]
    trained(tmp_path, ends)
    wanted = planned(tmp_path, "--samples", "9", "--start-from", "earlier")
    assert [one.get("model.beta") for one in wanted.begins.first] == [None, 3.0, 2.0, 4.0, 1.0, 5.0]
    assert [one.model.beta for one in wanted.configs[:6]] == [0.25, 3.0, 2.0, 4.0, 1.0, 5.0]
    assert len(wanted.configs) == 9
    assert wanted.about()["start_from"] == "earlier"
    assert wanted.notice == "start-from earlier: the search begins with 6 known configurations"
    few = planned(tmp_path, "--samples", "2", "--start-from", "earlier", "--set", "model.beta=7")
    assert {one.model.beta for one in few.configs} == {7.0}  # what is set stays
    names.write_note(Storage(str(tmp_path)), "new", wanted.note("images"))
    trained(tmp_path, [(begun(model__beta=3.5), "finished", 0.1, 20.0)])
    for again in (planned(tmp_path, "--samples", "9"), planned(tmp_path, "--samples", "9", "--start-from", "earlier")):
        assert again.note("images") == wanted.note("images")
        assert again.configs == wanted.configs


def test_what_failed_is_not_tried_again(tmp_path: Path):
    """However few others there are; a sampler that learns hears of it."""
    ends = [(begun(model__beta=3.0, seed=seed), "finished", 1.0, 20.0) for seed in (0, 1)]
    ends += [(begun(model__beta=4.0), "failed", None, 1.0), (begun(model__beta=5.0), "finished", 1.0, 20.0)]
    ends += [(begun(model__beta=5.0, seed=1), "failed", None, 1.0)]  # a configuration of which one seed diverged
    trained(tmp_path, ends)
    wanted = planned(tmp_path, "--samples", "9", "--start-from", "earlier")
    assert [one.get("model.beta") for one in wanted.begins.first] == [None, 3.0]
    some, _ = learned(Storage(str(tmp_path)), "earlier", wanted.space.config, [], "images")
    assert len(some) == 3


def test_a_forgotten_run_is_neither_tried_again_nor_learned_from(tmp_path: Path):
    trained(tmp_path, [(begun(model__beta=float(beta)), "finished", float(beta), 20.0) for beta in (1, 2, 3)])
    best = results.outcomes(str(tmp_path), "earlier").sort_values("best")["run"].iloc[0]
    forget(Storage(str(tmp_path)), "earlier", results.new_attempt(), best, "its images were others")
    wanted = planned(tmp_path, "--samples", "9", "--start-from", "earlier")
    assert [one.get("model.beta") for one in wanted.begins.first] == [None, 2.0, 3.0]
    some, line = learned(Storage(str(tmp_path)), "earlier", wanted.space.config, [], "images")
    assert sorted(score.value for _, score in some) == [2.0, 3.0], line


def test_a_sampler_learns_from_the_runs_that_compare(tmp_path: Path):
    ends = [
        (begun(model__beta=1.0), "finished", 1.0, 20.0),
        (begun(model__beta=1.0, seed=1), "finished", 2.0, 20.0),
        (begun(model__beta=2.0), "stopped", 3.0, 2.0),
        (begun(model__beta=4.0), "failed", None, 1.0),
        (begun(model__beta=5.0, evaluate__images=77), "finished", 1.0, 20.0),
    ]
    trained(tmp_path, ends)
    wanted = planned(tmp_path, "--sampler", "tpe", "--start-from", "earlier")
    config, storage = wanted.space.config, wanted.asked.storage
    found, line = learned(storage, "earlier", config, [], "images")
    scores = {settings["model.beta"]: score for settings, score in found}
    assert scores[1.0] == Score(1.5, 20, True)
    assert scores[2.0] == Score(3.0, 2, False)
    assert scores[4.0].value != scores[4.0].value
    assert scores.keys() == {1.0, 2.0, 4.0}
    assert line == ("start-from earlier: the sampler learns from 4 of 5 ended runs (1 go by another protocol)")
    _, line = learned(storage, "earlier", config, [], "others")
    assert line.endswith("learns from 0 of 5 ended runs (5 go by other images)")


def test_what_was_learned_is_on_record_before_the_first_proposal(tmp_path: Path):
    """The earlier experiment grows, and is deleted: the search proposes what it would have proposed."""
    ends = [(begun(model__beta=0.05 * 1.4**n), "finished", abs(n - 9.0), 20.0) for n in range(14)]
    trained(tmp_path, [*ends, (begun(model__beta=9.0), "failed", None, 1.0), (begun(), "stopped", 1.0, 2.0)])
    storage = Storage(str(tmp_path))

    def submitted() -> tuple[list[object], list[str]]:
        wanted = planned(tmp_path, "--sampler", "tpe", "--samples", "20", "--start-from", "earlier")
        names.write_note(storage, "new", wanted.note("images"))
        attempt, hashes = results.new_attempt(), {wanted.configs[0].data: "images"}
        slot = results.Slot(storage, "new", f"{attempt}-proposals", kind="proposed")
        supply, lines = supply_of(Plans([wanted]), hashes, names.Names(storage, "new"), slot, attempt)
        return [supply.parts[0].sampler.propose(number) for number in range(9)], lines

    first, told = submitted()
    assert told == ["start-from earlier: the sampler learns from 16 of 16 ended runs"]
    (row,) = results.events(storage, "new", kind="learned").to_dict("records")
    assert (row["run"], row["decision"], row["why"]) == ("", "earlier", told[0])
    assert "NaN" not in row["detail"]
    trained(tmp_path, [(begun(model__beta=0.05 * 1.4**n, seed=1), "finished", n * 9.0, 20.0) for n in range(14)])
    again, told = submitted()
    assert again == first
    assert told == ["start-from earlier: the sampler goes on with what it learned from 16 configurations of it"]
    shutil.rmtree(tmp_path / "earlier")
    assert submitted()[0] == first
    assert len(results.events(storage, "new", kind="learned")) == 1
    (tmp_path / "new" / "events").rename(tmp_path / "gone")  # of an earlier version
    with pytest.raises(ValueError, match="start-from=earlier is no experiment"):
        submitted()


def test_configurations_of_a_file(tmp_path: Path):
    listed = [{"model.beta": 4}, {"model": {"likelihood": "gaussian", "likelihood.variance": "pixel"}}]
    for name, text in {"a.json": json.dumps(listed), "b.jsonl": "\n".join(map(json.dumps, listed))}.items():
        (tmp_path / name).write_text(text)
        wanted = planned(tmp_path, "--samples", "3", "--start-from", str(tmp_path / name))
        assert [flat(one)["model.beta"] for one in wanted.configs] == [0.25, 4.0, 0.25]
        assert flat(wanted.configs[2])["model.likelihood.variance"] == "pixel"
        names.write_note(wanted.asked.storage, "new", wanted.note("images"))
        assert planned(tmp_path, "--samples", "3").configs == wanted.configs  # its note has them


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "holds no configuration"),
        ("[3]", "configuration 1 is no JSON object"),
        ('[{}, {"model.betta": 1}]', "configuration 2: unknown setting model.betta; nearest valid: model.beta"),
        ('{"model.beta": "much"}', "configuration 1: model.beta='much' is of the wrong type"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str | None, expected: str, tmp_path: Path):
    file = tmp_path / "known.json"
    if text is not None:
        file.write_text(text)
    refused(tmp_path, ["--start-from", str(file)], expected)


def test_what_is_no_earlier_experiment_is_refused(tmp_path: Path):
    refused(tmp_path, ["--start-from", "nowhere"], "start-from=nowhere is no experiment in")
    refused(tmp_path, ["--start-from", "new"], "start-from=new is the search's own name")
    trained(tmp_path / "storage", [(override(ZOO["vae_mlp"], {"seed": 1}).resolve(), "finished", 1.0, 1.0)])
    refused(tmp_path, ["--start-from", "earlier"], "has no runs of entry vqvae; it has some of vae_mlp")


def refused(place: Path, arguments: list[str], expected: str) -> None:
    asked = ["--entry", "vqvae", "--storage", str(place / "storage"), "--name", "new", *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
