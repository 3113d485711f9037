"""What a set of images takes of a host's memory, by the number of processes."""

from __future__ import annotations

import multiprocessing
import re
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


@click.command(short_help="What a set takes of a host's memory, by processes.")
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
