import secrets
import sys
from pathlib import Path

import pytest

from gen.results import Storage

sys.path.insert(0, str(Path(__file__).parent))  # the example rows, shared with the processes that tests start


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
