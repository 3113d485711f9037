"""jobs.tune: losers end early, what is done is found again, and no way of ending it loses or doubles anything."""

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from ray.job_submission import JobStatus, JobSubmissionClient

from gen import results
from gen.config import override
from gen.results.manifest import shortfall
from gen.results.survey import survey
from jobs import tune
from jobs.plan import plan, seconds
from tests.conftest import GIVE_UP, ROOT, RayCluster, wait_for
from tests.jobs.test_tensorboard import check_files

SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--name", "search", "--max-concurrent", 2]
GAME = ["--entry", "gan_mlp_small", "--set", "model.latent=8", "--name", "search"]
IN_ORDER = ["--max-concurrent", 1]  # who comes to a rung first, and so who is stopped there, is no matter of speed
LEADER = ["--set", "evaluate.leaders=1"]  # each may be measured in a process of its own
FEW = ["--set", "evaluate.images=100", "--set", "evaluate.full_images=100"]
MANY = 40  # runs that a search has which ends early: far more than it comes to
KEYS = {
    "metrics": ["run", "tick", "name"],
    "evals": ["run", "tick", "scope", "split", "protocol"],
    "samples": ["run", "tick", "kind"],
    "runs": ["run"],
    "outcomes": ["run"],
}


def check(place: Path | str, runs: int) -> None:
    """Every run ended once, with all its rows once, and as the decisions on record say."""
    tables = {name: results.queries.read(str(place), "search", name) for name in (*KEYS, "events")}
    for name, keys in KEYS.items():
        assert not tables[name].duplicated(keys).any(), name
    ends = tables["outcomes"].set_index("run")
    assert len(ends) == len(tables["runs"]) == runs
    ticks = tables["metrics"].groupby("run")["tick"].agg(lambda ticks: sorted(set(ticks)))
    for run, end in ends.iterrows():
        assert ticks[run] == list(range(1, int(end["epochs"]) + 1))
    rungs = tables["events"][tables["events"]["kind"] == "rung"]
    rung, of = (rungs["detail"].map(lambda detail, key=key: json.loads(detail).get(key)) for key in ("rung", "of"))
    assert not rungs.assign(rung=rung)[of != 0].duplicated(["run", "rung"]).any()  # 0: siblings were awaited
    # every stop is a decision on record, and its run ended there
    stops = rungs[rungs["decision"] == "stop"].set_index("run")
    stopped = ends[ends["status"] == "stopped"]
    assert set(stops.index) == set(stopped.index)
    assert all(stops.loc[run, "epoch"] == stopped.loc[run, "epochs"] for run in stops.index)
    details = map(json.loads, stops["detail"])
    values = [
        (detail["cutoff"], detail.get("mean", value)) for detail, value in zip(details, stops["value"], strict=True)
    ]
    assert all(cutoff <= value for cutoff, value in values)


def check_noted(storage: results.Storage) -> None:
    """Each file of proposals, decisions and floors that is lost is missed."""
    assert survey(storage, "search").faults() == []
    assert shortfall(storage, "search") == ""
    starts = ("proposed", "slot", "evaluated")
    names = [name for name in storage.list("search/events") if name.startswith(starts)]  # runs tell of resumptions
    assert {name.partition("-")[0] for name in names} == set(starts)
    for name in names:
        data = storage.get(f"search/events/{name}")
        storage.delete(f"search/events/{name}")
        assert re.search(r"search lacks .*: \d+ rows? of events\b", shortfall(storage, "search")), name
        storage.put(f"search/events/{name}", data)


