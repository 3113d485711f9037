"""What of the driver's shell the workers get, and what of the project's folder travels with a job."""

import os
from pathlib import Path

import pytest

from jobs import handover, upload
from jobs.places import INSIDE


def test_variables_that_are_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shell = {
        "GENFLEET_CACHE": "cache",
        "GENFLEET_PARTS": "s3://bucket/parts",
        "TORCH_HOME": "/weights/../torch",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_ENDPOINT_URL": "http://store:9000",
        "AWS_PROFILE": "",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/of/this/container",
        "PATH": "/bin",
    }
    assert handover.variables(shell) == {
        "GENFLEET_CACHE": str(tmp_path / "cache"),
        "GENFLEET_PARTS": "s3://bucket/parts",
        "TORCH_HOME": "/torch",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_ENDPOINT_URL": "http://store:9000",
    }
    monkeypatch.setenv(INSIDE, "{}")
    with pytest.raises(ValueError, match="GENFLEET_CACHE=cache is relative, and a submitted job runs in a copy"):
        handover.variables(shell)


def test_what_workers_take(monkeypatch: pytest.MonkeyPatch):
    """A session's token belongs to the keys beside it."""
    for name in os.environ:
        if name.startswith(handover.FAMILIES) or name in handover.PLACES:
            monkeypatch.delenv(name)
    assert handover.hook() == {}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "driver's")
    take = handover.hook()["worker_process_setup_hook"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker's")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "worker's")
    take()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "driver's"
    assert "AWS_SESSION_TOKEN" not in os.environ


def test_the_largest_files_are_named_where_the_limit_is_near(tmp_path: Path):
    rules = (upload.ROOT / ".rayignore").read_text()
    (tmp_path / ".rayignore").write_text(rules)
    for name, size in {"photos.bin": 700, "gen/model.py": 0, "gen/photos.bin": 700, "gen/raw/faces": 60}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size * 2**20)  # sparse
    line = upload.warning(tmp_path)
    assert line.startswith("60 MiB travel with the job, and `ray job submit` takes 100 MiB; the largest files are ")
    assert "are gen/raw/faces (60 MiB), gen/model.py (0 MiB): move them" in line
    assert "are gen/photos.bin (700 MiB), photos.bin (700 MiB), gen/raw/faces" in upload.warning(tmp_path, whole=True)
    assert upload.warning() == ""
