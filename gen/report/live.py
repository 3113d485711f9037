"""A page that is served on this machine alone, and made anew when the tables have changed."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from gen.damage import DamageError
from gen.report.facts import facts
from gen.report.page import page, waiting_page
from gen.results import queries
from gen.results.fence import holder_of
from gen.results.schema import TABLES
from gen.results.storage import Storage, one_line

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")  # by which a browser may call this server: a page of another host's that had its name
# point here would call it by that name, and is refused
LOOK = 2.0  # seconds between two looks at the folders
PATIENCE = (
    4.0  # times the seconds that a page took are let pass before the next one, so that a core has time for others
)
IDLE = 30.0  # seconds after which a silent connection is closed
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_page(storage: Storage, names: Sequence[str], version: str, objectives: Sequence[str] = ()) -> bytes:
    """The page of these experiments, which asks its server for later versions. ValueError if one is not there."""
    if waiting := [name for name in names if queries.runs(storage, name, ["run"]).empty]:
        return waiting_page(waiting[0], version).encode()
    return page(facts(storage, names, objectives=objectives), version).encode()


def state_of(storage: Storage, names: Sequence[str]) -> str:
    """16 hexadecimal digits that change with the tables: of names, sizes and times of their files, of which none is
    opened, and of whether a job writes."""
    found = list[tuple[Any, ...]]()
    for name in names:
        found.append((name, holder_of(storage, name)))
        for table in TABLES:
            selector = fs.FileSelector(storage.full(f"{name}/{table}"), allow_not_found=True)
            found += sorted((one.path, one.size, one.mtime_ns) for one in storage.filesystem.get_file_info(selector))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


class Watcher:
    """The page of some experiments as of their tables' last change, and why a later one could not be made ("": it was).
    One page is held."""

    def __init__(self, storage: Storage, names: Sequence[str], objectives: Sequence[str] = ()) -> None:
        self.storage, self.names, self.objectives = storage, names, objectives
        self.shown = ("", b"")  # version and page
        self.problem = ""
        self.took = 0.0  # seconds to make the page

    def look(self) -> bool:
        """Makes the page anew if the tables have changed since; whether it did. ValueError, OSError or DamageError if
        it cannot be made: the page stays as it was."""
        version = state_of(self.storage, self.names)
        if version == self.shown[0]:
            return False
        start = time.monotonic()
        try:
            made = make_page(self.storage, self.names, version, self.objectives)
            self.shown, self.problem = (version, made), ""
        finally:
            self.took = time.monotonic() - start
        return True

    def watch(self, ended: threading.Event, tell: Callable[[str], None]) -> None:
        """Looks again and again until `ended`, and tells once of each reason why a page cannot be made."""
        while not ended.wait(max(LOOK, PATIENCE * self.took)):
            try:
                self.look()
            except (ValueError, OSError, DamageError, LookupError) as error:  # a storage that is away, a file that is
                # replaced meanwhile, a run whose rows came to one table after it was read and before the next one was
                if (why := one_line(error)) != self.problem:
                    self.problem = why
                    tell(why)


class Handler(BaseHTTPRequestHandler):
    """Answers GET of the page, "/", and of its version, "/version". Nothing else is there, and no other method is."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "genfleet", ""
    timeout = IDLE
    server: Server

    def do_GET(self) -> None:
        """The page, or its version."""
        if not is_ours(self.headers.get_all("Host") or []):
            self.answer(HTTPStatus.FORBIDDEN, "text/plain", b"this server is called 127.0.0.1 or localhost\n")
        elif self.path == "/":
            self.answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.watcher.shown[1])
        elif self.path == "/version":
            told = {"version": self.server.watcher.shown[0], "problem": self.server.watcher.problem}
            self.answer(HTTPStatus.OK, "application/json", json.dumps(told).encode())
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", b"there is / and nothing else\n")

    def answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        """Sends an answer whole."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nobody reads it."""


class Server(ThreadingHTTPServer):
    """Serves a watcher's page on loopback, from threads that end with the process."""

    daemon_threads, block_on_close = True, False

    def __init__(self, watcher: Watcher, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.watcher = watcher

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints what went wrong; that a browser went away before its answer had come is no fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def is_ours(hosts: Sequence[str]) -> bool:
    """Whether the Host headers of a request are one, which names this machine's loopback, with any port or none: a
    tunnel may have another one than this server."""
    if len(hosts) != 1:
        return False
    try:
        parts = urlsplit(f"//{hosts[0]}")
        return parts.hostname in NAMES and parts.netloc == hosts[0] and "@" not in hosts[0] and parts.port != 0
    except ValueError:
        return False
