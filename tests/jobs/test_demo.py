"""The Ray of `make demo`: whatever else of this host answers where one usually does, and behind a proxy."""

import os
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from jobs.demo import DASHBOARD, is_ray, pass_by_proxies, ray_head
from tests.jobs.test_address import other_server


@pytest.fixture(autouse=True)
def own_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the demo sets is put back, and no proxy of this test stays, nor one of an earlier test."""
    urllib.request.install_opener(None)  # it keeps the proxies that are there when somebody first opens something
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_LOGGER_LEVEL", "PATH", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    yield
    urllib.request.install_opener(None)


def test_another_server_is_no_ray(monkeypatch: pytest.MonkeyPatch):
    with other_server() as address:
        assert not is_ray(f"http://{address}")
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{address}")
        with pytest.raises(SystemExit, match="no Ray takes jobs at RAY_API_SERVER_ADDRESS="):
            ray_head().__enter__()


def test_this_host_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "example.org")
    pass_by_proxies()
    pass_by_proxies()
    assert os.environ["no_proxy"] == "example.org,127.0.0.1,localhost"


@pytest.mark.slow
@pytest.mark.own_ray
def test_a_head_behind_a_proxy_beside_another_server(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody listens there
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", DASHBOARD))
            other.listen()
        except OSError:
            pass  # somebody is there already
        with ray_head() as (address, own):
            assert own
            assert address.startswith("http://127.0.0.1:")
            assert not address.endswith(f":{DASHBOARD}")
            assert is_ray(address)
    assert not is_ray(address)
