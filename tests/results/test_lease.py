import errno
import fcntl
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from gen.results import Lease, Storage, fence, ledger
from gen.results.fence import Fence, LostError, rank_of, try_lock
from gen.results.holder import birth, boot_id, introduce, process_space

pytestmark = pytest.mark.slow

HOLD = """
import sys
from gen.results import Lease, Storage
lease = Lease(Storage(sys.argv[1]), "e", seconds=1.0, hear=lambda text: print("heard", flush=True))
try:
    lease.acquire()
    print("held", flush=True)
except ValueError as error:
    print(error, flush=True)
for line in sys.stdin:
    try:
        lease.storage.put("e/" + line.strip(), b"")
        print("wrote", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def holder(place):
    """A process that has the lease, and writes a file for each line of its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write(holder, name):
    """What the holder says once it has written a file, or has not."""
    holder.stdin.write(f"{name}\n")
    holder.stdin.flush()
    return next(line for line in holder.stdout if line != "heard\n")


class Slow(Storage):
    """A storage on which each file takes a while to become visible."""

    seconds = 0.0

    def put(self, path, data):
        time.sleep(self.seconds)
        super().put(path, data)


@pytest.mark.parametrize("seconds", [(0.0, 0.9), (0.3, 0.3, 0.3)])
def test_one_of_several_at_the_same_moment_has_it(place, seconds):
    """Also where the file of one becomes visible long after another has its lease."""
    start, held, said = threading.Barrier(len(seconds)), list[Lease](), list[str]()

    def take(delay):
        storage = Slow(place)
        storage.seconds = delay
        start.wait()
        try:
            held.append(Lease(storage, "e").acquire())
        except ValueError as error:
            said.append(str(error))

    threads = [threading.Thread(target=take, args=[delay]) for delay in seconds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1
    assert len(said) == len(seconds) - 1
    assert all("is being written by attempt" in line and "\n" not in line for line in said)
    held[0].storage.put("e/file", b"")
    held[0].release()


def test_a_live_holder_is_respected_and_a_killed_one_is_not(storage, holder):
    mine = Lease(storage, "e")
    with pytest.raises(
        ValueError, match=rf"'e' in .* is being written by attempt .*process {holder.pid} on host "
    ) as caught:
        mine.acquire()
    assert "\n" not in str(caught.value)
    assert socket.gethostname() in str(caught.value)
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, though nobody has waited for it
    with mine:
        mine.check(now=True)


def test_a_holder_that_is_stopped_is_no_dead_one(storage, holder):
    """Whose lease of a second passes meanwhile."""
    holder.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    with pytest.raises(ValueError, match=r"which may be stopped\); end it, .*--take-over"):
        Lease(storage, "e").acquire()
    holder.send_signal(signal.SIGCONT)
    assert write(holder, "mine") == "wrote\n"


def test_a_holder_that_comes_back_writes_nothing(storage, holder):
    assert write(holder, "before") == "wrote\n"
    holder.send_signal(signal.SIGSTOP)
    with Lease(storage, "e").acquire(take_over=True) as mine:
        mine.storage.put("e/mine", b"")
        holder.send_signal(signal.SIGCONT)
        assert write(holder, "after").startswith(f"LostError the lease of 'e' in {storage} went to attempt r00000002-")
    assert storage.list("e") == ["before", "mine"]
    assert write(holder, "later").startswith("LostError")  # after the end of the one that took it, too


def test_a_heartbeat_tells_that_the_lease_is_lost(storage):
    heard = list[str]()
    lease = Lease(storage, "e", seconds=0.6, hear=heard.append).acquire()
    other = Lease(storage, "e").acquire(take_over=True)
    assert lease.lost.wait(60)
    with pytest.raises(LostError, match="went to attempt"):
        lease.check()
    lease.release()
    assert len(heard) == 1
    other.check(now=True)
    other.release()


def test_the_fence_encloses_one_experiment(storage):
    """In whatever process: a storage goes to workers by pickle."""
    lease = Lease(storage, "e").acquire()
    lease.storage.put("e/old", b"")
    worker = pickle.loads(pickle.dumps(lease.storage))
    other = Lease(storage, "e").acquire(take_over=True)
    for refuse in (lambda: worker.put("e/metrics/new", b""), lambda: worker.delete("e/old")):
        with pytest.raises(LostError):
            refuse()
    worker.put("e2/new", b"")
    worker.put("_features/new", b"")
    assert storage.list("e") == ["old"]
    assert storage.list("e/metrics") == []
    other.release()
    lease.release()


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_write_and_its_comparison_are_one_step(storage):
    """Who takes the lease waits for a writer that is between the two."""
    lease, taken = Lease(storage, "e").acquire(), list[Lease]()
    taker = threading.Thread(target=lambda: taken.append(Lease(storage, "e").acquire(take_over=True)))
    with lease.storage._passage("e/file"):
        taker.start()
        taker.join(0.5)
        assert not taken
    taker.join()
    assert taken
    taken[0].release()


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_writer_that_was_stopped_between_the_two_is_told(storage, monkeypatch):
    """The one who waits for it in vain has nothing, and the writer goes on."""
    monkeypatch.setattr(fence, "PATIENCE", 0.1)
    lease = Lease(storage, "e").acquire()
    with lease.storage._passage("e/file"):
        with pytest.raises(TimeoutError, match=r"stopped in the middle of a write holds .*\.lock; end it"):
            Lease(storage, "e").acquire(take_over=True)
        assert {name.partition(".")[0] for name in storage.list("e/_lease")} == {lease.attempt}
    lease.check(now=True)
    lease.release()


def by_hand(storage, attempt="r00000001-by-hand", state="holds", **changes):
    about = json.loads(introduce(attempt, 0)) | changes
    storage.put(f"e/_lease/{attempt}.{state}", json.dumps(about).encode())


def takes(storage, seconds=0.5):
    """Whether the lease can be taken."""
    try:
        with Lease(storage, "e", seconds=seconds):
            return True
    except ValueError:
        return False


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({}, True),
        ({"host": "renamed"}, True),  # a laptop's name changes with its network
        ({"pid": 2**30}, False),
        ({"birth": "1"}, False),  # another process has the number now
        ({"boot": "before the restart"}, False),
        ({"state": "free"}, False),
        ({"state": "wants", "pid": 2**30}, False),
    ],
)
def test_who_is_live(storage, changes, live):
    by_hand(storage, **changes)
    assert takes(storage) is not live


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize("live", [True, False])
def test_a_process_in_another_container_is_known_by_its_lock(storage, tmp_path, live):
    """Stopped or not: there are no heartbeats here."""
    by_hand(storage, space="another", pid=2**30)
    file = os.open(tmp_path / "storage/e/_lease/.r00000001-by-hand.alive", os.O_RDWR | os.O_CREAT)
    if live:
        try_lock(file, alone=True)
    assert takes(storage) is not live
    os.close(file)


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize("beats", [True, False])
def test_where_files_have_no_locks_heartbeats_tell(storage, tmp_path, monkeypatch, beats):
    """A lock that the system refuses is not one that nobody holds."""

    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "storage/e/_lease").mkdir(parents=True)
    (tmp_path / "storage/e/_lease/.r00000001-by-hand.alive").touch()
    end = threading.Event()

    def beat():
        count = 0
        while beats and not end.wait(0.1):
            count += 1
            by_hand(storage, space="another", pid=2**30, beat=count)

    by_hand(storage, space="another", pid=2**30)
    thread = threading.Thread(target=beat)
    thread.start()
    assert takes(storage, seconds=2.0) is not beats
    end.set()
    thread.join()


