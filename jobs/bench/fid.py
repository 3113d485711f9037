"""Our Frechet distance against the command `python -m pytorch_fid`, on folders of PNGs of the same images."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gen.data.stream import from_uint8
from gen.distributed.machine import resolve_device
from gen.metrics.frechet import Reference
from gen.metrics.moments import Moments
from jobs.options import refusing

Pixels: TypeAlias = NDArray[np.uint8]
"""Images (N, C, H, W)."""

NOISE = 25  # standard deviation of the noise on the scale 0 to 255
BORROWED = 32  # images of each set, whose one pass sets the random weights' BatchNorm statistics
UNPUBLISHED = """\
Weights: random, with the BatchNorm statistics of one pass. The published ones were not at hand (build machines cannot
download them): the values mean nothing, their agreement does. With that file, the same again:
python -m jobs.bench fid --data-root PATH --inception-weights pt_inception-2015-12-05-6726825d.pth"""


@click.command(short_help="Parity with the pytorch-fid command, and the trace's time.")
@click.option("--data-root", required=True, type=click.Path(exists=True), help="Holds MNIST/raw and cifar10-jpeg.zip.")
@click.option("--only", multiple=True, type=click.Choice(["mnist", "cifar10"]), help="Default: both.")
@click.option("--images", default=2500, show_default=True, help="Images a folder.")
@click.option("--dims", default=2048, show_default=True, type=click.Choice(["64", "192", "768", "2048"]))
@click.option("--inception-weights", type=click.Path(exists=True), help="The published file; default: random weights.")
@click.option("--device", default="auto", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Timings of the trace.")
def fid(
    data_root: str,
    only: tuple[str, ...],
    images: int,
    dims: str,
    inception_weights: str | None,
    device: str,
    rounds: int,
) -> None:
    """Parity with pytorch-fid, clean against noisy images, and the time of the trace on the same matrices."""
    from gen.judge.networks.inception import FILE, open_inception

    with tempfile.TemporaryDirectory() as folder:
        place, home = resolve_device(device), Path(folder)
        weights = home / "hub" / "checkpoints" / FILE  # where pytorch-fid looks under $TORCH_HOME
        with refusing():
            sets = {name: SETS[name](Path(data_root), 2 * images) for name in only or SETS}
        if inception_weights:
            weights.parent.mkdir(parents=True)
            shutil.copy(inception_weights, weights)
        else:
            save_random_weights(weights, [pixels[:BORROWED] for pixels in sets.values()])
            print(UNPUBLISHED)
        with refusing():
            judge = open_inception(place, int(dims), str(weights))
        print(f"{judge.name}, {images} images a folder, {place.type}, {torch.get_num_threads()} threads")
        print(f"{'clean against noisy':26}{'pytorch-fid':>16}{'here':>16}{'relative':>12}")
        for name, pixels in sets.items():
            sides = {"clean": pixels[:images], "noisy": noisy(pixels[images:])}
            folders = [write_pngs(home / name / kind, side) for kind, side in sides.items()]
            command = start_command(folders, home, dims, place.type)  # both at once: nothing is timed yet
            one, other = (moments(judge.features, judge.width, side, place) for side in sides.values())
            ours = Reference.of(one.mean(), one.covariance()).distance(other.mean(), other.covariance())
            theirs = read_distance(command)
            print(f"{name:26}{theirs:16.8f}{ours:16.8f}{abs(ours / theirs - 1):12.1e}", flush=True)
        trace(one, other, rounds)


def trace(one: Moments, other: Moments, rounds: int) -> None:
    """Prints the time of pytorch-fid's function and of ours on the same matrices, in turn."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    sides = [one.mean().cpu(), one.covariance().cpu(), other.mean().cpu(), other.covariance().cpu()]
    arrays = [part.numpy() for part in sides]
    reference = Reference.of(*sides[:2])
    ways: dict[str, Callable[[], float]] = {
        "pytorch-fid": lambda: float(calculate_frechet_distance(*arrays)),
        "here, reference made": lambda: Reference.of(*sides[:2]).distance(*sides[2:]),
        "here, reference cached": lambda: reference.distance(*sides[2:]),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    values = {}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            values[name] = way()
            times[name].append(time.perf_counter() - start)
    slow = times["pytorch-fid"]
    title = f"trace, {len(sides[0])} dimensions"
    print(f"{title:26}{'seconds, median':>16}{'times faster, median of pairs':>32}{'value':>18}")
    for name, found in times.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(slow, found, strict=True))
        print(f"{name:26}{statistics.median(found):16.3f}{ratio:32.1f}{values[name]:18.8f}")


def start_command(folders: list[Path], home: Path, dims: str, device: str) -> subprocess.Popen[str]:
    """Starts the command on two folders, with the weights under `home`."""
    options = ["--dims", dims, "--device", device, "--num-workers", "0"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytorch_fid", *options, *map(str, folders)],
        env={**os.environ, "TORCH_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )


def read_distance(command: subprocess.Popen[str]) -> float:
    """The distance that the command prints at its end."""
    output, _ = command.communicate()
    if command.returncode:
        raise RuntimeError(f"pytorch_fid ended with exit status {command.returncode}")
    return float(output.split("FID:")[-1])


def moments(features: Callable[..., torch.Tensor], width: int, pixels: Pixels, device: torch.device) -> Moments:
    """Moments of the features of uint8 images, in batches."""
    found = Moments(width, device)
    for part in torch.split(torch.from_numpy(pixels), 256):
        found.add(features(from_uint8(part, device, torch.float32)))
    return found


def mnist(root: Path, count: int) -> Pixels:
    """The first test images (N, 1, 28, 28) of MNIST, from its original file."""
    path = present(root / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz")
    data = gzip.decompress(path.read_bytes())
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count].copy()


def cifar(root: Path, count: int) -> Pixels:
    """Test images (N, 3, 32, 32) of CIFAR-10 (JPEG), of all classes alike."""
    with zipfile.ZipFile(present(root / "cifar10-jpeg.zip")) as archive:
        names = sorted(name for name in archive.namelist() if "test/" in name and name.endswith(".jpg"))
        picked = np.random.default_rng(0).permutation(len(names))[:count]
        images = [Image.open(io.BytesIO(archive.read(names[index]))).convert("RGB") for index in picked]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])


def present(path: Path) -> Path:
    """The path of a file. ValueError if there is none."""
    if not path.is_file():
        raise ValueError(f"{path} is absent; --data-root names the folder with MNIST/raw and cifar10-jpeg.zip")
    return path


SETS = {"mnist": mnist, "cifar10": cifar}


def noisy(pixels: Pixels) -> Pixels:
    """The images with Gaussian noise, rounded to 8 bits again."""
    noise = np.random.default_rng(0).normal(0, NOISE, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def write_pngs(folder: Path, pixels: Pixels) -> Path:
    """Writes each image as a PNG; grey ones with one channel."""
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(folder / f"{number:06}.png")
    return folder


def save_random_weights(path: Path, sets: list[Pixels]) -> None:
    """Saves an Inception state with random weights, whose BatchNorm statistics are those of one pass of these images.

    Without that pass the 2,048 features have a standard deviation of 2e-9.
    """
    from gen.judge.networks.inception import SIZE, network

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = network().train()
        for part in whole.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1.0  # the statistics become those of the pass
        images = [from_uint8(torch.from_numpy(part), torch.device("cpu"), torch.float32) for part in sets]
        grown = [torch.nn.functional.interpolate(part, (SIZE, SIZE), mode="bilinear") for part in images]
        whole(torch.cat([part.expand(-1, 3, -1, -1) for part in grown]))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(whole.state_dict(), path)
