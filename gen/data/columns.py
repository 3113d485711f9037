"""The columns that tables may have, and what their values are. No code tells that from the type of an array."""

from __future__ import annotations

from typing import Literal

Kind = Literal["image", "label", "codes"]

COLUMNS: dict[str, Kind] = {
    "image": "image",  # uint8 (N, C, H, W)
    "unlabelled": "image",  # images without the labels that others have
    "a": "image",  # the two domains of unpaired sets
    "b": "image",
    "label": "label",  # int64 (N,)
    "codes": "codes",  # of a first stage: whole numbers (N, ...)
}


def is_image(column: str) -> bool:
    """Whether the values of a column are images. ValueError for a column that is not known."""
    if column not in COLUMNS:
        raise ValueError(
            f"column {column!r} is not known; allowed: {', '.join(COLUMNS)}; add it to gen/data/columns.py"
        )
    return COLUMNS[column] == "image"
