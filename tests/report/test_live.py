"""The page that is kept current: by real HTTP, and in a real browser."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gen.report import live
from gen.report.live import HEADERS, Server, Watcher, is_ours, state_of
from gen.results import Ledger, Storage
from tests.conftest import wait_for
from tests.report.browser import Page
from tests.results.example_rows import begin, end, go


def add_run(place: Path, run: str, value: float = 1.0) -> None:
    """A finished run of the experiment "e"."""
    ledger = Ledger(Storage(str(place)), "e", run, "a1")
    begin(ledger, settings=[("model.rate", value, str(value)), ("seed", 0.0, "0")])
    for tick in range(1, 4):
        go(ledger, tick)
    end(ledger, 3, value)
    ledger.close(3)


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    add_run(tmp_path, "first")
    watcher = Watcher(Storage(str(tmp_path)), ["e"])
    assert watcher.look()
    return watcher


@pytest.fixture
def server(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that looks at the tables all the time."""
    monkeypatch.setattr(live, "LOOK", 0.05)
    monkeypatch.setattr(live, "PATIENCE", 0.1)
    ended, told = threading.Event(), list[str]()
    with Server(watcher) as server:
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=watcher.watch, args=[ended, told.append]),
        ]
        for thread in threads:
            thread.start()
        yield server
        wait_for(lambda: not watcher.problem, lambda: told)  # it may have looked while a run had half of its tables
        ended.set()
        server.shutdown()
        for thread in threads:
            thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return found


def test_the_page_and_its_version_and_nothing_else(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, headers, content = ask(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert HEADERS.items() <= headers.items()
    assert b"connect-src 'self'" in content
    version = json.loads(ask(server, "/version")[2])["version"]
    assert f'data-version="{version}"'.encode() in content
    for path in ("/e", "/e/", "/..", "/../../etc/passwd", "http://127.0.0.1/", "/index.html", "/?x"):
        assert ask(server, path)[0] == 404, path
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        assert ask(server, "/", method)[0] == 501, method


OURS = ("127.0.0.1", "localhost", "127.0.0.1:80", "localhost:9000", "LOCALHOST:1")
OTHERS = (
    *("", "evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.", "user@localhost", "127.0.0.2"),
    *("localhost/x", "localhost:x", "[::1", "127.1", "2130706433", "localhost, evil.example"),
)  # fmt: skip


def test_a_page_of_another_host_whose_name_points_here_is_refused(server: Server) -> None:
    for host in OURS:
        assert ask(server, "/version", Host=host)[0] == 200, host
    for host, path in itertools.product(OTHERS, ("/", "/version")):
        status, _, content = ask(server, path, Host=host)
        assert (status, content) == (403, b"this server is called 127.0.0.1 or localhost\n"), host
    assert not is_ours([])
    assert not is_ours(["localhost", "localhost"])


def test_it_is_made_anew_when_the_tables_have_changed_and_only_then(watcher: Watcher, tmp_path: Path) -> None:
    version, content = watcher.shown
    assert not watcher.look()
    assert watcher.shown[1] is content
    add_run(tmp_path, "second")
    assert watcher.look()
    assert watcher.shown[0] != version
    assert b"second" in watcher.shown[1]
    assert not watcher.look()
    (tmp_path / "e" / "_lease").mkdir()
    (tmp_path / "e" / "_lease" / "r000001-x.holds").touch()
    assert watcher.look(), "that a job writes changes what is told of runs without an end"


class Script(threading.Event):
    """An event that does one thing before each look of a watcher, and then is set."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        if self.steps:
            self.steps.pop(0)()
            return False
        return True


def test_what_cannot_be_read_leaves_the_page_and_is_told_once(watcher: Watcher, tmp_path: Path) -> None:
    before, told, bad = watcher.shown, list[str](), tmp_path / "e" / "outcomes" / "bad.parquet"

    def stays() -> None:
        assert watcher.shown == before
        assert watcher.problem == told[0]

    def mend() -> None:
        bad.unlink()
        add_run(tmp_path, "second")

    watcher.watch(Script(lambda: bad.write_bytes(b"damaged"), stays, stays, mend), told.append)
    assert len(told) == 1
    assert "bad.parquet is damaged" in told[0]
    assert watcher.problem == ""
    assert b"second" in watcher.shown[1]


def test_an_experiment_in_which_no_run_has_begun_waits_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "e" / "_lease").mkdir(parents=True)
    watcher = Watcher(Storage(str(tmp_path)), ["e"])
    assert watcher.look()
    assert b"No run has begun yet" in watcher.shown[1]
    add_run(tmp_path, "first")
    assert watcher.look()
    assert b"No run has begun yet" not in watcher.shown[1]
    with pytest.raises(ValueError, match="no experiment 'f'"):
        Watcher(Storage(str(tmp_path)), ["f"]).look()


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_the_browser_shows_what_was_added_and_stays_where_it_is(browser: Page, server: Server, tmp_path: Path) -> None:
    for number in range(30):
        add_run(tmp_path, f"other{number}", number + 2.0)
    browser.driver.get(server.address)
    is_current(browser, tmp_path)
    assert "other29" in browser.run("return document.body.textContent")
    assert "newcomer" not in browser.run("return document.body.textContent")
    browser.run(
        "document.querySelectorAll('th button')[1]?.click(); document.querySelectorAll('th button')[1]?.click()"
    )
    sorted_by = "return document.querySelector('th[aria-sort]')?.getAttribute('aria-sort') ?? ''"
    before = browser.run(sorted_by)
    browser.run("scrollTo({top: 300, behavior: 'instant'})")
    add_run(tmp_path, "newcomer", 0.5)
    is_current(browser, tmp_path)
    assert "newcomer" in browser.run("return document.body.textContent")
    assert browser.run(sorted_by) == before
    assert browser.run("return scrollY") == pytest.approx(300, abs=2)
    assert browser.errors() == []
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    browser.wait("return document.getElementById('live').textContent.startsWith('jobs.watch has ended')")
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**offline, "offline": False})


def is_current(browser: Page, place: Path) -> None:
    """Returns when the page is of the tables as they are, so that it does not load itself once more."""
    state = state_of(Storage(str(place)), ["e"])
    browser.wait(f"const {{ready, version}} = document.documentElement.dataset; return ready && version === '{state}'")