@pytest.mark.parametrize("beats", [True, False])
def test_a_holder_elsewhere_is_judged_by_its_heartbeats(storage, beats):
    """By changes of its file, not by what a clock says."""
    by_hand(storage, boot="another host's")
    end = threading.Event()

    def beat():
        count = 0
        while beats and not end.wait(0.1):
            count += 1
            by_hand(storage, boot="another host's", beat=count)

    thread = threading.Thread(target=beat)
    thread.start()
    assert takes(storage, seconds=30.0 if beats else 0.5) is not beats  # a beat may come late, on a busy machine
    end.set()
    thread.join()


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize("data", [b"", b"[]", b"{}"])
def test_a_damaged_file_tells_nothing(storage, data):
    """So that heartbeats do, which do not come here."""
    storage.put("e/_lease/r00000001-by-hand.holds", data)
    assert takes(storage)


@pytest.mark.parametrize("place", ["local"], indirect=True)
@pytest.mark.parametrize(("changes", "live"), [({}, True), ({"pid": 2**30}, False), ({"started": 1.0}, False)])
def test_a_job_of_an_earlier_version(storage, changes, live):
    about = {"host": socket.gethostname(), "boot": boot_id(), "pid": os.getpid(), "attempt": "by-hand"}
    about |= {"started": psutil.Process().create_time(), "heartbeat": time.time()}
    storage.put("e/_lease.json", json.dumps(about | changes).encode())
    assert takes(storage) is not live
    assert storage.exists("e/_lease.json") is live


def test_a_heartbeat_may_come_while_the_lease_is_read():
    """A reader may ask for the size of one heartbeat's file and get the bytes of the next one's."""
    assert len({len(introduce("a", beat)) for beat in (1, 1000, 10**9)}) == 1


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_ranks_rise_though_the_clock_is_set_back(storage, monkeypatch):
    attempts = list[str]()
    for hours in (0, -1, -9000):

        class Clock(datetime):
            @classmethod
            def now(cls, zone=None, hours=hours):
                return datetime.now(zone) + timedelta(hours=hours)

        monkeypatch.setattr(ledger, "datetime", Clock)
        monkeypatch.setattr(ledger, "_latest", datetime.min.replace(tzinfo=UTC))  # as in another process
        with Lease(storage, "e") as lease:
            attempts.append(lease.attempt)
    assert attempts == sorted(attempts)
    assert [rank_of(attempt) for attempt in attempts] == [1, 2, 3]
    assert attempts[0].split("-")[1] > attempts[1].split("-")[1] > attempts[2].split("-")[1]
    assert attempts[0] > "20260131T235959000001-1a2b3c4d"  # of an earlier version


def test_of_this_host():
    assert process_space() == process_space() != ""
    assert birth(os.getpid()) == birth(os.getpid()) != birth(1)  # the first process of this system
    assert birth(2**30) == ""


def test_a_fence_knows_its_paths():
    of_one = Fence("e", "r00000001-a")
    assert of_one.encloses("e/metrics/a.parquet")
    assert not of_one.encloses("e2/metrics/a.parquet")
