"""jobs.sample on a small finished experiment: files, their names, and what is refused."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import gen
from gen import results
from gen.config import override
from gen.data.dataset import open_dataset
from gen.engine import Home, fit
from gen.engine.build import build_model
from gen.pictures import Scene
from gen.pictures.curves import Shown, plot
from gen.pictures.files import CAPTION
from gen.pictures.kinds import STEPS, use
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny
from jobs import curves, evaluate, sample
from jobs.runs import find_run
from jobs.stored import find
from tests.fixtures.pictures import encoded, files, noise, write

pytestmark = pytest.mark.slow

SEEDS = 2
EVALUATE = {
    **dict.fromkeys(["metrics", "images", "importance_samples", "features", "inception_weights", "data_root"]),
    "splits": (),
    "device": "cpu",
    "workers": 1,
    "download": False,
}


@pytest.fixture(scope="module")
def place(judged: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment "books" of two runs of a VQ-VAE."""
    place = tmp_path_factory.mktemp("place")
    judged(place / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", str(place / "cache"))
        config = override(tiny(ZOO["vqvae"]), {"budget.epochs": 2, "evaluate.full_images": 100, "train.batch": 128})
        for seed in range(SEEDS):
            home = Home(Storage(str(place / "results")), "books", f"attempt{seed}")
            seeded = dataclasses.replace(config, seed=seed)
            *_, last = fit(seeded, open_dataset(config.data), device=torch.device("cpu"), home=home)
            assert last.ended == "finished"
    return place


@pytest.fixture(autouse=True)
def cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", str(place / "cache"))


def run(place: Path, *arguments: str) -> Result:
    storage = ["--storage", str(place / "results"), "--name", "books"]
    return CliRunner().invoke(sample.main, [*storage, *arguments])


def best(place: Path) -> str:
    return str(results.leaderboard(str(place / "results"), "books").sort_values("steering")["run"].iloc[0])


def test_pictures_of_the_best_run_are_named_by_experiment_run_and_kind(place: Path, tmp_path: Path) -> None:
    done = run(place, "--out", str(tmp_path / "pictures"), "--kinds", "code-use, reconstructions")
    assert done.exit_code == 0, done.output
    lines = [line.split("  ", 1) for line in done.stdout.splitlines()]
    files = [tmp_path / "pictures" / f"books-{best(place)}-{kind}.png" for kind in ("code-use", "reconstructions")]
    assert [Path(path) for path, _ in lines] == files
    assert sorted((tmp_path / "pictures").iterdir()) == sorted(files)
    for path, (_, text) in zip(files, lines, strict=True):
        assert Image.open(path).format == "PNG"
        assert "of vqvae on digits, epoch" in text
        assert f"test images; run {best(place)} of books" in text
        assert Image.open(path).text["Description"] == text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--kinds", "codeuse"], "kind 'codeuse' cannot be drawn of this model; allowed: reconstructions, code-map"),
        (["--kinds", "fakes"], "'fakes' cannot be drawn"),
        (["--kinds", ","], "kinds=',' names none"),
        (["--curves", ","], "curves=',' names none"),
        (["--pair", "0"], "pair '0' is not I,J"),
        (["--pair", "0,x"], "pair '0,x' is not I,J"),
        (["--pair", "0,1"], "pair=0,1: no picture here joins two images of vqvae; leave it out"),
        (["--pair", "0,360"], "image 360, but test has images 0 to 359"),
        (["--run", "nosuch"], "has no stored weights"),
        (["--curves", "distorsion"], "no metric 'distorsion'"),
        (["--name", "other"], "no experiment 'other'"),
    ],
)
def test_refusals_are_one_line(place: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run(place, "--out", str(tmp_path / "pictures"), *arguments)
    assert done.exit_code == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_an_entry_that_makes_no_images_says_so(tmp_path: Path) -> None:
    config = override(tiny(ZOO["classifier"]), {"budget.epochs": 1, "evaluate.full": "none", "data.labels": 10})
    home = Home(Storage(str(tmp_path / "results")), "books", "attempt")
    list(fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home))
    done = run(tmp_path, "--out", str(tmp_path / "out"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: classifier makes no images, and there is nothing to draw but --surface")


def test_a_run_by_the_beginning_of_its_id(place: Path, tmp_path: Path) -> None:
    run_id, all_runs = best(place), sorted(results.runs(str(place / "results"), "books")["run"])
    short = next(run_id[:end] for end in range(1, 17) if sum(one.startswith(run_id[:end]) for one in all_runs) == 1)
    for asked in (["--kinds", "reconstructions"], ["--curves", "perplexity"]):
        done = run(place, "--out", str(tmp_path), "--run", short, *asked)
        assert done.exit_code == 0, done.output
    assert sorted(path.name.split("-")[1] for path in tmp_path.iterdir()) == [run_id] * 2
    both = run(place, "--out", str(tmp_path), "--run", "", "--curves", "perplexity")
    assert both.exit_code == 2
    assert f"is the beginning of 2 names: {', '.join(all_runs)}; give more of the one" in both.stderr
    storage = Storage(str(place / "results"))
    assert find_run(storage, f"books/{short}") == find_run(storage, short) == ("books", run_id)
    assert gen.load(storage, "books", short).run == run_id
    asked = find(storage=storage.place, name="books", runs=[short], best=None, **EVALUATE)
    assert [one.run for one in asked.stored] == [run_id]


def test_the_best_weights_so_far_of_a_run_that_goes_on(place: Path, tmp_path: Path) -> None:
    config = override(tiny(ZOO["vqvae"]), {"budget.epochs": 9, "evaluate.images": 60, "train.batch": 128})
    going_on = {}
    for seed in range(2):
        home = Home(Storage(str(place / "results")), "going-on", f"attempt{seed}")
        ticks = fit(
            dataclasses.replace(config, seed=seed), open_dataset(config.data), device=torch.device("cpu"), home=home
        )
        for number, tick in enumerate(ticks):
            if number == seed:
                ticks.close()  # as one that is killed, or saves a checkpoint and goes on
                going_on[tick.best] = tick.epoch
    done = run(place, "--out", str(tmp_path), "--name", "going-on", "--kinds", "reconstructions")
    assert done.exit_code == 0, done.output
    assert f"epoch {going_on[min(going_on)]:g}, the best so far of a run that has not ended, test images" in done.stdout


def test_images_that_changed_since_are_not_drawn(tmp_path: Path) -> None:
    """More of them are cut anew: what the run trained on would be called test images."""
    source = write(tmp_path / "set", files(40))
    settings = {"data.name": f"images:{source}", "budget.epochs": 1, "evaluate.full_images": 10, "train.batch": 16}
    config = override(tiny(ZOO["vqvae"]), settings)
    home = Home(Storage(str(tmp_path / "results")), "books", "attempt")
    assert [tick.ended for tick in fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home)]
    asked = ["--kinds", "reconstructions", "--out", str(tmp_path / "pictures")]
    assert run(tmp_path, *asked).exit_code == 0
    write(tmp_path / "set", {"more.png": encoded(noise(77))})
    changed = run(tmp_path, *asked, "--split", "train")
    assert changed.exit_code == 2
    assert "bring the same files" in changed.stderr
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_the_use_of_codes_is_that_of_each_image_once_where_few_have_labels() -> None:
    config = override(tiny(ZOO["vqvae"]), {"data.labels": 30})
    dataset = open_dataset(config.data)
    scene = Scene(dataset, torch.device("cpu"), split="train")
    assert len(scene) > scene.count == 30
    assert scene.images == "30 train images of digits"
    model = build_model(config, dataset, torch.device("cpu")).eval()
    codes = model.codes(scene.rows(torch.arange(30)))
    assert int(use(model, scene).sum()) == codes.numel()


def test_curves_of_all_runs_and_of_one(place: Path, tmp_path: Path) -> None:
    done = run(place, "--out", str(tmp_path), "--curves", "commitment,mse/reconstructions")
    assert done.exit_code == 0, done.output
    one = run(place, "--out", str(tmp_path), "--curves", "perplexity", "--run", best(place))
    assert one.exit_code == 0, one.output
    names = ["books-curves-commitment", "books-curves-mse", f"books-{best(place)}-curves-perplexity"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in names)
    assert f"runs: {SEEDS} of books on digits" in done.stdout
    for path in tmp_path.iterdir():
        assert Image.open(path).text["Description"] in done.stdout + one.stdout
    assert "autoencoder/mse (train), mse/reconstructions (validation) by epoch" in done.stdout
    assert "autoencoder/perplexity (train), perplexity/images (validation) by epoch; runs: 1" in one.stdout


def test_the_curves_are_the_tables_numbers(place: Path) -> None:
    storage = str(place / "results")
    frame = results.curves(storage, "books", ["perplexity"])
    runs = list(sample.rank_runs(Storage(storage), "books")["run"])
    assert runs[0] == best(place)
    shown = curves.legend_of(results.settings(storage, "books"), runs)
    assert {one.configuration for one in shown.values()} == {f"{runs[0][:6]} (2 seeds)"}
    assert sorted(one.seed for one in shown.values()) == [f"seed={seed}" for seed in range(SEEDS)]
    (axes,) = plot(frame, shown, "perplexity").axes
    lines = {line.get_gid(): line for line in axes.lines}
    metrics, evals = results.metrics(storage, "books"), results.evals(storage, "books", scope="tick")
    names = {"autoencoder/perplexity": "--", "perplexity/images": "-"}
    for run in runs:
        trained = metrics[(metrics["run"] == run) & (metrics["name"] == "autoencoder/perplexity")]
        judged = evals[(evals["run"] == run) & (evals["metric"] == "perplexity")]
        for rows, (name, style) in zip((trained, judged), names.items(), strict=True):
            rows = rows.sort_values("epoch")
            line = lines.pop(f"{run} {name}")
            assert np.array_equal(line.get_xdata(), rows["epoch"].to_numpy())
            assert np.array_equal(line.get_ydata(), rows["value"].to_numpy())
            assert line.get_linestyle() == style
    means = frame.groupby(["name", "epoch"])["value"].mean()
    assert len(lines) == len(names)
    for name in names:
        (line,) = (one for gid, one in lines.items() if gid.endswith(name))
        assert line.get_ydata().tolist() == pytest.approx(means[name].to_list())


def test_runs_beyond_the_best_are_grey_and_one_of_a_configuration_has_no_mean(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen.pictures.curves.SHOWN", 1)
    frame = results.curves(str(place / "results"), "books", "perplexity")
    runs = sorted(frame["run"].unique())
    figure = plot(frame, {run: Shown(f"configuration {run}") for run in runs}, "perplexity")
    (axes,) = figure.axes
    assert len(axes.lines) == 2 * SEEDS
    for line in axes.lines:
        assert (str(line.get_color()) == "0.85") == line.get_gid().startswith(runs[1])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][2:] == [f"configuration {runs[0]}", "1 others"]


def test_a_diverged_run_leaves_a_gap(place: Path) -> None:
    frame = results.curves(str(place / "results"), "books", ["mse/reconstructions"])
    frame["value"] = frame["value"].where(frame["tick"] == 1)
    (axes,) = plot(frame, dict.fromkeys(frame["run"], Shown("run", "seed")), "mse").axes
    for line in axes.lines:
        assert np.isfinite(line.get_ydata()).tolist() == [True, False]


@pytest.fixture(scope="module")
def game(place: Path) -> Path:
    """Experiments of a game in the same place: "game" with the grids that every game's run stores, "every" with one for
    each tick, "seen" without any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFLEET_CACHE", str(place / "cache"))
        settings = {"budget.epochs": 3, "evaluate.full_images": 100, "train.batch": 128}
        for name, more in {"game": {}, "every": {"evaluate.pictures": 1}, "seen": {"evaluate.full": "none"}}.items():
            config = override(tiny(ZOO["gan_mlp_small"]), {**settings, **more})
            home = Home(Storage(str(place / "results")), name, "attempt")
            *_, last = fit(config, open_dataset(config.data), device=torch.device("cpu"), home=home)
            assert last.ended == "finished"
    return place


@pytest.mark.parametrize("name", ["game", "every"])
def test_a_history_has_a_frame_for_each_of_the_weights_whose_grids_are_stored(
    name: str, game: Path, tmp_path: Path
) -> None:
    done = run(game, "--name", name, "--history", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    stored = results.samples(str(game / "results"), name).sort_values("step")
    (made,) = tmp_path.iterdir()
    assert made.name == f"{name}-{stored['run'].iloc[0]}-history-fakes.gif"
    assert f"fakes over training, {len(stored)} frames, epochs 1 to 3" in done.stdout
    movie = Image.open(made)
    assert movie.n_frames == len(stored) >= (3 if name == "every" else 2)
    for number, png in enumerate(stored["png"]):
        movie.seek(number)
        grid = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        shown = np.asarray(movie.convert("L"))
        assert np.array_equal(shown[-len(grid) :], grid)
        assert (len(shown) - len(grid)) % CAPTION == 0
        assert (shown[: -len(grid)] < 128).any()
    assert f"of gan_mlp_small on digits; run {stored['run'].iloc[0]} of {name}" in movie.info["comment"].decode()


def test_lines_between_two_latents_are_a_grid_and_an_animation(game: Path, tmp_path: Path) -> None:
    done = run(game, "--name", "game", "--interpolate", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    made = {path.suffix: Image.open(path) for path in tmp_path.iterdir()}
    assert set(made) == {".png", ".gif"}
    assert made[".gif"].n_frames == STEPS
    assert made[".gif"].info["comment"].decode() in done.stdout


def test_the_surface_of_either_player(game: Path, tmp_path: Path) -> None:
    first = run(game, "--name", "game", "--surface", "--points", "3", "--out", str(tmp_path))
    other = run(game, "--name", "game", "--surface", "--points", "3", "--player", "generator", "--out", str(tmp_path))
    assert [first.exit_code, other.exit_code] == [0, 0], first.output + other.output
    assert "loss of the critic of gan_mlp_small on digits, epoch" in first.stdout
    ends = sorted(path.name.split("-", 2)[2] for path in tmp_path.iterdir())
    assert ends == ["surface-critic.png", "surface-generator.png"]
    assert all(Image.open(path).format == "PNG" for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("seen", ["--history"], "has too few pictures to show its history, which takes two; stored: none"),
        ("books", ["--history"], "stored: reconstructions (1); train with --set evaluate.pictures=1"),
        ("game", ["--history", "--kinds", "classes"], "has too few pictures to show its history"),
        ("books", ["--interpolate"], "kind 'interpolation' cannot be drawn of this model"),
        ("game", ["--interpolate", "--surface"], "--surface and --interpolate draw different things; say one of them"),
        ("game", ["--history", "--curves", "fake"], "--curves and --history draw different things"),
        ("game", ["--interpolate", "--kinds", "fakes"], "kinds=fakes does not go with --interpolate"),
        ("game", ["--player", "critic"], "player=critic belongs to --surface"),
        ("game", ["--surface", "--player", "judge"], "player='judge' is not of this model; allowed: critic, generator"),
        ("game", ["--surface", "--points", "10"], "points=10 is even"),
        ("game", ["--surface", "--span", "0"], "span=0 is out of range"),
    ],
)
def test_refusals_of_what_a_game_shows_are_one_line(
    name: str, arguments: list[str], expected: str, game: Path, tmp_path: Path
) -> None:
    test_refusals_are_one_line(game, tmp_path, ["--name", name, *arguments], expected)


@pytest.mark.parametrize("text", ["{}/", "./{}", "../{}", ".", "/", "{}\n", "r" * 300])
def test_a_run_is_named_by_its_name_and_not_by_a_path(place: Path, text: str, tmp_path: Path) -> None:
    asked = text.format(best(place))
    for arguments in (["--run", asked], ["--run", asked, "--dry-run"], ["--run", asked, "--history"]):
        done = run(place, "--out", str(tmp_path), *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: no run {asked!r} in experiment books; there are: ")
        assert done.stderr.count("\n") == 1
    with pytest.raises(ValueError, match="no run"):
        gen.load(str(place / "results"), "books", run=asked)


def test_damaged_weights_are_one_line(place: Path, tmp_path: Path) -> None:
    (file,) = (place / "results" / "books" / "_checkpoints" / best(place)).glob("best-*.pt")
    data = file.read_bytes()
    file.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    try:
        drawn = run(place, "--out", str(tmp_path))
        asked = ["--run", best(place), "--metrics", "psnr", "--split", "train", "--images", "50", "--device", "cpu"]
        measured = CliRunner().invoke(evaluate.main, ["--storage", str(place / "results"), "--name", "books", *asked])
    finally:
        file.write_bytes(data)
    for done in (drawn, measured):
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {file} is not a checkpoint (")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
