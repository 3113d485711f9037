import os
import pickle
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from gen.data.places import is_archive
from gen.results import Storage
from jobs import board, check, report


def test_put_get_list_delete(storage):
    assert storage.get("experiment/table/a.parquet") is None
    assert storage.list("experiment/table") == storage.folders("") == []
    storage.put("experiment/table/b.parquet", b"first")
    storage.put("experiment/table/a.parquet", b"")
    storage.put("experiment/table/b.parquet", b"second, longer")
    storage.put("experiment/_lease.json", b"{}")
    assert storage.get("experiment/table/b.parquet") == b"second, longer"
    assert storage.get("experiment/table/a.parquet") == b""
    assert storage.list("experiment/table") == ["a.parquet", "b.parquet"]
    assert storage.list("experiment") == ["_lease.json"]
    assert storage.folders("experiment") == ["table"]
    assert storage.folders("") == ["experiment"]
    assert storage.exists("experiment/_lease.json")
    assert not storage.exists("experiment/table")
    storage.delete("experiment/_lease.json")
    storage.delete("experiment/_lease.json")
    assert not storage.exists("experiment/_lease.json")
    assert storage.list("experiment") == []


def test_large_data(storage):
    data = os.urandom(12 << 20)  # more than one part of a multipart upload
    storage.put("experiment/_checkpoints/run/last.pt", data)
    assert storage.get("experiment/_checkpoints/run/last.pt") == data


def test_pickles(storage):
    storage.put("a/b", b"x")
    copy = pickle.loads(pickle.dumps(storage))
    assert (copy.place, copy.is_local, copy.get("a/b")) == (storage.place, storage.is_local, b"x")


def test_writable(storage):
    storage.check_writable()
    assert storage.list("") == []


def test_secrets_are_not_shown(s3):
    storage = Storage(f"s3://key:secret@bucket/prefix?endpoint_override={s3}&scheme=http")
    assert str(storage) == "s3://bucket/prefix"
    assert "secret" not in repr(storage)


def test_local_places_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage("here").place == str(tmp_path / "here")
    assert Storage((tmp_path / "a b").as_uri()).place == str(tmp_path / "a b")


def test_not_writable_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"storage .*file/under cannot be written: .*; give a folder") as caught:
        Storage(str(tmp_path / "file" / "under")).check_writable()
    assert "\n" not in str(caught.value)


def test_absent_bucket_is_one_line(s3):
    storage = Storage(f"s3://key:secret@absent/prefix?endpoint_override={s3}&scheme=http")
    with pytest.raises(ValueError, match=r"storage s3://absent/prefix cannot be written: .*bucket") as caught:
        storage.check_writable()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["nope://bucket/prefix", "s3://bucket/prefix?unheard=1"])
def test_bad_uri(place):
    with pytest.raises(ValueError, match=r"is not understood: .*; give a path or a URI"):
        Storage(place)


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_no_trace_of_a_failed_put(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    storage.put("folder/a", b"before")
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        storage.put("folder/a", b"after")
    assert storage.get("folder/a") == b"before"
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["a"]


@pytest.mark.parametrize("job", [board, check, report])
def test_jobs_say_in_a_line_that_a_store_of_azure_s_cannot_be_reached(job: Any) -> None:
    """For it pyarrow raises an error of its own."""
    place = "abfs://account:QUJD@127.0.0.1:1/container/x?enable_tls=false"
    done = CliRunner().invoke(job.main, ["--storage", place, "--name", "e"])
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: storage abfs://127.0.0.1:1/container/x cannot be reached: Unknown error: ")


def test_a_bucket_whose_host_cannot_be_asked_is_not_misunderstood(monkeypatch: Any) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ValueError, match=r"^storage s3://genfleet-none/x cannot be reached: [^\n]+$"):
        Storage("s3://genfleet-none/x")


def test_a_store_that_does_not_answer_is_said_in_a_line_and_soon() -> None:
    """Google's library alone would try for a quarter of an hour."""
    place = "gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1:1"
    with pytest.raises(ValueError, match=r"^gs://bucket/x cannot be reached: [^\n]+Could not connect to server$"):
        Storage(place).check_reachable()
    with pytest.raises(ValueError, match=r"^gs://bucket/x cannot be reached: "):
        is_archive(place)
