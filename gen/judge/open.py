"""Where the judge's extractor comes from: trained once on the set itself and kept in the storage, or from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.config import DataConfig, EvaluateConfig, RunConfig
from gen.damage import DamageError
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.workers import ALONE, Workers
from gen.judge.judge import Judge
from gen.judge.networks.classifier import WIDTH, from_bytes
from gen.judge.networks.extractors import (
    INCEPTION,
    NAMES,
    Extractor,
    Kept,
    default_name,
    has_classes,
    is_teller,
    open_extractor,
    open_teller,
    teller_name,
)
from gen.judge.reference import read_or_remark
from gen.results.storage import Storage

FOLDER = "_cache"


@dataclass(frozen=True)
class Nameplate:
    """Stands for an extractor that has no weights yet: enough to name figures, not to measure them."""

    name: str
    width: int = WIDTH
    resize: str = "none"
    weights_hash: str = ""

    def features(self, images: Tensor) -> Tensor:
        raise RuntimeError(f"extractor {self.name} has no weights here: it names figures and measures none")

    logits = logits_of = features


@dataclass(frozen=True)
class Features:
    """Which extractor judges, and where its files are. Picklable."""

    name: str = ""  # of the extractor, or of a data set whose classifier is used; "": the default of the judged set
    inception_weights: str = ""  # path
    data_root: str | None = None
    download: bool = False

    @classmethod
    def of(cls, config: RunConfig, root: str | None = None, download: bool = False) -> Features:
        """The extractor that a run's settings name."""
        return cls(config.evaluate.features, config.machine.inception_weights, root, download)

    def open(
        self, dataset: Dataset, device: torch.device, workers: Workers = ALONE, storage: Storage | None = None
    ) -> Extractor:
        """The extractor for `dataset`. If it must be trained, rank 0 does so, once for a storage. ValueError for an
        unknown name, a data set that it does not fit, or missing weights."""
        found = self._open(dataset, device, Keeper(storage, device, workers))
        check_alike(found, device, workers)
        return found

    def find(self, dataset: Dataset, storage: Storage | None = None) -> Extractor:
        """The extractor with its weights, if these lie in a file or, trained already, in `storage`; else its nameplate.
        ValueError as `open`."""
        try:
            return self._open(dataset, torch.device("cpu"), stored_in(storage))
        except FileNotFoundError:
            return self.describe(dataset)

    def open_teller(
        self,
        dataset: Dataset,
        extractor: Extractor,
        device: torch.device,
        workers: Workers = ALONE,
        storage: Storage | None = None,
    ) -> Extractor | None:
        """What tells the classes of images of `dataset`, as `open` opens its extractor; None if it has no classes."""
        if has_classes(dataset) and not is_teller(extractor, dataset):
            extractor = open_teller(self._labelled(dataset), device, Keeper(storage, device, workers))
            check_alike(extractor, device, workers)
        return extractor if has_classes(dataset) else None

    def find_teller(self, dataset: Dataset, extractor: Extractor, storage: Storage | None = None) -> Extractor | None:
        """What tells the classes of images of `dataset`, as `find` finds its extractor; None if it has no classes."""
        if not has_classes(dataset) or is_teller(extractor, dataset):
            return extractor if has_classes(dataset) else None
        try:
            return open_teller(self._labelled(dataset), torch.device("cpu"), stored_in(storage))
        except FileNotFoundError:
            return Nameplate(teller_name(dataset))

    def describe(self, dataset: Dataset) -> Extractor:
        """The nameplate of the extractor. ValueError as `open`, except for missing weights."""
        name, other = self._parts(dataset)
        if name in INCEPTION:
            return Nameplate(name, INCEPTION[name])
        return Nameplate(name if other is None else f"{name}:{other.name}")

    def _labelled(self, dataset: Dataset) -> Dataset:
        """The data set with all of its labels: a judge learns from those too that the model is not given."""
        settings = dataset.manifest.get("settings", {})
        if not settings.get("labels"):
            return dataset
        whole = DataConfig(**{**settings, "labels": 0, "label_seed": 0})
        return open_dataset(whole, self.data_root, self.download, verify=False)  # `dataset` was made of it

    def _parts(self, dataset: Dataset) -> tuple[str, Dataset | None]:
        if self.name in ("", *NAMES):
            return self.name or default_name(dataset), None
        config = DataConfig(self.name, size=dataset.shape.size)
        return "classifier", open_dataset(config, self.data_root, self.download)

    def _open(self, dataset: Dataset, device: torch.device, kept: Kept) -> Extractor:
        name, other = self._parts(dataset)
        dataset = self._labelled(dataset)
        return open_extractor(
            name,
            dataset,
            device,
            column=dataset.image_column,
            other=other,
            inception_weights=self.inception_weights or None,
            kept=kept,
        )


