"""Runs of two stages: a trained model's codes as a column of the data set, computed once a host and cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen.capabilities import Quantises, TwoStage, has
from gen.config import ModelConfig, RunConfig, StageOne, TwoStageConfig, flat
from gen.config.variants import uncommon
from gen.damage import remark
from gen.data.cache import create_array
from gen.data.dataset import Dataset, Table, map_column
from gen.data.locks import alone
from gen.data.places import cache_folder
from gen.data.stream import on_device
from gen.data.sums import MANIFEST, is_marked, mark, read_manifest, torn_file, with_sums
from gen.phase import Model, Shape
from gen.record import checkpoint
from gen.results.renamed import first_form
from gen.results.room import room_at
from gen.results.storage import Storage

FORMAT = 1  # version of the cache's layout: another one makes new folders
BATCH = 256  # images encoded at once
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Staged(Dataset):
    """A data set with the column "codes", and the trained model that the codes come from."""

    stage_one: StageOne
    weights: Mapping[str, Tensor]  # of the first stage


def stage_of(config: RunConfig, experiment: str, run: str, weights: Mapping[str, Tensor], data_hash: str) -> StageOne:
    """A run as a first stage: `config`, trained to `weights` on the data of `data_hash`."""
    return StageOne(experiment, run, config.entry, weights_hash(config.model, weights), data_hash, config.model)


def weights_hash(config: ModelConfig, weights: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits of sha256 over what decides the codes of images: a model's settings and its weights."""
    digest = hashlib.sha256(json.dumps(first_form(flat(config), uncommon(config)), sort_keys=True).encode())
    for name in sorted(weights):
        array = weights[name].contiguous().numpy()
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]


def check_stage(config: RunConfig, dataset: Dataset) -> None:
    """ValueError if `config`'s first stage, where it has one, was trained on other images than `dataset`'s."""
    stage = config.model.stage_one if isinstance(config.model, TwoStageConfig) else None
    if stage and stage.data_hash != dataset.hash:
        raise ValueError(
            f"first stage {stage.experiment}/{stage.run} was trained on data of hash {stage.data_hash}, and "
            f"{dataset.name} has {dataset.hash}; leave --data and data.* out: they come from the first stage"
        )


def with_codes(
    config: RunConfig, dataset: Dataset, storage: Storage, device: torch.device, cache: str | None = None
) -> Dataset:
    """`dataset` with the codes of `config`'s first stage; `dataset` itself if `config` has no first stage.

    The first process on a host computes the codes, and all memory-map them. ValueError if the run of the first stage
    has gone or has other weights by now.
    """
    if not isinstance(config.model, TwoStageConfig) or config.model.stage_one is None:
        return dataset
    stage = config.model.stage_one
    weights = checkpoint.load_best(storage, stage.experiment, stage.run, CPU)["weights"]
    found = weights_hash(stage.model, weights)
    if found != stage.hash:
        raise ValueError(
            f"first stage {stage.experiment}/{stage.run} has other weights by now: {found}, they were {stage.hash}; "
            f"submit again, under another --name"
        )
    return add_codes(dataset, stage, weights, device, cache)


def add_codes(
    dataset: Dataset, stage: StageOne, weights: Mapping[str, Tensor], device: torch.device, cache: str | None = None
) -> Staged:
    """`dataset` with the column "codes", from the cache ($GENFLEET_CACHE or ~/.cache/genfleet) or computed into it."""
    place = cache_folder(cache)
    folder = place / f"codes-{FORMAT}-{stage.hash}-{dataset.hash}"
    splits = read_codes(folder, dataset)
    if splits is None or not is_marked(folder, names_in(folder)):
        place.mkdir(parents=True, exist_ok=True)
        with (
            room_at(f"cache folder {place}", place),
            alone(place / f"{folder.name}.lock", f"computes the codes of {dataset.name}"),
        ):
            splits = read_codes(folder, dataset)  # another process may have computed them while this one waited
            if splits is None or (not is_marked(folder, names_in(folder)) and is_torn(folder)):
                build(folder, dataset, first_stage(stage, dataset.shape, weights).to(device), device)
                splits = read_codes(folder, dataset)
            mark(folder, names_in(folder))
    if splits is None:
        raise RuntimeError(f"the cache {folder} was built and cannot be read")
    columns = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(Dataset)}
    return Staged(**{**columns, "splits": splits}, stage_one=stage, weights=weights)


