"""The kinds of pictures: what each needs of a model, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gen.capabilities import (
    Conditional,
    Decodes,
    Embeds,
    Encodes,
    Imitates,
    Interpolates,
    Quantises,
    Reconstructs,
    Translates,
    has,
)
from gen.data.dataset import Dataset
from gen.data.stream import mixture, rows_of
from gen.distributed.machine import seed
from gen.phase import Model
from gen.pictures import codes, files

COUNT = 64  # images in a grid of fakes or reconstructions
STEPS = 10  # images on a line between two latents, both ends among them
PAIRS = tuple((place, place + 1) for place in range(0, 10, 2))  # places in the mixture of the images
MANIFOLD = 20  # quantiles a side of the manifold
CLASSES, OF_A_CLASS = 20, 10  # most classes that get a row, and fakes in a row
PASS = 500  # images a step of a pass over the whole split
NOISE = 0x70696374  # the pictures' own seed: the same latents at every tick


@dataclass(frozen=True)
class Scene:
    """The real images that a picture needs, and the device on which it is drawn."""

    dataset: Dataset
    device: torch.device
    dtype: torch.dtype = torch.float32
    split: str = "test"
    pairs: Sequence[tuple[int, int]] = ()  # rows of the split whose latents a line joins; none: some, always the same
    caption: str = ""  # what the picture says of itself; "": nothing

    def __post_init__(self) -> None:
        for number in {number for pair in self.pairs for number in pair}:
            if not 0 <= number < len(self):
                raise ValueError(f"pair has image {number}, but {self.split} has images 0 to {len(self) - 1}")

    def __len__(self) -> int:
        return self.dataset.length(self.split)

    def rows(self, numbers: Tensor) -> dict[str, Tensor]:
        """A batch of the rows `numbers` (N,) of the split; shorter tables repeat."""
        return rows_of(self.dataset, self.split, numbers, self.device, self.dtype)

    @property
    def ends(self) -> Sequence[tuple[int, int]]:
        """The pairs that were asked for, else some from the beginning of the split's mixture (`gen.data.stream`)."""
        order = mixture(len(self)).tolist()
        return self.pairs or [(order[first], order[last]) for first, last in PAIRS if last < len(order)]

    def some(self, count: int) -> dict[str, Tensor]:
        """A batch of `count` rows, the same every time, of all classes even where the split is sorted by them."""
        return self.rows(mixture(len(self))[torch.arange(count) % len(self)])

    @property
    def count(self) -> int:
        """Images in the column "image": not all of the split, if most lie in "unlabelled"."""
        return self.dataset.count(self.split, "image")

    @property
    def images(self) -> str:
        """The real images in words, for captions."""
        return f"{self.count:,} {self.split} images of {self.dataset.name}"

    @property
    def text(self) -> str:
        """What stands above a plot: the images whose numbers it shows, and the caption."""
        return "\n".join(filter(None, (self.images, self.caption)))


@dataclass(frozen=True)
class Kind:
    """One kind of picture."""

    capability: type
    name: str
    draw: Callable[[Any, Scene], bytes]  # of a model with the capability, in evaluation mode
    suffix: str = "png"
    cheap: bool = False  # drawn during training too
    fits: Callable[[Any], bool] = lambda model: True  # whether a model with the capability can be drawn so
    shows: Callable[[Any], str] = lambda model: ""  # what lies where in the picture

    def has_pairs(self, model: Model) -> bool:
        """Whether it joins the pairs of images of a scene. A model without an encoder draws latents instead."""
        return self.capability is Interpolates and has(model, Encodes)


