"""jobs.tune over few labels: numbers of labels, seeds and entries are one search and one query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from gen import results
from gen.config import flat, identity
from gen.on_ray.preflight import check_name
from gen.record.names import write_note
from gen.zoo import ZOO
from jobs import tune
from jobs.plan import Plan, plan
from jobs.several import Plans, plans

LABELS = ["--search", "data.labels=20,50"]


@pytest.fixture(autouse=True)
def digits_once(monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", cache)


def options(entry: str, *arguments: object) -> dict[str, object]:
    return tune.main.make_context("tune", ["--entry", entry, *map(str, arguments)]).params


def planned(entry: str, *arguments: object) -> Plan:
    return plan(options(entry, *arguments))


def together(*arguments: object) -> Plans:
    return plans(options("classifier,sgan", *arguments))


def test_each_configuration_is_trained_with_each_number_of_labels_and_each_seed():
    wanted = planned("classifier", *LABELS, "--samples", 3, "--seeds", 2, "--seed", 7, "--set", "data.label_seed=4")
    data = [(one.data.labels, one.seed, one.data.label_seed) for one in wanted.configs]
    assert data == [(20, 7, 4), (20, 8, 5), (50, 7, 4), (50, 8, 5)] * 3
    rates = [flat(one)["model.classifier_optimizer.rate"] for one in wanted.configs]
    assert [len(set(rates[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert len(set(rates)) == 3
    assert {one.evaluate.full for one in wanted.configs} == {"all"}
    assert wanted.space.grace == wanted.space.config.budget.epochs
    assert wanted.about()["each"] == {"data.labels": [20, 50]}


def test_the_seeds_of_any_search_of_few_labels_draw_them_anew():
    few = planned("classifier", "--labels", 20, "--samples", 1, "--seeds", 3)
    assert [(one.seed, one.data.label_seed) for one in few.configs] == [(0, 0), (1, 1), (2, 2)]
    assert few.space.grace < few.space.config.budget.epochs  # they may be stopped
    whole = planned("classifier", "--labels", 0, "--samples", 1, "--seeds", 3)
    assert [(one.seed, one.data.label_seed) for one in whole.configs] == [(0, 0), (1, 0), (2, 0)]


def test_a_space_that_draws_nothing_is_the_entry_as_it_is():
    wanted = planned("classifier", *LABELS, "--space", "none")
    assert [one.data.labels for one in wanted.configs] == [20, 50]
    assert {one.model for one in wanted.configs} == {ZOO["classifier"].model}


def test_each_run_has_a_data_set_of_its_own_and_all_the_same_held_out_images():
    wanted = planned("sgan", *LABELS, "--space", "none", "--seeds", 2)
    wanted.open()
    assert len(wanted.datasets) == 4
    assert len({dataset.hash for dataset in wanted.datasets.values()}) == 4
    assert len({dataset.held_out for dataset in wanted.datasets.values()}) == 1
    for data, dataset in wanted.datasets.items():
        assert dataset.count("train", "label") == data.labels


def test_the_labelled_images_of_a_seed_are_the_same_for_all_entries():
    wanted = together(*LABELS, "--seeds", 2, "--space", "none", "--storage", "nowhere")
    datasets, labelled = wanted.open(), defaultdict(list)
    for config in wanted.configs:
        labelled[config.data.labels, config.seed].append(datasets[config.data].column("train", "image"))
    assert len(labelled) == 4
    for own, other in labelled.values():
        assert torch.equal(own, other)
    assert not torch.equal(labelled[20, 0][0], labelled[20, 1][0])
    assert wanted.by == ["entry", "data.labels"]
    assert {part.asked.name for part in wanted.parts} == {"classifier-sgan-digits"}
    assert together("--name", "own").first.asked.name == "own"


@pytest.mark.parametrize(
    ("entry", "arguments", "expected"),
    [
        (
            "sgan",
            [*LABELS, "--metric", "frechet/fakes"],
            "with data.labels, which vary; use accuracy/images",
        ),
        (
            "sgan",
            ["--labels", "20", "--seeds", "2", "--metric", "frechet/fakes"],
            "with data.label_seed, which vary; use accuracy/images",
        ),
        ("dcgan_28", LABELS, "with data.labels, which vary"),
        ("vae_mlp", LABELS, "with data.labels, which vary; use"),
        (
            "classifier",
            [*LABELS, "--grace", "1"],
            "grace=1 would stop runs for their data.labels, by which they are to be",
        ),
        ("classifier,sgan", ["--labels", "20", "--grace", "1"], "grace=1 would stop runs for their entry"),
        ("classifier", ["--search", "data.labels=20,soon"], "data.labels"),
        ("classifier", ["--search", "data.labels=5"], "labels=5 is not allowed: of 1"),
        ("classifier", ["--search", "data.label_seed=1,2"], "data.label_seed cannot be searched"),
        ("classifier", ["--search", "data.validation=0.1,0.2"], "data.validation cannot be searched"),
        (
            "classifier,vqvae",
            ["--labels", "20"],
            "not steered by the same figure: classifier by accuracy/images, vqvae by mse",
        ),
        ("gan_mlp,dcgan_28", [], "the runs' validation and test images are not the same: hashes digits, labels=0: "),
        ("vae_mlp,cvae", [], "metric='bound/images' changes its scale with model."),
        ("classifier,beauty", [], "unknown entry 'beauty'"),
        (",", [], "entry=',' names none"),
    ],
)
def test_what_does_not_compare_is_refused(entry: str, arguments: list[str], expected: str, tmp_path: Path):
    asked = ["--entry", entry, "--storage", str(tmp_path / "storage"), "--samples", "2", *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "storage").exists()


def test_the_name_stands_for_its_entries_and_its_numbers_of_labels_and_may_grow(tmp_path: Path):
    storage = results.Storage(str(tmp_path))

    def notes(
        *arguments: object, entries: str = "classifier,sgan", labels: str = "20,50"
    ) -> dict[str, dict[str, object]]:
        wanted = plans(options(entries, "--search", f"data.labels={labels}", "--samples", 4, "--epochs", 4, *arguments))
        return dict(wanted.notes({data: dataset.hash for data, dataset in wanted.open().items()}))

    for entry, note in notes().items():
        write_note(storage, "name", note, entry)
    for grown in (notes("--seeds", 3), notes("--epochs", 5), notes("--samples", 9)):
        assert list(grown) == ["", "sgan"]
        for entry, note in grown.items():
            check_name(storage, "name", note, entry)
    other = notes(entries="classifier")[""]
    with pytest.raises(ValueError, match="in use with other settings: entries was"):
        check_name(storage, "name", other)
    other = notes(labels="20,100")[""]
    with pytest.raises(ValueError, match=r"search.each was .*20, 50.*, now .*20, 100"):
        check_name(storage, "name", other)
    with pytest.raises(ValueError, match=r"search.named was absent, now"):
        check_name(storage, "name", notes("--space", "none")["sgan"], "sgan")


def test_a_search_of_labels_seeds_and_entries_is_one_query(run_job: Callable, judged: Callable, tmp_path: Path):
    arguments = ["--entry", "classifier,sgan", *LABELS, "--seeds", 2, "--space", "none", "--max-concurrent", 1]
    arguments += [
        "--set",
        "evaluate.full_images=350",  # of fewer images two accuracies are equal by chance
        "--set",
        "evaluate.images=60",
        "--set",
        "model.classifier.width=8",
    ]
    arguments += ["--storage", judged(tmp_path), "--name", "labels", "--epochs", 2]
    done = run_job("tune", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels: 8 runs, 0 on record" in done.stdout
    table = results.compare(str(tmp_path), "labels")
    assert list(zip(table["entry"], table["data.labels"], table["n"], strict=True)) == [
        ("classifier", 20, 2),
        ("classifier", 50, 2),
        ("sgan", 20, 2),
        ("sgan", 50, 2),
    ]
    assert (table["low"] < table["mean"]).all()
    assert (table["mean"] < table["high"]).all()
    assert set(table["validation_images"]) == {60}
    assert table.to_string() in done.stdout
    begun = results.runs(str(tmp_path), "labels")
    assert begun["data_hash"].nunique() == 4
    assert begun["held_out"].nunique() == 1
    assert set(results.outcomes(str(tmp_path), "labels")["epochs"]) == {2.0}
    wanted = plans(options(*arguments[1:]))  # submitted again, it would find each of them
    datasets = wanted.open()
    assert set(begun["run"]) == {identity(one, datasets[one.data].hash) for one in wanted.configs}
