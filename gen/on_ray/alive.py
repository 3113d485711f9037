"""Whether the Ray that a process belongs to still lives: said within seconds, where Ray itself waits for a minute."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import psutil
import ray

LOOK = 1.0  # seconds between two looks
GONE = 5.0  # seconds after which a head that refuses connections is gone; one that is only busy still takes them


class Head:
    """The head of a cluster, as one asks whether it is there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard = self.refused = time.monotonic()  # when it last took a connection, and last did not refuse one

    def is_gone(self) -> bool:
        """Whether its host has refused connections for some seconds: nobody is there. A host that does not answer may
        be back, and Ray waits a minute for it."""
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), LOOK).close()
            self.heard = self.refused = time.monotonic()
        except ConnectionRefusedError:
            return time.monotonic() - self.refused > GONE
        except OSError:
            self.refused = time.monotonic()
        return False

    @property
    def silence(self) -> float:
        """Seconds since it took a connection."""
        return time.monotonic() - self.heard


def own_raylet(node: str) -> psutil.Process | None:
    """The process of Ray's node by which this process works, if it can be seen from here."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet" and f"--node_id={node}" in (process.info["cmdline"] or ()):
            return process
    return None


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has come to its end, though its parent may not have noticed."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def watch_ray(end: Callable[[str], None], say: Callable[[str], None]) -> Iterator[None]:
    """Calls `end` with a line if the head, or the node by which this driver works, dies during the block, and `say`
    with a line for each other node that goes."""
    context = ray.get_runtime_context()
    head, raylet, over = Head(context.gcs_address), own_raylet(context.get_node_id()), threading.Event()

    def look() -> None:
        told = False
        while not over.wait(LOOK):
            if raylet is not None and has_ended(raylet):
                found = f"the Ray node of this host (process {raylet.pid}) has died"
            elif head.is_gone():
                found = f"the Ray head at {head.address} has died"
            else:
                if told != (head.silence > GONE):
                    told = not told
                    say(f"the Ray head at {head.address} {'does not answer; Ray waits for it' if told else 'is back'}")
                continue
            if not over.is_set():
                end(f"{found}; start Ray again and submit the same again: it goes on from what is recorded")
            return

    def look_at_others() -> None:
        known = dict[str, str]()
        while not over.wait(2 * LOOK):
            try:
                nodes = ray.nodes()  # type: ignore[no-untyped-call]
            except (ray.exceptions.RayError, ConnectionError, RuntimeError):  # Ray goes down: that is said above
                return
            alive = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes if node["Alive"]}
            for gone in known.keys() - alive.keys():
                say(f"the Ray node of host {known[gone]} is gone; what ran there begins again where there is room")
            known = alive

    for work in (look, look_at_others):
        threading.Thread(target=work, name=f"Ray: {work.__name__}", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@cache
def end_with_head() -> None:
    """From now on this process ends within seconds if the head dies, if it is a worker of Ray's. Ray itself would keep
    it for a minute, in which nobody hears what it does."""
    if not ray.is_initialized():
        return
    context = ray.get_runtime_context()
    if context.get_actor_id() is None and context.get_task_id() is None:  # a driver
        return
    head = Head(context.gcs_address)

    def look() -> None:
        while not head.is_gone():
            time.sleep(LOOK)
        os._exit(1)  # what it was doing is as after a kill

    threading.Thread(target=look, name="Ray: head", daemon=True).start()
