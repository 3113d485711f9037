"""Decodes a set of images once, over the cluster: python -m jobs.prepare --data images:/there/photographs --size 64

Submitted again after a kill it goes on with the parts that are missing. The other jobs prepare by themselves what is
not prepared yet, with the processors of their own host.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from gen.config import DataConfig, override
from gen.data.dataset import Dataset, open_dataset
from gen.data.notices import notices
from gen.data.parts import Part
from gen.data.sums import files_of
from gen.record.names import FROM_NOW
from jobs.cluster import connection, say
from jobs.options import DATA_OPTIONS, Job, configure, data_settings, pairs_of, refusing
from jobs.places import absolute, data_at
from jobs.progress import duration, reporting


def options(command: Any) -> Any:
    """Adds the options about data."""
    for option in reversed(DATA_OPTIONS):
        command = option(command)
    return command


@click.command(cls=Job, help=__doc__)
@options
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any of data.*, such as data.filter=lanczos."
)
@click.option("--verify", is_flag=True, help="Compare all bytes of the cache with their checksums once more.")
@click.option("--parts", help="Folder or URI that all hosts reach, where decoded parts stay; default $GENFLEET_PARTS.")
def main(
    settings: Sequence[str], parts: str | None, data_root: str | None, download: bool, verify: bool, **options: Any
) -> None:
    """Checks the options, prepares the data set, and prints what it holds."""
    start = time.monotonic()
    with refusing():
        keys, said = pairs_of("set", settings), data_settings(options)
        wrong = next((key for key in keys if not key.startswith("data.")), None)
        if wrong:
            raise ValueError(f"setting {wrong} is not about data; allowed here: data.*")
        usual = override(DataConfig(), {key.removeprefix("data."): value for key, value in FROM_NOW.items()}, "data.")
        config = configure(usual, keys, said, "data.")
        config = override(config, {"name": data_at("data", config.name)}, "data.")
        root, shelf = absolute("data-root", data_root), absolute("parts", parts)
        dataset = open_dataset(config, root, download, parts=shelf, runner=reporting(over_cluster), recheck=verify)
    if verify:
        print(f"{len(files_of(dataset.manifest))} files of {dataset.name} are what was written", flush=True)
    print(describe(dataset), f"in {duration(time.monotonic() - start)}", flush=True)
    for line in notices(dataset):
        print(line)


def over_cluster(parts: Sequence[Part]) -> Iterator[int]:
    """Makes parts on a Ray cluster, to which it connects only if there is something to make."""
    with connection():
        from gen.on_ray.prepare import make_parts
        from gen.on_ray.waiting import watch

        with watch({"CPU": 1.0}, 1, say) as watched:
            for count in make_parts(parts):
                watched.heard()
                yield count


def describe(dataset: Dataset) -> str:
    """What a data set holds, in one line."""
    counts = ", ".join(
        f"{'+'.join(f'{count:,}' for count in dataset.manifest['counts'][split])} {split}" for split in dataset.splits
    )
    shape = dataset.shape
    classes = f"{shape.classes} classes" if shape.classes else "no labels"
    return f"{dataset.name}: {counts}; {shape.size}x{shape.size}x{shape.channels}, {classes}; hash {dataset.hash}"


if __name__ == "__main__":
    main()
