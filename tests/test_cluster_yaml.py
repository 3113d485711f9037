"""cluster.yaml against Ray's own launcher: its schema, its defaults, what its autoscaler would start, and the instances
that it makes on a simulated EC2.

The launcher's only public interface is the command `ray up`, which starts instances that cost money. So this file, and
no other, names private parts of Ray: its imports fail when they move.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import fillout_defaults, prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME, TAG_RAY_USER_NODE_TYPE
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from gen.on_ray import preflight

ROOT = Path(__file__).parents[1]


@pytest.fixture
def written() -> dict[str, Any]:
    """The file cluster.yaml, read."""
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def start_commands(config: dict[str, Any]) -> list[str]:
    """The commands that start Ray: the head's, then the workers'."""
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    return [command for command in commands if "ray start" in command]


def test_rays_own_schema_accepts_it(written: dict[str, Any]):
    validate_config(fillout_defaults(written))
    prepared = prepare_config(copy.deepcopy(written))
    validate_config(prepared)
    assert prepared["head_setup_commands"] == [*written["setup_commands"], *written["head_setup_commands"]]
    assert prepared["worker_setup_commands"] == written["setup_commands"]


def broken(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`config` with the value at a slashed path replaced or, for None, deleted."""
    *parents, last = path.split("/")
    place = config
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("max_wokers", 8),
        ("max_workers", "eight"),
        ("cluster_name", None),
        ("provider/type", None),
        ("auth/ssh_usr", "ubuntu"),
        ("available_node_types/gpu/min_worker", 0),
        ("available_node_types/gpu/resources", None),
        ("available_node_types/gpu/resources/GPU", -1),
        ("setup_commands", "pip install ray"),
    ],
)
def test_rays_own_schema_refuses_a_slip(written: dict[str, Any], path: str, value: Any):
    filled = fillout_defaults(written)
    validate_config(copy.deepcopy(filled))
    with pytest.raises(ValidationError):
        validate_config(broken(filled, path, value))


def test_rays_own_check_refuses_a_head_type_that_is_not_there(written: dict[str, Any]):
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(broken(fillout_defaults(written), "head_node_type", "haed"))


