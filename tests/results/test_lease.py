import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from gen.results import Lease
from gen.results.lease import boot_id

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from gen.results import Lease, Storage
place, start = sys.argv[1], float(sys.argv[2])
storage = Storage(place)
storage.get("e/_lease.json")
time.sleep(max(start - time.time(), 0.0))
try:
    Lease(storage, "e", seconds=6.0).acquire()
    print("held", flush=True)
    sys.stdin.read()
except ValueError as error:
    print(error, flush=True)
"""


def hold(place, start=0.0):
    """A process that takes the lease at a time and keeps it until its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, place, str(start)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_one_of_two_wins(place):
    start = time.time() + 3.0
    processes = [hold(place, start) for _ in range(2)]
    said = [process.stdout.readline().strip() for process in processes]
    for process in processes:
        process.communicate("")
    assert sorted(line == "held" for line in said) == [False, True], said
    assert any("is being written by attempt" in line for line in said)


def test_a_live_holder_is_respected_and_a_killed_one_is_not(storage, place):
    holder = hold(place)
    assert holder.stdout.readline() == "held\n"
    mine = Lease(storage, "e", seconds=6.0)
    with pytest.raises(ValueError, match=rf"'e' in .* is being written by attempt .*process {holder.pid}, ") as caught:
        mine.acquire()
    assert "\n" not in str(caught.value)
    assert socket.gethostname() in str(caught.value)
    holder.send_signal(signal.SIGKILL)
    time.sleep(0.2)  # dead, though nobody has waited for it
    with mine:
        assert mine.holder()["attempt"] == mine.attempt
        mine.check()
    holder.wait()
    assert not storage.exists("e/_lease.json")


def by_hand(storage, **changes):
    lease = {
        "host": socket.gethostname(), "boot": boot_id(), "pid": os.getpid(), "started": psutil.Process().create_time(),
        "attempt": "by-hand", "heartbeat": time.time(),
    }  # fmt: skip
    storage.put("e/_lease.json", json.dumps(lease | changes).encode())


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({}, True),
        ({"host": "elsewhere", "pid": 2**30}, True),
        ({"host": "elsewhere", "pid": 2**30, "heartbeat": time.time() - 31}, False),
        ({"boot": "before the restart", "pid": 2**30}, True),
        ({"pid": 2**30}, False),
        ({"started": 1.0}, False),  # another process has the number now
    ],
)
def test_who_is_live(storage, changes, live):
    by_hand(storage, **changes)
    assert (Lease(storage, "e").holder() is not None) is live


def test_a_foreign_hosts_lease_lapses(storage):
    by_hand(storage, host="elsewhere", heartbeat=time.time())
    with pytest.raises(ValueError, match=r"host elsewhere, .* lapses after 1 s"):
        Lease(storage, "e", seconds=1.0).acquire()
    time.sleep(1.1)
    with Lease(storage, "e", seconds=1.0):
        pass


def test_heartbeats_keep_it(storage):
    with Lease(storage, "e", seconds=1.5) as lease:
        time.sleep(2.5)
        lease.check()
        with pytest.raises(ValueError, match="is being written"):
            Lease(storage, "e", seconds=1.5).acquire()


def test_a_heartbeat_may_come_while_the_lease_is_read(storage, monkeypatch):
    """A reader may ask for the size of one heartbeat's file and get the bytes of the next one's."""
    lease, sizes = Lease(storage, "e"), set()
    for now in (1.5, 1795874026.3741581, 1795874026.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        lease._put()
        sizes.add(len(storage.get("e/_lease.json")))
        assert lease._read()["heartbeat"] == now
    assert len(sizes) == 1


def test_a_lost_lease_is_noticed_and_left_alone(storage):
    lease = Lease(storage, "e", seconds=0.6).acquire()
    by_hand(storage, host="elsewhere")
    assert lease.lost.wait(5)
    with pytest.raises(RuntimeError, match="went to another attempt"):
        lease.check()
    lease.release()
    assert storage.exists("e/_lease.json")
