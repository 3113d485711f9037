"""What the driver's shell has and the workers of a cluster that runs already may lack: caches, and the keys and the
endpoint of an object store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from jobs.places import absolute

PLACES = {  # variables that name a place, which is handed over as an absolute one
    "GENFLEET_CACHE",
    "GENFLEET_PARTS",
    "TORCH_HOME",
    "XDG_CACHE_HOME",  # where torch looks without TORCH_HOME
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "GOOGLE_APPLICATION_CREDENTIALS",
}
FAMILIES = ("GENFLEET_", "AWS_", "AZURE_", "GOOGLE_CLOUD_", "CLOUD_STORAGE_")
OF_THE_HOST = ("AWS_CONTAINER_", "AWS_EXECUTION_ENV", "AWS_LAMBDA_")  # what a cloud tells each container apart
KEY, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"  # a token of other keys makes these worthless


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that workers need as the driver has them. ValueError for a place that other hosts do not know."""
    found = {
        name: value
        for name, value in environment.items()
        if value and (name in PLACES or name.startswith(FAMILIES)) and not name.startswith(OF_THE_HOST)
    }
    return found | {name: absolute(name, found[name]) or "" for name in PLACES & found.keys()}


def hook() -> dict[str, Callable[[], None]]:
    """The part of a job's runtime environment that hands the variables to each of its processes.

    Not as Ray's "env_vars": Ray writes those into its logs, and shows them in its dashboard. A function is neither.
    """
    given = variables()
    if not given:
        return {}
    gone = [SESSION] if KEY in given and SESSION not in given else []

    def take_variables() -> None:  # pickled whole: a worker runs it before it can import this file
        for name in gone:
            os.environ.pop(name, None)
        os.environ.update(given)

    return {"worker_process_setup_hook": take_variables}
