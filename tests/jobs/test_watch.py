"""jobs.watch as a process: what it prints, how it ends, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobs import watch
from tests.conftest import GIVE_UP, ROOT
from tests.report.test_live import add_run


@pytest.mark.slow
def test_serves_until_ctrl_c_without_torch(tmp_path: Path) -> None:
    add_run(tmp_path, "first")
    program = "import sys, jobs.watch\nassert not {'torch', 'ray'} & set(sys.modules)\njobs.watch.main()"
    whole = f"from jobs import interrupt\ninterrupt.guard()\n{program}"  # as `python -m` does
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # that of urlopen knows what others had set
    with subprocess.Popen(
        [sys.executable, "-c", whole, "--storage", str(tmp_path), "--name", "e"],
        cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"e: (http://127\.0\.0\.1:\d+/)  Ctrl-C ends it\n", line)
            assert found, line + process.communicate()[1]
            with direct.open(found[1], timeout=60) as answer:
                assert b"first" in answer.read()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=GIVE_UP)
        finally:
            process.kill()  # else the block would wait for it
        assert (process.returncode, output, errors) == (130, "", "ended: the page is served no more\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--name", "f"], "no experiment 'f'"),
        (["--name", "e", "--port", "65536"], "65536 is not in the range"),
        ([], "Missing option '--name'"),
    ],
)
def test_refusals_are_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    add_run(tmp_path, "first")
    done = CliRunner().invoke(watch.main, ["--storage", str(tmp_path), *arguments])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr


def test_a_port_that_another_has_is_refused(tmp_path: Path) -> None:
    import socket

    add_run(tmp_path, "first")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = CliRunner().invoke(watch.main, ["--storage", str(tmp_path), "--name", "e", "--port", port])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"port={port} of 127.0.0.1 cannot be had" in done.stderr
