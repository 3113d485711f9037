import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs

from gen.results import Storage

sys.path.insert(0, str(Path(__file__).parent))  # the example rows, shared with the processes that tests start


SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def s3():
    """Host and port of an object store, in a process of its own, with an empty bucket named "bucket"."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        address = server.stdout.readline().strip()
        filesystem, _ = fs.FileSystem.from_uri(
            f"s3://key:secret@bucket?endpoint_override={address}&scheme=http&allow_bucket_creation=true"
        )
        filesystem.create_dir("bucket")
        yield address
        server.stdin.close()


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    """An empty storage's path or URI."""
    if request.param == "local":
        return str(tmp_path / "storage")
    address = request.getfixturevalue("s3")
    return f"s3://key:secret@bucket/{secrets.token_hex(4)}?endpoint_override={address}&scheme=http"


@pytest.fixture
def storage(place):
    return Storage(place)