def test_search(run_job: Callable, tmp_path: Path):
    asked = [*IN_ORDER, "--max-epochs", 4, "--samples", 4, "--seeds", 2, "--seed", 2, "--reduction", 2, "--tensorboard"]
    asked += LEADER
    done = run_job("tune", *SMALL, *asked, "--storage", tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path, 8)
    check_files(tmp_path, "search", [])  # the leaders' grids are in the tables alone
    ends = results.outcomes(str(tmp_path), "search")
    assert not (tmp_path / "search" / "_ray").exists()  # what Tune keeps of each trial is of no use
    check_noted(results.Storage(str(tmp_path)))
    assert all(any(folder.iterdir()) for folder in (tmp_path / "search" / "_checkpoints").iterdir())
    assert set(ends["status"]) == {"finished", "stopped"}
    board = results.leaderboard(str(tmp_path), "search")
    assert sorted(board["seed"]) == [2] * 4 + [3] * 4
    assert [sorted(seeds) for _, seeds in board.groupby("rate")["seed"]] == [[2, 3]] * 4
    assert (board.groupby("rate")["epochs"].nunique() == 1).all()  # the seeds of one end at the same epoch
    finished, stopped = ((ends["status"] == status).sum() for status in ("finished", "stopped"))
    lines = done.stdout.splitlines()
    last = [line for line in lines if "running" in line][-1]
    assert f"0 running, {finished} finished, {stopped} stopped, 0 failed; best" in last
    assert last.endswith("(8 of 8)")
    told = [line.partition(":")[0] for line in lines if line.startswith("measured ")]
    assert told == ["measured 1 of 2 leaders", "measured 2 of 2 leaders"]  # the best run, and its other seed
    assert results.leaderboard(str(tmp_path), "search", by="config")["n"].tolist() == [2, 0, 0, 0]
    floors = results.events(str(tmp_path), "search", kind="floor")
    assert sorted({json.loads(detail)["split"] for detail in floors["detail"]}) == ["test", "validation"]
    assert floors["value"].notna().all()
    # submitted again, it measures what is asked for by now and missing, and nothing twice; who is forgotten is counted
    gone = ends["run"][ends["status"] == "stopped"].iloc[0]
    assert (
        run_job("board", "--name", "search", "--storage", tmp_path, "--forget", gone, "--why", "test").returncode == 0
    )
    again = run_job("tune", *SMALL, *asked, "--set", "evaluate.full=all", "--storage", tmp_path)
    assert again.returncode == 0, again.stderr
    assert "forgotten: 1 of 8 runs is ranked no more, not trained" in again.stdout
    measured = [line for line in again.stdout.splitlines() if line.startswith("measured ")]
    left = finished - 2
    assert [line.partition(":")[0] for line in measured] == [
        f"measured {number} of {left} runs" for number in range(1, left + 1)
    ]
    check(tmp_path, 8)
    pd.testing.assert_frame_equal(results.events(str(tmp_path), "search", kind="floor"), floors)  # not once more
    measured_in_full = results.evals(str(tmp_path), "search", scope="best")["run"]
    assert set(measured_in_full) == set(ends["run"][ends["status"] == "finished"])


def test_a_search_that_ends_early_in_every_way(
    ray_cluster: RayCluster, start_job: Callable, run_job: Callable, judged: Callable, s3: str
):
    """By `ray job stop`, which raises Ctrl-C (`test_a_stopped_driver_comes_back` sends one), killed, its time up: each
    time it goes on, and ends with a run more. All of that on object storage, and of a game, whose leader stores the
    grid of every tick."""
    place = judged(f"s3://key:secret@bucket/searched?endpoint_override={s3}&scheme=http")
    arguments = [*GAME, *IN_ORDER, *LEADER, *FEW, "--epochs", 3, "--grace", 3, "--set", "budget.checkpoint_seconds=0"]
    arguments += ["--storage", place]

    def ended() -> int:
        return len(results.outcomes(place, "search"))

    stopped_job(JobSubmissionClient(ray_cluster.dashboard), [*arguments, "--samples", MANY])
    before = ended()
    assert before >= 1
    process = start_job("tune", *arguments, "--samples", MANY)
    at_the_end_of_a_run(process)
    process.kill()
    process.communicate(timeout=GIVE_UP)
    assert process.returncode == -signal.SIGKILL
    assert ended() > before
    count = len(results.runs(place, "search")) + 1
    assert ended() < count < MANY
    some = run_job("tune", *arguments, "--samples", count, "--time-budget", "1s", "--confirm", 1)
    assert some.returncode == 0, some.stderr
    left = count - ended()
    assert left > 0
    assert f"the time is up with {left} runs to go" in some.stdout
    assert "confirm: nothing was confirmed, for the search has not ended; submit the same again to go on" in some.stdout
    on_record = results.outcomes(place, "search")
    done = run_job("tune", *arguments, "--samples", count + 1)  # samples may grow
    assert done.returncode == 0, done.stderr
    assert f"{count + 1} runs, {len(on_record)} on record" in done.stdout
    check(place, count + 1)
    assert set(on_record["attempt"]) < set(results.outcomes(place, "search")["attempt"])
    assert len(results.events(place, "search", kind="resume"))
    grids = results.samples(place, "search")
    leaders = set(results.evals(place, "search", scope="best")["run"])  # the time was up once before the end
    assert 1 <= len(leaders) <= 2
    assert sorted(zip(grids["run"], grids["tick"], strict=True)) == sorted(
        (run, t) for run in leaders for t in range(1, 4)
    )
    assert results.Storage(place).list("search/_history") == []


