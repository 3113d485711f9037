"""Draws a run's best weights as PNG grids: python -m jobs.sample --storage results --name vqvae-mnist --out pictures

Fakes stand beside real images, originals over their reconstructions: whatever the model can do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from gen import results
from gen.data.dataset import open_dataset
from gen.engine import checkpoint
from gen.engine.fit import build_model
from gen.engine.machine import resolve_device
from gen.engine.pictures import grids
from gen.zoo import restore
from jobs.options import Job, refusing, show
from jobs.runs import best_run


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of tables and checkpoints.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--run", "wanted", help="Run; default: the best one of the experiment.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--data-root", type=click.Path(), help="Folder of the originals, if they are not in the cache.")
@click.option("--download", is_flag=True, help="Fetch the originals if they are missing.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for the pictures.")
@click.option("--dry-run", is_flag=True, help="Print the run's resolved config as JSON and stop.")
def main(name: str, wanted: str | None, split: str, data_root: str | None, download: bool, **options: Any) -> None:
    """Loads the run, draws what it can do, and writes the pictures."""
    with refusing():
        storage, device = results.Storage(options["storage"]), resolve_device(options["device"])
        run = wanted or best_run(storage, name)
        state = checkpoint.load_best(storage, name, run, device)
        config = restore(state["config"])
        if options["dry_run"]:
            show(config)
            return
        dataset = open_dataset(config.data, data_root, download)
        options["out"].mkdir(parents=True, exist_ok=True)
    model = build_model(config, dataset, torch.device("cpu"))
    model.load_state_dict(state["weights"])
    for kind, png in grids(model.to(device).eval(), dataset, device, split).items():
        path = options["out"] / f"{name}-{run}-{kind}.png"
        path.write_bytes(png)
        print(f"{path}  {kind} of {config.entry} on {dataset.name}, epoch {state['epoch']:g}, {split} images")


if __name__ == "__main__":
    main()
