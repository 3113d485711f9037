"""Which Ray a job uses: that of $RAY_ADDRESS, else the one cluster that was started on this host (`ray start`), else a
Ray of its own, which other jobs leave alone. Whatever stands in the way of it is one line."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from pathlib import Path

import psutil

from gen.results.room import room_at

LOCAL = "local"  # a Ray of the job's own
DEFAULT_PORT = 6379
SECONDS = 3.0  # that an answer may take
# The standard health service, and a call of Ray's own that needs its token; Ray has no public way to ask for the latter
# without the twenty seconds and fifty lines in which its driver fails. tests/jobs/test_address.py holds the name.
HEALTH, PROTECTED = "/grpc.health.v1.Health/Check", "/ray.rpc.NodeInfoGcsService/CheckAlive"
MOST_SOCKET = 107  # bytes of a socket's path
ROOM = 2**20  # bytes that Ray's folder is to have room for, in which its processes log what they do
SOCKET = "/session_2026-12-31_23-59-59_999999_9999999/sockets/plasma_store"  # as Ray calls the longest


def prepare_token() -> None:
    """Makes Ray's driver send the token that a protected cluster asks for, and protects a Ray of the job's own.

    Ray reads the mode once, when it is imported, and does not send a token that it was not told to send. A token made
    here is in no file: one in ~/.ray would protect each cluster that the user starts from then on.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    if token() is None:
        if os.environ.get("RAY_ADDRESS", "") not in ("", "auto", LOCAL):
            return
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ["RAY_AUTH_MODE"] = "token"


def token() -> str | None:
    """The token that Ray would send: of $RAY_AUTH_TOKEN, $RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token."""
    if found := os.environ.get("RAY_AUTH_TOKEN"):
        return found
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser().read_text().strip()
    except (OSError, RuntimeError):  # a user without a home
        return None


def choose() -> str:
    """HOST:PORT of the cluster to join, or "local". ValueError where the one that is meant cannot be joined, where
    several could be, or where no Ray can be started here."""
    said = os.environ.get("RAY_ADDRESS", "")
    if said in ("", "auto"):
        clusters = started_here()
        if len(clusters) > 1:
            raise ValueError(f"several Ray clusters run on this host; set RAY_ADDRESS to one of {', '.join(clusters)}")
        if clusters:
            check_answers(clusters[0], f"the Ray cluster of this host, {clusters[0]},")
            return clusters[0]
    elif said != LOCAL:
        check_form(said)
        check_answers(said, f"RAY_ADDRESS={said}")
        return said
    check_folder()
    return LOCAL


def started_here() -> list[str]:
    """Addresses of the clusters with a node on this host that this user started by `ray start`."""
    found = set()
    for process in psutil.process_iter(["name", "cmdline", "uids"]):
        if process.info["name"] == "raylet" and process.info["uids"] and process.info["uids"].real == os.getuid():
            words = dict(word.partition("=")[::2] for word in process.info["cmdline"] or ())
            address, folder = words.get("--gcs-address", ""), words.get("--temp_dir", "") or default_folder()
            if address and not is_private(process, address, folder) and not is_left_over(address, folder):
                found.add(address)
    return sorted(found)


def is_left_over(address: str, folder: str) -> bool:
    """Whether a Ray has lost its head and is not the one that was started last by `ray start`: what a killed job leaves
    of its own Ray for up to a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except OSError:
        return started_last(folder) != address
    return False


def started_last(folder: str) -> str:
    """The address of the cluster that `ray start` started last with this folder; "" for none."""
    try:
        return Path(folder, "ray_current_cluster").read_text().strip()
    except OSError:
        return ""


def is_private(raylet: psutil.Process, address: str, folder: str) -> bool:
    """Whether a program has this Ray for itself. A cluster's processes are children of `ray start`, or of nobody."""
    try:
        parent = raylet.parent()
        words = parent.cmdline() if parent else []
    except psutil.Error:
        return False
    if not words or "python" not in Path(words[0]).name or words[2:3] == ["start"]:
        return False
    # in a container process 1 may be a program with a Ray of its own, or one that orphans fall to
    return parent.pid != 1 or started_last(folder) != address


def check_form(said: str) -> None:
    """ValueError unless `said` is HOST:PORT."""
    wrong, right = f"RAY_ADDRESS={said}", f"HOST:PORT of the head, such as 127.0.0.1:{DEFAULT_PORT}"
    scheme, sign, _ = said.partition("://")
    if sign and scheme in ("http", "https"):
        raise ValueError(
            f"{wrong} is the address of a job server, which `ray job submit --address {said} ...` takes; a job that "
            f"is started by hand takes {right}"
        )
    if sign:
        raise ValueError(f"{wrong} is an address of {scheme}://, by which these jobs do not run; give {right}")
    host, _, port = said.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"{wrong} has no port; give {right}")


def check_answers(address: str, what: str) -> None:
    """ValueError unless a Ray head answers at `address`, to the token that this process has."""
    import grpc

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"{what} does not answer ({error.strerror or error}); is its head up, and reachable?"
        ) from None
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        known = token() if os.environ.get("RAY_AUTH_MODE") == "token" else None
        sent = [("authorization", f"Bearer {known}")] if known else None
        for call in (HEALTH, PROTECTED):
            try:
                channel.unary_unary(call)(b"", timeout=SECONDS, metadata=sent)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                    mode = "another token than this shell has" if known else "a token"
                    raise ValueError(
                        f"{what} asks for {mode}; set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to that of its head, "
                        "and RAY_AUTH_MODE=token"
                    ) from None
                if call == HEALTH:
                    raise ValueError(f"{what} is no Ray head, though something answers there") from None


def default_folder() -> str:
    """Where Ray keeps its sessions and sockets."""
    return f"{os.environ.get('RAY_TMPDIR') or os.environ.get('TMPDIR') or tempfile.gettempdir()}/ray"


def check_folder() -> None:
    """ValueError where a Ray of this host could not make its folder, or the sockets in it."""
    folder = default_folder()
    if len(os.fsencode(folder + SOCKET)) > MOST_SOCKET:
        raise ValueError(
            f"Ray's folder {folder} is too long for its sockets; set RAY_TMPDIR to a shorter one, such as /tmp"
        )
    above = next(part for part in (Path(folder), *Path(folder).parents) if part.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(
            f"Ray's folder {folder} cannot be written by this user; set RAY_TMPDIR to a short folder that can be"
        )
    try:
        with room_at(f"Ray's folder {folder}", above), tempfile.TemporaryFile(dir=above) as file:
            file.write(bytes(ROOM))
            file.flush()
    except OSError as error:
        raise ValueError(f"{error}; or set RAY_TMPDIR to another short folder") from None