def at_the_end_of_a_run(process: subprocess.Popen[str]) -> None:
    """Returns when a search has told of a run that it ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(r" s  run \w+ finished at epoch [\d.]+: .*\(\d+ of \d+\)$", line):
            return
    raise AssertionError(f"the search told of no run: {process.communicate()}")


def stopped_job(client: JobSubmissionClient, arguments: list[object]) -> None:
    """Submits a search as a job, and stops it when a run has ended."""
    entrypoint = shlex.join(["python", "-m", "jobs.tune", *map(str, arguments)])
    job = client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": str(ROOT)})

    def log() -> str:
        return client.get_job_logs(job)

    begun = (JobStatus.PENDING, JobStatus.RUNNING)
    wait_for(lambda: f"(1 of {MANY})" in log() or client.get_job_status(job) not in begun, log)
    client.stop_job(job)
    wait_for(lambda: client.get_job_status(job).is_terminal(), log)
    assert client.get_job_status(job) == JobStatus.STOPPED, log()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--metric", "autoencoder/loss"], "do not compare by it; use mse/reconstructions"),
        (["--metric", "perplexity/images"], "with model.codebook.codes, which vary; use mse/reconstructions"),
        (["--metric", "engine/images_per_second"], "use mse/reconstructions"),
        (["--metric", "beauty/images"], "no figure of vqvae to search by; allowed: mse/reconstructions"),
        (["--mode", "max"], "mode=max contradicts the metric: of mse/reconstructions small values are good"),
        (["--set", "evaluate.mode=max"], "mode=max contradicts the metric: of mse/reconstructions small values are"),
        (["--metric", "perplexity/images", "--mode", "min"], "of perplexity/images large values are good"),
        (["--mode", "best"], "'best' is not one of 'min', 'max'"),
        (["--space", "wide"], "space='wide' is no search space of family vqvae; it has its own only"),
        (["--search", "seed=1,2"], "use --seeds"),
        (["--search", "data.size=4,8"], "data.size cannot be searched"),
        (["--search", "train.ema=0,0.9"], "not ranked together"),
        (["--seeds", "0"], "at least 1"),
        (["--max-concurrent", "-1"], "at least 0"),
        (["--epochs", "4", "--max-epochs", "5"], "say one of them"),
        (["--time-budget", "soon"], "30m"),
        (["--time-budget", "-3"], "30m"),
        (["--set", "evaluate.every=2", "--grace", "3"], "no multiple of evaluate.every=2"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments: list[str], expected: str, tmp_path: Path):
    asked = ["--entry", "vqvae", "--storage", str(tmp_path / "storage"), *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr
    assert not (tmp_path / "storage").exists()


LIKELIHOODS = ["--search", "model.likelihood=bernoulli,gaussian"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--metric", "autoencoder/loss"], "use bound/images"),  # a rate alone would reward collapse
        (["--metric", "importance_bound/images", *LIKELIHOODS], "changes its scale with model.likelihood, "),
        (["--metric", "bits_per_dimension/images", *LIKELIHOODS], "use frechet_classifier/fakes"),
        (["--metric", "active_units/images"], "with model.latent, which vary; use bound/images"),
        (["--metric", "mse"], "; use mse/reconstructions\n"),
        (["--metric", "frechet"], "; use frechet_classifier/fakes or frechet_classifier/reconstructions\n"),
        (["--metric", "unit_rate/images"], "no figure of vae_mlp to search by"),  # one a unit
    ],
)
def test_what_a_vae_cannot_be_searched_by(arguments: list[str], expected: str, tmp_path: Path):
    asked = ["--entry", "vae_mlp", "--storage", str(tmp_path / "storage"), *arguments]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2, result.output
    assert expected in result.stderr
    assert not (tmp_path / "storage").exists()


def planned(*arguments: str):
    """The plan of a command line."""
    return plan(tune.main.make_context("tune", ["--entry", "vqvae", *arguments]).params)


def test_plans():
    usual = planned()
    assert (usual.space.grace, usual.most, usual.seeds, usual.seconds) == (1, 0, 1, float("inf"))
    assert (usual.space.config.evaluate.metric, usual.space.config.evaluate.full) == ("mse/reconstructions", "leaders")
    assert planned("--set", "evaluate.full=all").space.config.evaluate.full == "all"
    assert planned("--mode", "min").space.config == usual.space.config
    assert planned("--set", "evaluate.every=2").space.grace == 2
    assert planned("--set", "evaluate.every=3").space.config.budget.epochs == 21  # the space's 20 end within a tick
    assert planned("--max-epochs", "7").space.config.budget.epochs == 7
    fixed = planned("--metric", "perplexity/images", "--set", "model.codebook.codes=64")  # its scale no longer varies
    assert fixed.space.config.evaluate.metric == "perplexity/images"
    fixed.open()
    many = planned("--samples", "3", "--seeds", "2", "--seed", "5")
    assert [config.seed for config in many.configs] == [5, 6] * 3
    assert [config.model for config in many.configs[::2]] == [config.model for config in many.configs[1::2]]
    assert [config.model for config in planned("--samples", "3", "--seed", "5").configs] == [
        config.model for config in many.configs[::2]
    ]
    with_decay = [config.model.codebook for config in planned("--samples", "20").configs[1:]]  # not the defaults
    default = usual.asked.config.model.codebook.decay
    assert all((codebook.decay == default) == (codebook.update == "loss") for codebook in with_decay)


BETAS = ["--search", "model.beta=1,2,4"]


def test_a_search_of_what_it_names_alone_leaves_the_entry_as_it_is():
    wanted = planned("--only", *BETAS, "--search", "train.batch=32,64", "--samples", "6")
    assert wanted.notice == ""
    assert sorted((one.model.beta, one.train.batch) for one in wanted.configs) == [
        (beta, batch) for beta in (1.0, 2.0, 4.0) for batch in (32, 64)
    ]
    plain = planned("--space", "none", "--samples", "1").configs[0]
    changed = {"model.beta": plain.model.beta, "train.batch": plain.train.batch}
    changed |= {"evaluate.metric": plain.evaluate.metric}
    assert {override(one, changed) for one in wanted.configs} == {plain}
    few = planned("--only", *BETAS, "--samples", "2", "--seed", "3")
    assert few.configs == planned("--only", *BETAS, "--samples", "3", "--seed", "3").configs[: len(few.configs)]


@pytest.mark.parametrize(
    ("arguments", "runs", "expected"),
    [
        (["--only", *BETAS, "--samples", "6"], 3, "6 samples are 3 different configurations: the space has no more"),
        (["--only", *BETAS], 3, ""),  # nobody asked for more
        (["--space", "none", "--samples", "2"], 1, "2 samples are 1 different configuration: the space has no more"),
        (["--samples", "4"], 4, ""),
    ],
)
def test_a_space_of_fewer_configurations_than_samples_says_so(arguments: list[str], runs: int, expected: str):
    wanted = planned(*arguments)
    assert len(wanted.configs) == runs
    assert wanted.notice == expected


def test_draws_that_miss_a_configuration_say_how_many_there_are():
    counts = set()
    for seed in range(8):
        wanted = planned("--space", "none", *BETAS, "--samples", "3", "--seed", str(seed))
        count = len(wanted.configs)
        counts.add(count)
        betas = {config.model.beta for config in wanted.configs[1:]}  # without the entry's own, which is none of them
        missed = f"3 samples are {count} different configurations: {3 - len(betas)} of the 3 that the space has are not"
        assert wanted.notice.startswith(missed) == (count < 3)
    assert counts > {2}


def test_a_dry_run_counts_too(tmp_path: Path):
    asked = ["--entry", "vqvae", "--storage", str(tmp_path), "--only", *BETAS, "--samples", "6", "--dry-run"]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["search"]["space"] == {"model.beta": [1.0, 2.0, 4.0]}
    assert result.stderr == "vqvae: 6 samples are 3 different configurations: the space has no more\n"


def test_times():
    assert [seconds("time-budget", text) for text in ("90", "90s", "30m", "2h", "1.5d")] == [90, 90, 1800, 7200, 129600]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epoch-budget", "0"], "epoch-budget=0 is out of range"),
        (["--device-budget", "much"], "device-budget='much' is no length of time"),
        (["--cost-budget", "-3", "--price", "1"], "cost-budget=-3 is out of range"),
        (["--cost-budget", "3"], "cost-budget goes with price: say --cost-budget AMOUNT and --price AMOUNT"),
        (["--samples", "0"], "samples=0 has no end; allowed: at least 1, or 0 with a limit"),
        (["--samples", "0", "--sampler", "grid", "--only", *BETAS], "a grid has one"),
        (["--samples", "100000000"], "allowed: up to 100000, or 0 with a limit"),
        (["--price", "3"], "price goes with cost-budget"),
        (
            ["--sampler", "grid"],
            "sampler=grid cannot try every value of model.beta, model.codebook, model.optimizer.rate",
        ),
        (["--sampler", "best"], "'best' is not one of 'random', 'grid', 'tpe'"),
    ],
)
def test_what_is_no_budget_or_sampler_is_refused(arguments: list[str], expected: str, tmp_path: Path):
    test_what_cannot_be_searched_is_refused(arguments, expected, tmp_path)


def test_budgets():
    usual = planned().budget
    assert not usual.limits
    asked = planned("--epoch-budget", "100", "--device-budget", "2h", "--cost-budget", "20", "--price", "2.5").budget
    assert (asked.epochs, asked.device_seconds, asked.money, asked.price) == (100, 7200, 20, 2.5)


def test_a_grid_is_all_of_its_combinations_after_the_defaults():
    values = ["--search", "model.beta=1,2", "--search", "train.batch=32,64", "--sampler", "grid"]
    pairs = [(beta, batch) for beta in (1.0, 2.0) for batch in (32, 64)]
    whole = planned("--space", "none", *values)
    assert [(one.model.beta, one.train.batch) for one in whole.configs] == [(0.25, 128), *pairs]
    assert whole.about()["sampler"] == "grid"
    assert whole.space.samples == 5
    alone = planned("--only", *values)
    assert [(one.model.beta, one.train.batch) for one in alone.configs] == pairs
    part = planned("--only", *values, "--samples", "3")
    assert part.configs == alone.configs[:3]
    assert part.notice == ""
    kinds = planned(
        "--only", "--sampler", "grid", "--search", "model.likelihood=mse,bernoulli,gaussian", "--samples", "9"
    )
    assert len(kinds.configs) == 3
    assert kinds.notice == "9 samples are 3 different configurations: the space has no more"