def grids(
    model: Model,
    dataset: Dataset,
    device: torch.device,
    split: str = "test",
    failed: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Name and PNG file of each cheap kind that `model`, in evaluation mode, allows. A picture that cannot be drawn is
    told to `failed`, with the reason, and the others are drawn, so that no run ends for a picture. Without `failed` the
    error is raised."""
    scene = Scene(dataset, device, next(model.parameters()).dtype, split)
    for kind in KINDS:
        if not kind.cheap or not has(model, kind.capability):
            continue
        try:
            if not kind.fits(model):
                continue
            png = paint(kind, model, scene)
        except Exception as error:
            if failed is None:
                raise
            failed(f"{kind.name} not drawn: {type(error).__name__}: {error}")
        else:
            yield kind.name, png


def choose_kinds(model: Model, names: Sequence[str] = ()) -> list[Kind]:
    """The kinds that can be drawn of `model`, or of these `names`. ValueError if one cannot (names those that can)."""
    kinds = {kind.name: kind for kind in KINDS if has(model, kind.capability) and kind.fits(model)}
    for name in names:
        if name not in kinds:
            raise ValueError(f"kind {name!r} cannot be drawn of this model; allowed: {', '.join(kinds) or 'none'}")
    return [kinds[name] for name in names or kinds]


def paint(kind: Kind, model: Model, scene: Scene) -> bytes:
    """The file of one picture, the same every time. `model` is in evaluation mode."""
    seed(scene.device, NOISE)
    with torch.no_grad():
        return kind.draw(model, scene)


def fakes_beside_real(model: Imitates, scene: Scene) -> bytes:
    """Fakes on the left, real images of the same column on the right, 8 x 8 each."""
    batch = scene.some(COUNT)
    fakes = model.imitate(batch)
    return files.png(
        files.beside([files.tile(of[column], 8) for column in fakes if column in batch for of in (fakes, batch)]),
        scene.caption,
    )


def sources_over_translations(model: Translates, scene: Scene) -> bytes:
    """Each row of 16 images of one column stands over the row of their translations; and this, if the model
    reconstructs the column, over the row of what comes back of them."""
    batch = scene.some(COUNT)
    made = model.imitate(batch)
    back = model.reconstruct(batch) if has(model, Reconstructs) and cycles(model) else {}

    def rows(column: str, source: str) -> list[Tensor]:
        white = torch.ones_like(made[column])
        return [batch[source], made[column], *([back.get(source, white)] if back else [])]

    return files.png(
        files.beside([strips(*rows(column, source)) for column, source in model.sources.items()]), scene.caption
    )


def originals_over_reconstructions(model: Reconstructs, scene: Scene) -> bytes:
    """Each row of 16 originals stands over the row of their reconstructions."""
    batch = scene.some(COUNT)
    made = model.reconstruct(batch)
    return files.png(
        files.beside([strips(batch[column], made[column]) for column in made if column in batch]), scene.caption
    )


def strips(*parts: Tensor) -> Tensor:
    """One picture (C, H', W') of parts, images (64, C, H, W): each row of 16 of the first part stands over the same 16
    of the others."""
    widest = max(parts, key=lambda part: part.shape[1])  # a grey image may stand over one in colour
    rows = [part.expand_as(widest).reshape(-1, 16, *widest.shape[1:]) for part in parts]  # (4, 16, C, H, W) each
    return files.tile(torch.stack(rows, dim=1).flatten(0, 2), 16)


def one_row_a_class(model: Conditional, scene: Scene) -> bytes:
    """On the left a real image of each class, if the split has one; then its fakes. Each column starts from the same
    noise, so that what does not depend on the class is alike in it."""
    labels = scene.dataset.column(scene.split, "label")
    batch = scene.rows(torch.arange(OF_A_CLASS))
    real, fakes = [], []
    for label in range(min(CLASSES, model.classes)):
        seed(scene.device, NOISE)
        fakes.append(model.imitate({**batch, "label": torch.full_like(batch["label"], label)})["image"])
        found = (labels == label).nonzero().flatten()[:1]
        example = scene.rows(found)["image"]
        real.append(example if len(found) else torch.ones_like(batch["image"][:1]))
    return files.png(
        files.beside([files.tile(torch.cat(real), 1), files.tile(torch.cat(fakes), OF_A_CLASS)]), scene.caption
    )


def line_rows(model: Interpolates, scene: Scene) -> bytes:
    """A row a pair: the images along the line between its latents; if the model encodes, the two originals stand at the
    ends of the row."""
    lines, ends = along_the_lines(model, scene)  # (P, steps, C, H, W), (P, 2, C, H, W)
    parts = [files.tile(lines.flatten(0, 1), lines.shape[1])]
    if has(model, Encodes):
        parts = [files.tile(ends[:, 0], 1), *parts, files.tile(ends[:, 1], 1)]
    return files.png(files.beside(parts), scene.caption)


def line_frames(model: Interpolates, scene: Scene) -> bytes:
    """The lines of `line_rows` as an animation: one frame a step, all pairs side by side."""
    lines, _ = along_the_lines(model, scene)
    return files.gif([files.tile(step, len(step)) for step in lines.unbind(1)], scene.caption)


def along_the_lines(model: Interpolates, scene: Scene) -> tuple[Tensor, Tensor]:
    """Images (P, steps, C, H, W) along the lines between the pairs of a scene, and those pairs (P, 2, C, H, W)."""
    batch = scene.rows(torch.tensor(scene.ends).flatten())
    originals = batch["image"]
    return model.interpolate(batch, STEPS), originals.view(-1, 2, *originals.shape[1:])


def manifold(model: Decodes, scene: Scene) -> bytes:
    """Images at the Gaussian quantiles of a 20 x 20 grid in the unit square (Kingma and Welling 2013, figure 4), the
    first latent growing to the right, the second upwards. A conditional model is given the first pair's first label."""
    shares = (torch.arange(MANIFOLD, device=scene.device, dtype=scene.dtype) + 0.5) / MANIFOLD
    quantiles = torch.special.ndtri(shares)
    second, first = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    latents = torch.stack([first, second], dim=-1).flatten(0, 1)  # (400, 2)
    given = scene.rows(torch.full((len(latents),), scene.ends[0][0]))
    images = model.decode_latents(latents, given)
    return files.png(files.tile(images, MANIFOLD), scene.caption)


def code_map(model: Embeds, scene: Scene) -> bytes:
    """The codebook's vectors in the plane, coloured by their use over the split."""
    vectors = model.code_vectors().double().cpu().numpy()
    return files.plot_png(codes.use_map(vectors, use(model, scene).numpy(), scene.text), scene.caption)


def code_use(model: Quantises, scene: Scene) -> bytes:
    """The histogram of the codes' use over the split."""
    return files.plot_png(codes.use_histogram(use(model, scene), scene.text), scene.caption)


def use(model: Quantises, scene: Scene) -> Tensor:
    """How often the split uses each code (K,), int64, on the CPU."""
    counts = torch.zeros(model.codebook_size, dtype=torch.int64, device=scene.device)
    for numbers in torch.split(torch.arange(scene.count), PASS):
        counts += torch.bincount(model.codes(scene.rows(numbers)).flatten(), minlength=len(counts))
    return counts.cpu()


def rows_of_classes(model: Conditional) -> str:
    """What lies where in the picture of classes, and which classes have a row."""
    left = f", classes 0 to {CLASSES - 1} of {model.classes}" if model.classes > CLASSES else ""
    return f"a real image, then its class's fakes{left}"


def cycles(model: object) -> set[str]:
    """The columns that a model translates and back again: their reconstructions stand under their translations."""
    back = set(model.reconstructed) if has(model, Reconstructs) else set[str]()
    return back & set(model.sources.values()) if has(model, Translates) else set()


def rows_of_translations(model: Translates) -> str:
    """What lies over what in the picture of translations."""
    return "sources over translations" + (" over what comes back" if cycles(model) else "")


def in_two_dimensions(model: Decodes) -> bool:
    """Whether the latents are points of the plane."""
    return model.latent_size == 2


KINDS: tuple[Kind, ...] = (
    Kind(
        Imitates,
        "fakes",
        fakes_beside_real,
        cheap=True,
        fits=lambda model: not has(model, Translates),
        shows=lambda model: "fakes left, real right",
    ),
    Kind(
        Translates,
        "translations",
        sources_over_translations,
        cheap=True,
        shows=rows_of_translations,
    ),
    Kind(
        Reconstructs,
        "reconstructions",
        originals_over_reconstructions,
        cheap=True,
        fits=lambda model: set(model.reconstructed) != cycles(model),
        shows=lambda model: "originals over reconstructions",
    ),
    Kind(Conditional, "classes", one_row_a_class, shows=rows_of_classes),
    Kind(Interpolates, "interpolation", line_rows),
    Kind(Interpolates, "animation", line_frames, suffix="gif"),
    Kind(Decodes, "manifold", manifold, fits=in_two_dimensions),
    Kind(Embeds, "code-map", code_map),
    Kind(Quantises, "code-use", code_use),
)
