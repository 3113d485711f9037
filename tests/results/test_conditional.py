"""Conditional writes on a real object store: of a process that stops right before one, by a profile's keys, where the
store does without, and of what is too large for one request."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import obstore
import pytest
from example_rows import all_keys, expected, plain, whole_run

from gen.results import Ledger, Slot, Storage, last_ticks
from gen.results import storage as storage_module
from gen.results.conditional import Conditional
from gen.results.fence import LostError
from gen.results.lease import Lease
from tests.conftest import GIVE_UP, ROOT

WRITER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from example_rows import whole_run
from gen.results import Lease, Ledger, Slot, Storage, ledger
from gen.results.conditional import Conditional
from gen.results.fence import LostError

put_if = Conditional.put_if
def late(self, path, data, expected):
    if path.startswith("e/metrics/") and expected is not None:  # after the comparison
        os.kill(os.getpid(), signal.SIGSTOP)
    return put_if(self, path, data, expected)

ledger.SLOT_RUNS = 2
lease = Lease(Storage(sys.argv[2]), "e").acquire()
slot = Slot(lease.storage, "e", f"{lease.attempt}-1")
for number in range(int(sys.argv[3])):
    whole_run(Ledger(lease.storage, "e", f"run{number}", lease.attempt, slot=slot), 2)
Conditional.put_if = late
try:
    whole_run(Ledger(lease.storage, "e", "late", lease.attempt, slot=slot), 2)
except LostError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("runs", [0, 1, 2], ids=["first", "rewritten", "next"])
def test_a_process_that_stops_itself(place, runs):
    """Between the comparison and the put of the first file of a slot, of the same file, of the next one."""
    arguments = [sys.executable, "-c", WRITER, str(Path(__file__).parent), place, str(runs)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        try:
            assert os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WEXITED).si_code == os.CLD_STOPPED
            with Lease(Storage(place), "e").acquire(take_over=True) as lease:
                known = last_ticks(lease.storage, "e").get("late", {})
                slot = Slot(lease.storage, "e", f"{lease.attempt}-1")
                whole_run(Ledger(lease.storage, "e", "late", lease.attempt, slot=slot, last_ticks=known), 2)
            writer.send_signal(signal.SIGCONT)
            output, _ = writer.communicate(timeout=GIVE_UP)
        finally:
            writer.kill()
    assert (
        output
        == f"the lease of 'e' in {Storage(place)} went to attempt {lease.attempt}; this one, "
        + (output.partition("this one, ")[2])
    )
    assert output.count("\n") == 1
    found = all_keys(place, "e")  # fails if a row is there twice
    for table, of_table in found.items():
        assert {key for key in of_table if key[0] == "late"} == expected("late", 2, table)
    writers = plain(place, "e", "metrics").groupby("run")["attempt"].unique()
    assert list(writers["late"]) == [lease.attempt]


@pytest.mark.slow
def test_keys_of_a_profile(s3, tmp_path, monkeypatch):
    """Which pyarrow finds by itself, and obstore by boto3."""
    profiles = tmp_path / "credentials"
    profiles.write_text("[mine]\naws_access_key_id = of-profile\naws_secret_access_key = secret\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with Lease(Storage(f"s3://bucket/profile?endpoint_override={s3}&scheme=http"), "e") as lease:
        lease.storage.put("e/file", b"one")
        assert lease.storage.is_conditional
        assert lease.storage.conditional.store.credential_provider()["access_key_id"] == "of-profile"


def missing(patch):
    patch.setitem(sys.modules, "obstore.store", None)


def careless(patch):
    def put_if(self, path, data, expected):
        return {"e_tag": obstore.put(self.store, path, data)["e_tag"]}

    patch.setattr(Conditional, "put_if", put_if)


def refusing(patch):
    def put_if(self, path, data, expected):
        raise OSError("501 Not Implemented")

    patch.setattr(Conditional, "put_if", put_if)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize(
    ("without", "why"),
    [
        (missing, "obstore is not installed"),
        (careless, "it puts whatever the condition says"),
        (refusing, "501 Not Implemented"),
    ],
)
def test_a_store_without_conditional_writes_is_told(storage, monkeypatch, without, why):
    """In a line; and the comparison with the lease stays."""
    without(monkeypatch)
    said = list[str]()
    lease = Lease(storage, "e").acquire(say=said.append)
    assert len(said) == 1
    assert said[0].startswith(f"object store without conditional writes: {why}; one write of a job that is stopped ")
    assert not lease.storage.is_conditional
    assert not [name for name in storage.list("e/_lease") if name.endswith(".tried")]
    lease.storage.put("e/file", b"one")
    with Lease(storage, "e").acquire(take_over=True), pytest.raises(LostError):
        lease.storage.put("e/file", b"two")
    assert storage.get("e/file") == b"one"
    lease.release()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_what_is_too_large_for_one_request_is_put_in_parts(storage, monkeypatch):
    monkeypatch.setattr(storage_module, "LARGEST", 10)
    with Lease(storage, "e") as lease:
        for data in (b"small", b"larger than that", b"small"):
            lease.storage.put("e/file", data)
            assert storage.get("e/file") == data
