"""What a set of images takes of a host's memory, and how long it takes to prepare."""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import click
import torch

from gen.config import DataConfig
from gen.data.dataset import open_dataset
from gen.data.sources import everywhere
from gen.data.stream import Stream
from jobs.options import refusing

MIB = 2**20


@click.command()
@click.option("--data", default="mnist", show_default=True, help="A data set, as of jobs.prepare.")
@click.option("--data-root", type=click.Path(), help="Folder of its originals.")
@click.option("--size", default=0, help="Pixels a side; default: as they are.")
@click.option("--processes", "counts", default="1,2,8", show_default=True, help="Numbers of processes.")
def memory(data: str, data_root: str | None, size: int, counts: str) -> None:
    """Proportional set sizes of processes of which each draws every image of the set once: a page that N of them share
    counts as 1/N in each, so the sum is what the host holds."""
    config = DataConfig(everywhere(data), size=size)
    with refusing():
        dataset = open_dataset(config, data_root)
    columns = [column for table in dataset.splits["train"] for column in table.values()]
    print(f"{dataset.name}: training columns of {sum(column.nbytes for column in columns) / MIB:.1f} MiB")
    print(f"{'processes':>10}{'of the arrays':>16}{'of all else':>14}{'all else, before':>19}   MiB, summed")
    for count in map(int, counts.split(",")):
        before, after = in_processes(config, data_root, count)
        arrays, rest = (sum(found[index] for found in after) / MIB for index in range(2))
        print(f"{count:>10}{arrays:>16.1f}{rest:>14.1f}{sum(found[1] for found in before) / MIB:>19.1f}", flush=True)


Sizes = list[tuple[int, int]]


def in_processes(config: DataConfig, root: str | None, count: int) -> tuple[Sizes, Sizes]:
    """Bytes of (arrays of the cache, all else) of each of `count` processes: before they open the set, after a pass."""
    spawn = multiprocessing.get_context("spawn")
    lines, processes = [], []
    for _ in range(count):
        mine, its = spawn.Pipe()
        processes.append(spawn.Process(target=draw_all, args=(config, root, its), daemon=True))
        processes[-1].start()
        lines.append(mine)
    found: list[Sizes] = []
    for _ in range(2):
        for line in lines:
            line.recv()  # all stand still, so that what they share is counted as shared
        found.append([resident(process.pid or 0) for process in processes])
        for line in lines:
            line.send("go on")
    for process in processes:
        process.join()
    return found[0], found[1]


def draw_all(config: DataConfig, root: str | None, line: Connection) -> None:
    """A process: opens the set, draws each image once, and waits before and after."""
    torch.set_num_threads(1)
    line.send("started")
    line.recv()
    dataset = open_dataset(config, root)
    stream = Stream(dataset.splits["train"], 0, 64, torch.device("cpu"), torch.float32)
    for draw in range(-(-stream.length // 64)):
        stream.rows(draw, 0, 64)
    line.send("drawn")
    line.recv()


def resident(process: int) -> tuple[int, int]:
    """Bytes of a process's proportional set size: of mapped arrays, and of all else. ClickException off Linux."""
    maps, rollup = (Path(f"/proc/{process}/{name}") for name in ("smaps", "smaps_rollup"))
    if not rollup.exists():
        raise click.ClickException("the kernel does not tell how pages are shared: this needs Linux 4.14 or newer")
    whole = sum(int(number) for number in re.findall(r"^Pss: +(\d+) kB", rollup.read_text(), re.MULTILINE))
    arrays, path = 0, ""
    for text in maps.read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", text):
            path = text
        elif text.startswith("Pss:") and path.endswith(".npy"):
            arrays += int(text.split()[1])
    return arrays * 1024, (whole - arrays) * 1024


@click.command()
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
            "open_dataset": lambda cache: counted(cache, archive),
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


def counted(cache: str, archive: str) -> int:
    """Images of the set in that cache, which is filled first if need be."""
    dataset = open_dataset(DataConfig(everywhere(f"images:{archive}")), cache=cache)
    return sum(len(table["image"]) for tables in dataset.splits.values() for table in tables)


def by_job(archive: str, cache: str) -> int:
    """The command, on $RAY_ADDRESS or a Ray of its own."""
    command = [sys.executable, "-m", "jobs.prepare", "--data", f"images:{archive}"]
    done = subprocess.run(
        command, env={**os.environ, "GENFLEET_CACHE": cache}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(f"jobs.prepare failed: {done.stderr.strip()[-500:]}")
    return counted(cache, archive)
