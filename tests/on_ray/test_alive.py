"""What tells that a Ray lives: on sockets and processes of this test."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil
import pytest

from gen.on_ray import alive
from tests.conftest import wait_for


def test_a_head_is_gone_when_it_takes_no_connection_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = alive.Head(f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(alive, "GONE", 0.0)
        assert not head.is_gone()
    monkeypatch.setattr(alive, "GONE", 1000.0)
    assert not head.is_gone()  # it may be back
    monkeypatch.setattr(alive, "GONE", 0.0)
    assert head.is_gone()


def test_a_process_has_ended_before_its_parent_knows() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)
    assert not alive.has_ended(process)
    child.kill()
    wait_for(lambda: alive.has_ended(process))
    child.wait()
    assert alive.has_ended(process)


def test_outside_ray_nothing_watches() -> None:
    alive.end_with_head()
    assert alive.own_raylet("0" * 56) is None
