"""Decoding an archive into a cache, against torchvision's ImageFolder."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import click

from gen.config import DataConfig
from gen.data.dataset import open_dataset
from gen.data.sources import everywhere


@click.command(short_help="Decoding an archive against torchvision's ImageFolder.")
@click.option("--archive", required=True, type=click.Path(exists=True), help="A zip of split/class/image files.")
@click.option("--rounds", default=3, show_default=True, help="Measurements of each side, taken in turn.")
def prepare(archive: str, rounds: int) -> None:
    """From the archive to the checked cache, in this process and by the job, against torchvision.datasets.ImageFolder
    reading the unpacked folder once and keeping nothing."""
    with tempfile.TemporaryDirectory() as folder:
        loose = Path(folder) / "loose"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(loose)  # a benchmark's own archive; prepare itself unpacks nothing
        splits = [path for path in sorted(loose.iterdir()) if path.is_dir()]
        processes = len(os.sched_getaffinity(0))
        sides: dict[str, Callable[[str], int]] = {
            "ImageFolder, a plain loop": lambda cache: sum(read_once(split, 0) for split in splits),
            f"ImageFolder, DataLoader of {processes}": lambda cache: sum(
                read_once(split, processes) for split in splits
            ),
            "open_dataset": lambda cache: count_images(cache, archive),
            "jobs.prepare, its start included": lambda cache: by_job(archive, cache),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        count = 0
        for number in range(rounds):
            for index, (name, side) in enumerate(sides.items()):
                start = time.perf_counter()
                count = side(f"{folder}/cache-{number}-{index}")
                seconds[name].append(time.perf_counter() - start)
                print(f"round {number + 1}: {name} {seconds[name][-1]:.1f} s", flush=True)
    print(f"{count:,} images, {processes} CPUs, median of {rounds}")
    first = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:36}{median:8.1f} s{count / median:10,.0f} a second{first / median:8.2f} times the first")


def read_once(folder: Path, processes: int) -> int:
    """Decodes every image of a folder of class folders; gives their number."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    images = ImageFolder(str(folder), transform=PILToTensor())
    if not processes:
        return sum(1 for _ in images)
    return sum(len(labels) for _, labels in DataLoader(images, 256, num_workers=processes))


def count_images(cache: str, archive: str) -> int:
    """Images of the set in that cache, which is filled first if need be."""
    dataset = open_dataset(DataConfig(everywhere(f"images:{archive}")), cache=cache)
    return sum(len(table["image"]) for tables in dataset.splits.values() for table in tables)


def by_job(archive: str, cache: str) -> int:
    """Images of the set after the command jobs.prepare, on $RAY_ADDRESS or a Ray of its own."""
    command = [sys.executable, "-m", "jobs.prepare", "--data", f"images:{archive}"]
    done = subprocess.run(
        command, env={**os.environ, "GENFLEET_CACHE": cache}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(f"jobs.prepare failed: {done.stderr.strip()[-500:]}")
    return count_images(cache, archive)
