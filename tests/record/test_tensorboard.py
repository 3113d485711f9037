"""TensorBoard's event files, read back with TensorBoard itself."""

from __future__ import annotations

import io
import secrets
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import fs

from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from gen.record.record import Home
from gen.record.tensorboard import Board
from gen.results import queries
from gen.results.ledger import Slot
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny

pytestmark = pytest.mark.slow

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="the extra `tensorboard` is not installed"
)
CPU = torch.device("cpu")
NAME = "experiment"


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage on a path, and one in an object store."""
    if request.param == "local":
        return Storage(str(tmp_path / "storage"))
    address = request.getfixturevalue("s3")
    return Storage(f"s3://key:secret@bucket/{secrets.token_hex(4)}?endpoint_override={address}&scheme=http")


@pytest.fixture
def config() -> RunConfig:
    """A config of four ticks, with a grid at every second one."""
    return override(
        tiny(ZOO["vqvae"]),
        {
            "budget.epochs": 4,
            "budget.checkpoint_seconds": 0,
            "evaluate.images": 60,
            "evaluate.full_images": 80,
            "evaluate.pictures": 2,
            "train.batch": 64,
        },
    )


class Read:
    """What TensorBoard shows of a run."""

    def __init__(self, storage: Storage, run: str, folder: Path) -> None:
        place = f"{NAME}/_tensorboard/{run}"
        self.files = storage.list(place)
        folder.mkdir()
        fs.copy_files(
            storage.full(place),
            str(folder),
            source_filesystem=storage.filesystem,
            destination_filesystem=fs.LocalFileSystem(),
        )
        self.events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
        self.events.Reload()

    def scalars(self) -> dict[str, list[tuple[int, float]]]:
        """Tag -> (step, value), without clocks."""
        tags = [tag for tag in self.events.Tags()["scalars"] if not tag.startswith("engine/")]
        return {tag: [(one.step, one.value) for one in self.events.Scalars(tag)] for tag in tags}

    def pictures(self) -> dict[str, list[tuple[int, bytes]]]:
        """Tag -> (step, pixels)."""
        tags = self.events.Tags()["images"]
        return {tag: [(one.step, pixels(one.encoded_image_string)) for one in self.events.Images(tag)] for tag in tags}


def pixels(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).tobytes()


def home(storage: Storage, **settings: object) -> Home:
    return Home(storage, NAME, "attempt", tensorboard=True, **settings)


def in_tables(storage: Storage) -> dict[str, list[tuple[int, float]]]:
    """What the tables hold, under the names that TensorBoard shows."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in queries.metrics(storage, NAME).sort_values("tick").to_dict("records"):
        if not row["name"].startswith("engine/"):
            found.setdefault(row["name"], []).append((row["step"], float(np.float32(row["value"]))))
    for row in queries.evals(storage, NAME).sort_values("tick").to_dict("records"):
        prefix = "best/" if row["scope"] == "best" else ""
        tag = f"{prefix}{row['split']}/{row['metric']}/{row['subject']}"
        found.setdefault(tag, []).append((row["step"], float(np.float32(row["value"]))))
    return found


def test_same_as_the_tables_however_often_cut(
    storage: Storage, config: RunConfig, digits: Dataset, judge: Judge, tmp_path: Path
):
    run = identity(config, digits.hash)
    for stop in (1, 2, 9):  # closed after the first tick, then after two more, then left to end
        ticks = fit(config, digits, device=CPU, judge=judge, home=home(storage))
        for count, _ in enumerate(ticks, 1):
            if count == stop:
                ticks.close()
    read = Read(storage, run, tmp_path / "read")
    assert [int(name.rpartition(".")[2]) for name in read.files] == [0, 1, 2, 3, 4]  # one a checkpoint, each whole
    scalars = read.scalars()
    assert scalars == in_tables(storage)
    steps = [step for step, _ in scalars["validation/mse/reconstructions"]]
    assert len(steps) == 4
    assert steps == sorted(set(steps))
    assert {"autoencoder/learning_rate", "best/test/mse/reconstructions"} <= scalars.keys()
    samples = queries.samples(storage, NAME).sort_values("tick").to_dict("records")
    assert read.pictures() == {"samples/reconstructions": [(one["step"], pixels(one["png"])) for one in samples]}
    assert len(samples) == 2  # on the way, and those of the best weights are among them
    assert read.events.Tags()["tensors"] == ["settings/text_summary"]
    (settings,) = read.events.Tensors("settings/text_summary")
    assert b"model.networks.hidden = " in settings.tensor_proto.string_val[0]


def test_a_killed_attempt_is_written_over(
    storage: Storage, config: RunConfig, digits: Dataset, judge: Judge, tmp_path: Path
):
    """Killed after the rows and before the checkpoint: what is run again comes in place of what was there."""
    run = identity(config, digits.hash)
    ticks = fit(config, digits, device=CPU, judge=judge, home=home(storage))
    next(ticks)
    ticks.close()
    left = Board(storage, NAME, run, 2)  # as the ticks 2 to 4 would leave it, killed before a checkpoint of theirs
    left.scalar("validation/mse/reconstructions", 9.0, 1_000_000)
    left.flush(3)
    left.scalar("validation/mse/reconstructions", 9.0, 2_000_000)
    left.flush(4)
    slower = override(config, {"budget.checkpoint_seconds": 1000})  # so one file comes in place of two
    list(fit(slower, digits, device=CPU, judge=judge, home=home(storage)))
    read = Read(storage, run, tmp_path / "read")
    assert [int(name.rpartition(".")[2]) for name in read.files] == [0, 1, 2]
    assert read.scalars() == in_tables(storage)


def test_short_run_of_a_search(storage: Storage, config: RunConfig, digits: Dataset, judge: Judge, tmp_path: Path):
    """One that never checkpoints leaves one file; run again from the start, still one; without the option, none."""
    config = override(config, {"budget.checkpoint_seconds": 1000})
    run = identity(config, digits.hash)
    ticks = fit(
        config, digits, device=CPU, judge=judge, home=home(storage, slot=Slot(storage, NAME, "s0"), keep_last=False)
    )
    next(ticks)
    assert storage.list(f"{NAME}/_tensorboard/{run}") == []
    ticks.send("rung 1")
    read = Read(storage, run, tmp_path / "stopped")
    assert len(read.files) == 1
    assert read.scalars() == in_tables(storage)
    again = Slot(storage, NAME, "s1")
    list(fit(config, digits, device=CPU, judge=judge, home=home(storage, slot=again, keep_last=False)))
    read = Read(storage, run, tmp_path / "again")
    assert len(read.files) == 1
    assert len(read.scalars()["validation/mse/reconstructions"]) == 4
    other = override(config, {"seed": 1})
    list(fit(other, digits, device=CPU, judge=judge, home=Home(storage, NAME, "attempt")))
    assert storage.folders(f"{NAME}/_tensorboard") == [run]