def check_alike(extractor: Extractor, device: torch.device, workers: Workers) -> None:
    """ValueError on at least one worker unless all have the same weights, else figures would mix two judges."""
    text = extractor.weights_hash
    own = torch.tensor([int(text[start : start + 4], 16) for start in range(0, 16, 4)], device=device)
    total = own.clone()
    workers.total([total])
    if not torch.equal(total, own * workers.size):
        raise ValueError(f"the workers' weights of {extractor.name} differ; bring the same file to every host")


@dataclass(frozen=True)
class Keeper:
    """Gives bytes by their key: rank 0 makes them, once for all processes that share a storage."""

    storage: Storage | None
    device: torch.device
    workers: Workers

    def __call__(self, key: str, make: Callable[[], bytes]) -> bytes:
        if self.storage is None:  # nothing is shared: every worker makes the same bytes
            return make()
        data = whole(self.storage, key)
        if data is None and self.workers.rank == 0:
            data = make()
            self.storage.put(f"{FOLDER}/{key}", data)
        self.workers.wait(self.device)
        return data if data is not None else get_weights(self.storage, key)


def stored_in(storage: Storage | None) -> Kept:
    """Gives bytes by their key that lie in `storage`, and never makes them: FileNotFoundError if they do not."""

    def find(key: str, make: Callable[[], bytes]) -> bytes:
        if storage is None:
            raise FileNotFoundError(key)
        data = get_weights(storage, key)
        try:
            from_bytes(data, torch.device("cpu"))
        except DamageError as error:  # whoever opens the judge makes it anew
            raise FileNotFoundError(key) from error
        return data

    return find


def whole(storage: Storage, key: str) -> bytes | None:
    """The bytes that are kept under `key`. None if there are none or, with a remark, if they are damaged."""
    data = storage.get(f"{FOLDER}/{key}")
    if data is None:
        return None
    where = f"{storage}/{FOLDER}/{key}"
    return data if read_or_remark(data, lambda kept: from_bytes(kept, torch.device("cpu")), where) is not None else None


def get_weights(storage: Storage, key: str) -> bytes:
    """The bytes that are kept under `key`. FileNotFoundError if there are none."""
    data = storage.get(f"{FOLDER}/{key}")
    if data is None:
        raise FileNotFoundError(f"{storage}/{FOLDER}/{key} is not there")
    return data


def shared_classifier(
    dataset: Dataset, storage: Storage | None, device: torch.device, workers: Workers = ALONE
) -> Extractor:
    """The extractor that judges a data set where none is named."""
    return Features().open(dataset, device, workers, storage)


def open_judge(
    dataset: Dataset,
    config: RunConfig,
    device: torch.device,
    workers: Workers = ALONE,
    storage: Storage | None = None,
) -> Judge:
    """The judge of `dataset` as a run's settings want it."""
    features = Features.of(config)
    extractor = features.open(dataset, device, workers, storage)
    teller = features.open_teller(dataset, extractor, device, workers, storage)
    return judge_by(extractor, dataset, config.evaluate, device, storage, teller)


def judge_by(
    extractor: Extractor,
    dataset: Dataset,
    evaluate: EvaluateConfig,
    device: torch.device,
    storage: Storage | None = None,
    teller: Extractor | None = None,
) -> Judge:
    """The judge of `dataset` with this extractor, and with what tells the classes of images."""
    importance = (evaluate.importance_images, evaluate.importance_samples)
    return Judge(dataset, extractor, device, evaluate.batch, storage, importance, teller)
