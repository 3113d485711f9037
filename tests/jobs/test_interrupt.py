"""Ctrl-C while a job's modules are imported, and where nothing listens to it; and output that ends first."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobs.interrupt import TEXT
from tests.conftest import GIVE_UP, ROOT, wait_for

DEAF = """
import signal, subprocess, sys, time
from jobs import interrupt
interrupt.guard()
interrupt.imports_are_done()
interrupt.SECONDS = 0.2
signal.signal(signal.SIGINT, lambda *_: None)  # as Ray puts its own in place
import psutil
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True).pid, flush=True)
while True:
    time.sleep(1000)
"""
GIVES_UP = """
import signal, sys, threading, time
if sys.argv[1] == "ignored":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
from jobs import interrupt
interrupt.guard()
interrupt.imports_are_done()
try:
    threading.Thread(target=interrupt.give_up, args=["another has the lease"]).start()
    time.sleep(1000)
except KeyboardInterrupt:
    interrupt.end()
"""
IN_THE_BACKGROUND = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script does for what it starts by &
from jobs import interrupt
interrupt.guard()
interrupt.imports_are_done()
interrupt.SECONDS = 0.2
signal.signal(signal.SIGTERM, interrupt.terminate)
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGINT, lambda *_: None)  # as Ray puts its own in place
try:
    print("ready", flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    interrupt.end()
time.sleep(1000)
"""
PRINTS = """
import sys
from jobs.output import outlive_readers
outlive_readers()
print("first", flush=True)
sys.stdin.read()  # until nobody reads any more
print("second" * 100_000, flush=True)
print("third", file=sys.stderr, flush=True)
print("fourth")
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("job", ["tune", "sample", "bench"])
def test_imports_are_interrupted(job: str):
    """By a line, without the crash that the end of a half-imported torch is."""
    process = start("-m", f"jobs.{job}", "--help")
    libraries = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "libtorch_python" in libraries.read_text() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=GIVE_UP)
    assert (process.returncode, output, errors) == (130, "", f"{TEXT}\n")


def test_a_job_that_does_not_listen_ends_with_all_that_it_started():
    process = start("-c", DEAF)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=GIVE_UP)
    assert (process.returncode, errors) == (130, f"{TEXT}\n")
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("interrupts", ["heard", "ignored"])
def test_a_job_gives_up_by_a_line(interrupts: str):
    process = start("-c", GIVES_UP, interrupts)
    _, errors = process.communicate(timeout=GIVE_UP)
    assert (process.returncode, errors) == (1, "error: another has the lease\n")


@pytest.mark.parametrize("ray", ["", "deaf"])
def test_a_job_in_the_background_is_terminated(ray: str):
    """Ctrl-C is ignored there; SIGTERM is not, and is bounded as Ctrl-C is."""
    process = start("-c", IN_THE_BACKGROUND, ray)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=GIVE_UP)
    assert (process.returncode, errors) == (130, f"{TEXT}\n")


def test_output_may_end_first():
    process = start("-c", PRINTS)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    process.stderr.close()
    process.stdin.close()
    assert process.wait(timeout=GIVE_UP) == 0
