"""Places that users name: half a URI, a user without a home, and a relative path inside a submitted job."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gen.data.places import cache_folder, normal
from gen.results.storage import Storage, local_path
from jobs import evaluate, prepare, sample, train
from jobs.places import INSIDE


@pytest.mark.parametrize(
    "place",
    [
        "",
        " ",
        "file://results",
        "file://~/results",
        "file:///~/results",
        "file:///",
        "file:results",
        "s3:/bucket",
        "S3:b",
    ],
)
def test_half_a_place_is_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for make in (Storage, normal):
        with pytest.raises(ValueError, match=r"^(a )?place .*; give a path") as caught:
            make(place)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_tells_no_secret():
    with pytest.raises(ValueError, match="is no URI") as caught:
        Storage("s3:/key:hush@bucket")
    assert "hush" not in str(caught.value)


def test_whole_places(tmp_path: Path):
    assert Storage(f"file://{tmp_path}").place == Storage(f"file://localhost{tmp_path}").place == str(tmp_path)
    assert Storage(str(tmp_path)).place == str(tmp_path)
    assert Storage("a:b").place == str(Path("a:b").absolute())


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="~nobody-here/x needs a home folder"):
        local_path("~nobody-here/x")
    monkeypatch.setenv("GENFLEET_CACHE", "~nobody-here/x")
    with pytest.raises(ValueError, match="cache folder ~nobody-here/x needs a home folder"):
        cache_folder()


@pytest.mark.parametrize(
    ("job", "arguments", "option"),
    [
        (train, ["--entry", "vae_mlp"], "storage=results"),
        (train, ["--entry", "vae_mlp", "--storage", "/mnt/x", "--data-root", "data"], "data-root=data"),
        (train, ["--entry", "vae_mlp", "--storage", "/mnt/x", "--data", "images:faces.zip"], "data.name=faces.zip"),
        (sample, ["--name", "x"], "out=."),
        (sample, ["--name", "x", "--out", "/mnt/x"], "storage=results"),
        (evaluate, ["--name", "x"], "storage=results"),
        (prepare, ["--data", "unpaired:a"], "data=a"),
        (prepare, ["--data", "digits", "--parts", "shelf"], "parts=shelf"),
    ],
)
def test_a_relative_path_inside_a_submitted_job(
    job, arguments: list[str], option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(INSIDE, "{}")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(job.main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {option} is relative, and a submitted job runs in a copy")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
