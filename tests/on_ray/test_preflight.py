"""What a name stands for, and whose storage every host sees."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from gen.config import override
from gen.on_ray import preflight
from gen.on_ray.proposals import Proposal, record
from gen.on_ray.version import code_version, sources_hash
from gen.record.names import note, write_note
from gen.results import Ledger, Slot, Storage
from gen.zoo import ZOO
from tests.conftest import ROOT
from tests.results.example_rows import begin


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path))
    write_note(storage, "name", note(ZOO["vqvae"], "hash", job="tune", samples=4))
    return storage


def test_a_name_that_is_free_or_means_the_same(storage: Storage):
    preflight.check_name(storage, "other", note(ZOO["vae_mlp"], "hash", job="train"))
    grown = override(ZOO["vqvae"], {"budget.epochs": 50, "budget.patience": 3, "machine.threads": 4})
    preflight.check_name(storage, "name", note(grown, "hash", job="tune", samples=8))
    price = {"device_hour": 2.5}  # which makes no run another
    preflight.check_name(storage, "name", note(grown, "hash", job="tune", samples=8, price=price))


def test_a_name_in_use(storage: Storage):
    def refused(config, data_hash="hash", **more):
        with pytest.raises(ValueError, match="name name is in use") as error:
            preflight.check_name(storage, "name", note(config, data_hash, **{"job": "tune", "samples": 4} | more))
        return str(error.value)

    entry = ZOO["vqvae"]
    assert "model.beta was 0.25, now 2.0" in refused(override(entry, {"model.beta": 2.0}))
    other = override(entry, {"model.networks": "strided", "model.networks.width": 16})
    assert "model.networks.width was absent, now 16" in refused(other)
    assert 'data_hash was "hash", now "else"' in refused(entry, "else")
    assert 'job was "tune", now "train"' in refused(entry, job="train")
    assert "epochs=20, now 5: it may only grow" in refused(override(entry, {"budget.epochs": 5}))
    assert "samples=4, now 3: it may only grow" in refused(entry, samples=3)
    assert 'entry was "vqvae", now "vae_mlp"' in refused(dataclasses.replace(entry, entry="vae_mlp"))


def test_epochs_may_grow_where_no_run_is_stopped(storage: Storage):
    """A search by several figures, or over several seeds of what is proposed on the way, has its grace at its last
    epoch: it grows with it, and says nothing else of the runs on record."""

    def wanted(epochs: int, grace: int):
        config = override(ZOO["vqvae"], {"budget.epochs": epochs})
        return note(config, "hash", job="tune", search={"grace": grace, "reduction": 3}, samples=4)

    write_note(storage, "whole", wanted(4, 4))
    preflight.check_name(storage, "whole", wanted(8, 8))
    preflight.check_name(storage, "whole", wanted(8, 4))  # from now on there is a rung, at the end of what there was
    with pytest.raises(ValueError, match=r"search\.grace was 4, now 2"):
        preflight.check_name(storage, "whole", wanted(8, 2))
    write_note(storage, "halved", wanted(4, 2))
    with pytest.raises(ValueError, match=r"search\.grace was 2, now 8"):
        preflight.check_name(storage, "halved", wanted(8, 8))


def test_samples_may_fall_to_the_configurations_that_were_begun(storage: Storage):
    """A search without an end, which a budget ended, becomes one of so many: then its best can be confirmed."""
    entry, place = ZOO["vqvae"], Slot(storage, "name", "a-proposals", kind="proposed")
    record(place, "a", [Proposal("vqvae", number, {}, "random", frozenset({f"r{number}"})) for number in range(4)])
    ledger = Ledger(storage, "name", "r1", "a")
    begin(ledger)
    ledger.flush(0)  # r2 and r3 never began

    preflight.check_name(storage, "name", note(entry, "hash", job="tune", samples=2))
    with pytest.raises(ValueError, match="samples=4, now 1: it may only grow, or fall to the 2 that were begun"):
        preflight.check_name(storage, "name", note(entry, "hash", job="tune", samples=1))


def test_batchnorm_over_all_workers_takes_gpus():
    over_all = override(ZOO["vqvae_bn"], {"train.sync_batchnorm": True})
    preflight.check_batchnorm([ZOO["vqvae_bn"], over_all], {"CPU": 1.0, "GPU": 1.0})
    preflight.check_batchnorm([ZOO["vqvae_bn"]], {"CPU": 1.0})
    with pytest.raises(ValueError, match="sync_batchnorm=True needs GPUs"):
        preflight.check_batchnorm([ZOO["vqvae_bn"], over_all], {"CPU": 1.0})


def test_code_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENFLEET_CODE_VERSION", "v1-dirty")
    assert code_version() == "v1-dirty"
    monkeypatch.delenv("GENFLEET_CODE_VERSION")
    assert code_version()
    assert len(sources_hash()) == 12


def test_what_the_cluster_may_grow_to(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(preflight.SCALE_TO, raising=False)
    assert preflight.scale_bound() == {}
    monkeypatch.setenv(preflight.SCALE_TO, " CPU=32, GPU=0.5 ")
    assert preflight.scale_bound() == {"CPU": 32, "GPU": 0.5}


@pytest.mark.parametrize("said", ["32", "CPU", "CPU=", "CPU=many", "CPU=-1", "CPU=nan", "GPU=inf", "cpu=3", "CPU=3=4"])
def test_a_bound_that_is_not_understood(said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(preflight.SCALE_TO, said)
    with pytest.raises(ValueError, match="is not understood; write it as CPU=32,GPU=8"):
        preflight.scale_bound()


def test_what_looks_for_the_storage_on_another_host_loads_neither_torch_nor_tune():
    """Which takes a process some seconds, for which each job would wait."""
    code = "import gen.on_ray.probe, sys; print(*{'torch', 'ray.tune'} & sys.modules.keys())"
    assert preflight.read_probe.__module__ == "gen.on_ray.probe"  # whence a process takes it
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
