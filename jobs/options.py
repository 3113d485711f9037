"""What the jobs share: their options, how these become a config, and bad input as one line with exit status 2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import torch

from gen.config import Config, DataConfig, RunConfig, TwoStageConfig, flat, override, to_json
from gen.config.describe import WIDTH, kinds_text
from gen.data.dataset import Dataset, open_dataset, slug
from gen.data.preview import check_there, preview
from gen.data.sources import SOURCES
from gen.engine.build import build_model, check_memory, outline, steering
from gen.engine.stage_one import check_stage
from gen.judge import Features, Judge, judge_by
from gen.judge.networks.extractors import NAMES
from gen.record import names
from gen.record.tensorboard import check_installed
from gen.results.lease import Lease
from gen.results.renamed import to_present
from gen.results.storage import Storage, check_name
from gen.zoo import ZOO, entry
from jobs.places import absolute, data_at, storage_at
from jobs.program import Program
from jobs.program import refusing as refusing  # the jobs that import this file have it from here
from jobs.progress import decode_here
from jobs.runs import on_first_stage

BEFORE = """
Kinds: --set KEY=KIND takes a kind, with the defaults below if it is another
than the one in force; --set KEY.FIELD=VALUE changes a field of the kind in
force. In brackets: which families of entries have the setting.
"""
AFTER = """
python -m jobs.zoo lists the entries, python -m jobs.zoo ENTRY tells all of one.
"""


class Job(Program):
    """A batch job."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Ends the help of a job that trains an entry with the kinds that its settings choose among."""
        if any("--entry" in option.opts for option in self.params):
            formatter.write(f"{BEFORE}\n{kinds_text(ZOO.values(), WIDTH)}\n{AFTER}")  # lines that are not to be wrapped


def named(context: click.Context, option: click.Parameter, entry: str | None) -> str | None:
    """The entry, which every job needs but one that only reads an experiment (--replay)."""
    if entry is None and not isinstance(context.params.get("replay"), str):
        raise click.MissingParameter(ctx=context, param=option)
    return entry