def test_head_without_trials_and_spot_workers_from_none(written: dict[str, Any]):
    types = dict(written["available_node_types"])
    head = types.pop(written["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]  # a head that is taken away takes the cluster with it
    assert types
    for worker in types.values():
        assert worker["min_workers"] == 0
        assert 0 < worker["max_workers"] <= written["max_workers"]
        assert worker["resources"]["GPU"] >= 1
        assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
        assert worker["node_config"]["IamInstanceProfile"] != head["node_config"]["IamInstanceProfile"]
    assert 0 < written["max_workers"] <= 100
    assert 0 < written["idle_timeout_minutes"] <= 60
    assert written["provider"]["cache_stopped_nodes"] is False


def test_token_loopback_and_no_statistics(written: dict[str, Any]):
    head, worker = start_commands(written)
    for command in (head, worker):
        before, after = command.split("ray start")
        assert {"RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"} <= set(before.split())
        assert "--disable-usage-stats" in after.split()
    assert {"--head", "--dashboard-host=127.0.0.1", "--port=6379"} <= set(head.split())
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head.split()  # without it, no worker ever starts
    assert {"--address=$RAY_HEAD_IP:6379"} <= set(worker.split())
    assert written["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"  # where Ray makes it and looks for it
    text = (ROOT / "cluster.yaml").read_text()
    assert "RAY_AUTH_TOKEN=" not in text  # the token itself is in no file and no command
    assert "0.0.0.0" not in text


def test_the_jobs_are_told_how_far_the_fleet_grows(written: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """The variable of the head says what all workers of the file have together."""
    (said,) = re.findall(rf"{preflight.SCALE_TO}=(\S+)", " ".join(written["head_start_ray_commands"]))
    monkeypatch.setenv(preflight.SCALE_TO, said)
    types = dict(written["available_node_types"])
    del types[written["head_node_type"]]
    together = {"CPU": 0.0, "GPU": 0.0}
    for worker in types.values():
        for name in together:
            together[name] += min(worker["max_workers"], written["max_workers"]) * worker["resources"][name]
    assert preflight.scale_bound() == together == {"CPU": 32, "GPU": 8}


def test_setup_installs_what_pyproject_lists(written: dict[str, Any], tmp_path: Path):
    """The command that reads the dependencies, run as a node would run it."""
    folder = tmp_path / "genfleet"
    for remote, local in written["file_mounts"].items():
        if remote.startswith("~/genfleet/"):
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / local, folder / Path(remote).name)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to(sys.executable)
    (reads,) = [command for command in written["setup_commands"] if "tomllib" in command]
    subprocess.run(["bash", "-c", reads], env={"HOME": str(tmp_path)}, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["tensorboard"]]
    assert (folder / "requirements.txt").read_text().splitlines() == wanted
    (installs,) = [
        command for command in written["setup_commands"] if "requirement" in command and "tomllib" not in command
    ]
    assert "--constraint .constraints.txt" in installs
    assert (folder / ".constraints.txt").exists()


def test_shells_of_the_nodes_get_the_token_mode_once(written: dict[str, Any], tmp_path: Path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("secret")
    for _ in range(2):  # `ray up` on a cluster that runs repeats them
        for command in written["initialization_commands"]:
            subprocess.run(["bash", "-c", command], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".bashrc").read_text().count("RAY_AUTH_MODE=token") == 1
    for start in written["head_start_ray_commands"] + written["worker_start_ray_commands"]:
        subprocess.run(["bash", "-n", "-c", start], check=True)
    for setup in written["setup_commands"] + written["head_setup_commands"]:
        subprocess.run(["bash", "-n", "-c", setup], check=True)


def started(config: dict[str, Any], demand: list[dict[str, float]]) -> dict[str, int]:
    """Node type -> how many Ray's autoscaler asks the cloud for when `demand` waits and no node runs."""
    settings = AutoscalingConfig(config, skip_content_hash=True)
    requests = [ResourceRequestUtil.make(one) for one in demand]
    reply = ResourceDemandScheduler(None).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=settings.get_node_type_configs(),
            max_num_nodes=settings.get_max_num_nodes(),
            idle_timeout_s=settings.get_idle_timeout_s(),
            resource_requests=ResourceRequestUtil.group_by_count(requests),
        )
    )
    return {launch.instance_type: launch.count for launch in reply.to_launch}


def test_autoscaler_starts_what_trials_wait_for_and_no_more(written: dict[str, Any]):
    trial = {"CPU": 1.0, "GPU": 1.0}
    assert started(written, []) == {}
    assert started(written, [trial] * 3) == {"gpu": 3}
    assert started(written, [trial] * 500) == {"gpu": 8}
    assert started(written, [{"CPU": 1.0, "GPU": 0.25}] * 12) == {"gpu": 3}  # --gpus-per-trial 0.25: four share one
    assert started(written, [{"CPU": 1.0, "GPU": 2.0}]) == {}


def test_launcher_makes_the_instances(
    written: dict[str, Any], s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Ray's AWS provider, against a simulated EC2: keys, network, a head that is kept and workers that are spot."""
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{s3}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HOME": str(tmp_path),  # where Ray puts the private key that it makes
    }.items():
        monkeypatch.setenv(key, value)
    region = written["provider"]["region"]
    iam, ec2 = boto3.client("iam", region_name=region), boto3.client("ec2", region_name=region)
    for kind in ("head", "worker"):
        iam.create_instance_profile(InstanceProfileName=f"genfleet-{kind}")
    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(written))
    validate_config(config)
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 0  # as written, not as EC2 describes the type
    assert config["available_node_types"]["gpu"]["resources"]["GPU"] == 1
    config = AWSNodeProvider.bootstrap_config(config)
    assert (tmp_path / f".ssh/ray-autoscaler_{region}.pem").exists()
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in ("head", "gpu", "gpu"):
        settings = config["available_node_types"][name]["node_config"]
        provider.create_node(settings, {TAG_RAY_USER_NODE_TYPE: name}, 1)
    found = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert tags[TAG_RAY_CLUSTER_NAME] == "genfleet"
        kinds.setdefault(tags[TAG_RAY_USER_NODE_TYPE], []).append(one)
    (head,), workers = kinds["head"], kinds["gpu"]
    assert "InstanceLifecycle" not in head
    assert head["IamInstanceProfile"]["Arn"].endswith("genfleet-head")
    assert len(workers) == 2
    for worker in workers:
        assert (worker["InstanceType"], worker["InstanceLifecycle"]) == ("g5.xlarge", "spot")
        assert worker["IamInstanceProfile"]["Arn"].endswith("genfleet-worker")
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert provider.non_terminated_nodes({}) == []
