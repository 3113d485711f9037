"""Which Ray a job uses, and in one line why not: on real Rays, of which each test has its own."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from jobs.address import LOCAL, choose
from jobs.bench.kills import running
from jobs.demo import free_port
from tests.conftest import ROOT
from tests.fixtures.disk import Disk

ASK = """
import json
from jobs.address import choose, prepare_token, started_here
prepare_token()
try:
    print(json.dumps([choose(), started_here()]))
except ValueError as error:
    print(json.dumps([str(error), started_here()]))
"""
PRIVATE = """
import jobs.cluster, sys
with jobs.cluster.connection():
    import ray
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


def ask(**variables: str) -> list:
    """What a new process of a shell with these variables chooses, or why it cannot; and the clusters of this host."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | variables
    done = subprocess.run([sys.executable, "-c", ASK], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("http://127.0.0.1:8265", "ray job submit --address http://127.0.0.1:8265"),
        ("https://head.example", "ray job submit --address https://head.example"),
        ("ray://127.0.0.1:10001", "address of ray://"),
        ("127.0.0.1", "has no port"),
        (":6379", "has no port"),
        ("head:port", "has no port"),
        ("head:66000", "has no port"),
        ("localhost:1", "does not answer (Connection refused)"),
        ("nosuchhost.invalid:6379", "does not answer"),
    ],
)
def test_addresses_that_are_none(said: str, expected: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", said)
    with pytest.raises(ValueError, match="RAY_ADDRESS=") as caught:
        choose()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@contextmanager
def other_server() -> Iterator[str]:
    """Host and port of a server that is no Ray."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_answers_and_is_no_ray(monkeypatch: pytest.MonkeyPatch):
    with other_server() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ValueError, match="is no Ray head"):
            choose()


def test_what_listens_and_never_answers(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ValueError, match="is no Ray head"):
            choose()


def test_a_folder_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RAY_ADDRESS", LOCAL)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert choose() == LOCAL
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * 60}")
    with pytest.raises(ValueError, match="too long for its sockets; set RAY_TMPDIR"):
        choose()


def test_a_folder_without_room(monkeypatch: pytest.MonkeyPatch, disk: Disk):
    monkeypatch.setenv("RAY_ADDRESS", LOCAL)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        link = Path(short, "d")
        link.symlink_to(disk.place)
        monkeypatch.setenv("RAY_TMPDIR", str(link))
        disk.fill()
        full = rf"^Ray.s folder {link}/ray is full \(No space left on device; [^\n]+; or set RAY_TMPDIR to [^\n]+$"
        with pytest.raises(ValueError, match=full):
            choose()
        assert disk.names() == []
        disk.free()
        assert choose() == LOCAL


def test_a_folder_that_another_user_made():
    folder = Path(f"/tmp/genfleet-{free_port()}")
    folder.mkdir(mode=0o555)
    try:
        command = ["unshare", "--user", sys.executable, "-c", ASK]  # in which even root owns nothing
        env = {**os.environ, "RAY_ADDRESS": LOCAL, "RAY_TMPDIR": str(folder)}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode and "unshare" in done.stderr:
            pytest.skip(f"no user namespace here: {done.stderr.strip()}")
        assert "cannot be written by this user; set RAY_TMPDIR" in json.loads(done.stdout)[0]
    finally:
        folder.rmdir()


@pytest.mark.slow
@pytest.mark.own_ray
def test_which_ray_of_this_host_is_used():
    """One that was started as a cluster, and none that another program has for itself."""
    private = subprocess.Popen(
        [sys.executable, "-c", PRIVATE],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": LOCAL},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running() as first:
        address, token = first.variables["RAY_ADDRESS"], first.variables["RAY_AUTH_TOKEN"]
        own = private.stdout.readline().strip()
        assert own.startswith("127.0.0.1:")
        chosen, found = ask(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        assert address in found
        assert own not in found
        if found == [address]:  # whoever runs the tests has no cluster of theirs here
            assert chosen == address
        assert ask(RAY_ADDRESS=address, RAY_AUTH_TOKEN=token)[0] == address
        assert "asks for a token; set RAY_AUTH_TOKEN" in ask(RAY_ADDRESS=address, RAY_AUTH_MODE="disabled")[0]
        assert "asks for another token" in ask(RAY_ADDRESS=address, RAY_AUTH_TOKEN="0" * 64)[0]
        with running() as second:
            chosen, found = ask(RAY_AUTH_TOKEN=token)
            assert chosen.startswith("several Ray clusters run on this host; set RAY_ADDRESS to one of ")
            assert {address, second.variables["RAY_ADDRESS"]} <= set(found)
            assert all(one in chosen for one in found)
            assert own not in found
        head, node = (
            next(one for one in psutil.Process(private.pid).children(recursive=True) if one.name() == name)
            for name in ("gcs_server", "raylet")
        )
        node.suspend()  # which else ends by itself, some time after its head
        private.kill()
        private.communicate()
        head.kill()
        assert own not in ask(RAY_AUTH_TOKEN=token)[1], "what a killed job leaves is no cluster"
        node.kill()
    assert ask(RAY_ADDRESS="", RAY_TMPDIR="/tmp")[1] == [
        one for one in found if one not in (address, second.variables["RAY_ADDRESS"])
    ]