@dataclass(frozen=True)
class Asked:
    """What jobs.train or jobs.tune was asked for by the options that both have."""

    config: RunConfig
    storage: Storage
    name: str
    data_root: str | None
    download: bool
    dry_run: bool
    tensorboard: bool  # write TensorBoard's event files too
    take_over: bool  # take the name from a job that may still write it
    pinned: Sequence[str]  # settings named by --set: a search leaves them alone
    said: Mapping[str, Any] = field(default_factory=dict)  # settings named by --set or by options of their own

    def open(self) -> Dataset:
        """The data set. ValueError where it is missing or damaged, or where the entry or the features do not fit it."""
        dataset = open_dataset(self.config.data, self.data_root, self.download, runner=decode_here)
        self.check(dataset)
        return dataset

    def look(self) -> None:
        """Checks what can be told before any image is read: what `open` checks, but for the contents of the images.
        ValueError where something is wrong."""
        dataset = look_at(self)
        if dataset is not None:
            self.check(dataset)

    def check(self, dataset: Dataset) -> None:
        """ValueError where the entry or the features do not fit the data set."""
        check_stage(self.config, dataset)
        self.features().find(dataset)  # an error if its weights are missing, or the labels to learn from
        if (sketch := outline(self.config, dataset.shape)) is not None:
            check_memory(self.config, sketch, self.config.machine.device == "cpu")
        model = build_model(self.config, dataset, torch.device("cpu"))
        steering(self.config, self.naming_judge(dataset), model)

    def submission(
        self, lease: Lease, data_hashes: Mapping[DataConfig, str], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What every process of the job is sent: the fields of `gen.on_ray.submission.Submission`."""
        where = {"storage": lease.storage, "experiment": self.name, "attempt": lease.attempt, "facts": facts}
        data = {"data_hashes": data_hashes, "data_root": self.data_root, "download": self.download}
        return {**where, **data, "tensorboard": self.tensorboard}

    def features(self) -> Features:
        """The extractor that is asked for."""
        return Features.of(self.config, self.data_root, self.download)

    def naming_judge(self, dataset: Dataset) -> Judge:
        """A judge that can name the figures of a model. ValueError where there is no extractor for the data set."""
        features, cpu = self.features(), torch.device("cpu")
        extractor = features.describe(dataset)
        teller = features.find_teller(dataset, extractor)
        return judge_by(extractor, dataset, self.config.evaluate, cpu, teller=teller)


def look_at(asked: Asked, data: DataConfig | None = None) -> Dataset | None:
    """The data set that is asked for, or `data`, as far as it is known before any image is read; None if that is too
    little to check by. ValueError where it, the set whose features judge, or the storage cannot be there."""
    asked.storage.check_possible()
    features = asked.config.evaluate.features
    dataset = preview(data or asked.config.data, asked.data_root, asked.download)
    if features and features not in NAMES:
        check_there(features)
        return None  # the other set's images tell whether it fits
    staged = isinstance(asked.config.model, TwoStageConfig)
    return None if dataset is None or (staged and not dataset.hash) else dataset


DATA_OPTIONS: Sequence[Callable[..., Any]] = (
    click.option(
        "--data",
        help=f"{', '.join(SOURCES)}; images:PATH, unpaired:PATH (a folder, an archive or a URI). Default: digits.",
    ),
    click.option("--data-root", type=click.Path(), help="Folder of a named set's originals, in torchvision's layout."),
    click.option("--download", is_flag=True, help="Fetch the originals if they are missing."),
    click.option(
        "--size", type=int, help="Pixels a side after a centre crop (or data.fit) and resizing; default: as they are."
    ),
    click.option("--labels", type=int, help="Training images that keep their labels, balanced over the classes."),
    click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
)
TAKE_OVER = click.option("--take-over", is_flag=True, help="Take the name from a job that may still run; it ends.")
OPTIONS: Sequence[Callable[..., Any]] = (
    click.option("--entry", callback=named, help="Entry of the zoo, such as vqvae.  [required]"),
    click.option("--stage-one", help="First stage of a prior: EXPERIMENT/RUN, or EXPERIMENT for its best run."),
    *DATA_OPTIONS,
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting, by its dotted key."),
    click.option("--epochs", type=int, help="Passes over the training images."),
    click.option("--seed", type=int, help="Seed of the run, or of the search."),
    click.option("--workers", type=int, help="Processes that train one model together."),
    click.option("--device", help="auto (the default), cpu or cuda."),
    click.option("--storage", default="results", show_default=True, help="Folder or URI for tables and checkpoints."),
    click.option("--name", help="Experiment; the same name goes on where it stopped. Default: ENTRY-DATA."),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files too, to STORAGE/NAME/_tensorboard."),
    TAKE_OVER,
    click.option("--dry-run", is_flag=True, help="Print the resolved config as JSON and stop."),
)


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options to a job."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def resolve(options: dict[str, Any]) -> Asked:
    """Takes the shared options out of `options`, as one value. ValueError for whatever is wrong with them."""
    taken = {key: options.pop(key) for key in ("epochs", "seed", "workers", "device")}
    texts = options.pop("settings")
    keys = {
        "epochs": "budget.epochs",
        "seed": "seed",
        "workers": "machine.workers",
        "device": "machine.device",
    }
    config, storage = entry(options.pop("entry")), storage_at(options.pop("storage"))
    if (stage := options.pop("stage_one")) is not None:
        config = on_first_stage(config, storage, stage)
    said = {keys[key]: value for key, value in taken.items() if value is not None} | data_settings(options)
    pairs = pairs_of("set", texts, config.family)
    config = configure(config, pairs, said)
    places = {"data.name": config.data.name, "evaluate.features": config.evaluate.features}
    config = override(config, {key: data_at(key, name) for key, name in places.items()})
    if weights := config.machine.inception_weights:
        config = override(config, {"machine.inception_weights": absolute("machine.inception_weights", weights)})
    name = f"{config.entry}-{slug(config.data.name)}" if (said_name := options.pop("name")) is None else said_name
    check_name("name", name)
    if stage is None:  # else the data are those of the first stage
        storage.check_possible()
        if storage.exists(name):
            raise ValueError(f"name {name} cannot be an experiment: {storage}/{name} is a file; use another --name")
        usual = names.defaults_of(storage, name)
        config = override(config, {key: usual[key] for key in usual.keys() - pairs.keys() - said.keys()})
    root, tensorboard = options.pop("data_root"), options.pop("tensorboard")
    if tensorboard:
        check_installed()
    return Asked(
        config.resolve(),
        storage,
        name,
        absolute("data-root", root),
        options.pop("download"),
        options.pop("dry_run"),
        tensorboard,
        options.pop("take_over"),
        list(pairs),
        pairs | said,
    )


def configure(config: Config, pairs: dict[str, str], said: dict[str, Any], prefix: str = "") -> Config:
    """`config` with the settings `pairs` of --set and those `said` by options of their own, whose dotted keys begin
    with `prefix`. ValueError where the two say different things."""

    def over(config: Config, settings: dict[str, Any]) -> Config:
        return override(config, {key.removeprefix(prefix): value for key, value in settings.items()}, prefix)

    first = over(config, pairs)
    found = over(first, said)
    before, after = flat(first, prefix), flat(found, prefix)
    for key in pairs.keys() & said.keys():
        if before[key] != after[key]:
            raise ValueError(f"{key}={before[key]} by --set and {after[key]} by its own option; say one of them")
    return found


def split_names(option: str, text: str | None) -> list[str]:
    """The names in A,B,C; none without the option (None). ValueError if the option is there and names none."""
    found = [part.strip() for part in (text or "").split(",") if part.strip()]
    if text is not None and not found:
        raise ValueError(f"{option}={text!r} names none; write A,B,C, or leave it out")
    return found


def check_ticks(config: RunConfig) -> None:
    """ValueError if the budget ends inside a tick, for the tick would train beyond it."""
    epochs, every = config.budget.epochs, config.evaluate.every
    if epochs % every:
        raise ValueError(f"epochs={epochs} is no multiple of evaluate.every={every}: a run ends where it is measured")


def data_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options about data as settings; takes them out of `options`."""
    keys = {"data": "data.name", "size": "data.size", "labels": "data.labels", "skip_bad": "data.skip_bad"}
    found = {key: options.pop(name) for name, key in keys.items()}
    return {key: value for key, value in found.items() if value is not None and value is not False}


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE as two texts. ValueError if it is not that, or if the key is part of a first stage."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ValueError(f"{text!r} is not KEY=VALUE, such as model.beta=4")
    if key.startswith("model.stage_one"):
        raise ValueError(f"{key.strip()} is what the first stage's run says; name another run by --stage-one")
    return key.strip(), value.strip()


def pairs_of(option: str, texts: Iterable[str], family: str = "") -> dict[str, str]:
    """The texts KEY=VALUE of an option that may be said several times, with the present names of a family's settings.
    ValueError where two of them say different things of one key: one would be dropped."""
    found = dict[str, str]()
    for text in texts:
        for key, value in to_present(family, dict([pair(text)])).items():
            if found.setdefault(key, value) != value:
                raise ValueError(f"--{option} says {key}={found[key]} and {key}={value}; say one of them")
    return found


def show(config: RunConfig, **more: Any) -> None:
    """Prints a resolved config as JSON."""
    print(json.dumps(json.loads(to_json(config)) | more, indent=2))