def first_stage(stage: StageOne, shape: Shape, weights: Mapping[str, Tensor]) -> Model:
    """The trained model of a first stage, frozen. ValueError if it has no codes."""
    model = stage.model.build(shape)
    checkpoint.put_weights(model, weights, f"{stage.experiment}/{stage.run}")
    frozen = model.requires_grad_(False).eval()
    if not has(frozen, Quantises):
        raise ValueError(f"run {stage.experiment}/{stage.run} is of {stage.entry}, which has no codes")
    return model


def install(model: Model, dataset: Dataset) -> None:
    """Loads the weights of the first stage into a model of two. ValueError if `dataset` was opened without codes."""
    if not has(model, TwoStage):
        return
    if not isinstance(dataset, Staged):
        raise ValueError(f"data set {dataset.name} was opened without codes: see gen.engine.stage_one.with_codes")
    model.first.load_state_dict(dict(dataset.weights))


def read_codes(folder: Path, dataset: Dataset) -> dict[str, tuple[Table, ...]] | None:
    """The splits of `dataset` with the codes from a cache folder; None if the folder is absent or damaged."""
    try:
        manifest = read_manifest(folder / MANIFEST)
        return {
            split: tuple(
                {**table, "codes": map_column(folder / codes_file(split, index), like)} if like else table
                for index, (table, like) in enumerate(zip(tables, manifest["splits"][split], strict=True))
            )
            for split, tables in dataset.splits.items()
        }
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        if folder.exists():  # whatever a cut or overwritten file raises: the caller computes them anew
            remark(f"cache {folder} was damaged, and was made anew")
        return None


def names_in(folder: Path) -> list[str]:
    """The files of a cache folder of codes."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def is_torn(folder: Path) -> bool:
    """Whether the codes in a cache folder are not those that were written, which a remark says."""
    torn = torn_file(folder, read_manifest(folder / MANIFEST))
    if torn:
        remark(f"cache {folder} was damaged ({torn}), and was made anew")
    return bool(torn)


def codes_file(split: str, index: int) -> str:
    """Where the codes of table number `index` lie in a cache folder."""
    return f"{split}-{index}-codes.npy"


def build(folder: Path, dataset: Dataset, model: Model, device: torch.device) -> None:
    """Makes the cache folder, whole or not at all. The caller holds its lock, so no living process writes to its
    temporary folders, and those that exist are removed."""
    for dead in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(dead)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
        fresh.mkdir()
        manifest: dict[str, list[dict[str, Any] | None]] = {}
        for split, tables in dataset.splits.items():
            manifest[split] = []
            for index, table in enumerate(tables):
                codes = encode_images(model, table, device)
                if codes is not None:
                    create_array(fresh / codes_file(split, index), codes.dtype, codes.shape)[...] = codes
                like = None if codes is None else {"shape": list(codes.shape), "dtype": str(codes.dtype)}
                manifest[split].append(like)
        summed = with_sums({"splits": manifest}, fresh, names_in(fresh))
        (fresh / MANIFEST).write_text(json.dumps(summed, indent=1))
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)


def encode_images(model: Model, table: Table, device: torch.device) -> np.ndarray[Any, Any] | None:
    """The codes of a table's images, as int16 or, for many codes, int32; None for a table without images."""
    if "image" not in table:
        return None
    assert has(model, Quantises)
    dtype = np.int16 if model.codebook_size <= 2**15 else np.int32
    parts: Sequence[Tensor] = torch.split(table["image"], BATCH)
    # no TF32, and deterministic algorithms, so that hosts with unlike devices agree
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        images = ({"image": on_device("image", part, device, torch.float32)} for part in parts)
        return np.concatenate([model.codes(batch).cpu().numpy().astype(dtype) for batch in images])
