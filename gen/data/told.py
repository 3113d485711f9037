"""Classes of images that a file tells: a StyleGAN set's dataset.json, a table beside the images, the .cls files of
WebDataset, the label column of a Parquet table."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gen.data.decode import DamagedError
from gen.data.places import below, mark, reader, split_shard, without_secrets
from gen.data.raw import File
from gen.data.sheets import LABELS, ROW, rows_by_class
from gen.results.storage import one_line

TABLES = (".csv", ".tsv", ".jsonl")  # names of tables that may tell classes
WORDS = {"text", "caption", "description", "prompt", "url", "split", "id"}  # columns that tell no class
TRIED = 50  # rows of a table that tell which of its columns names images


@dataclass(frozen=True)
class Told:
    """What files tell of the classes of images."""

    classes: Mapping[str, str]  # name of an image -> its class; {}: the files say that there are none
    by: str  # the file that tells, or the first of them
    used: frozenset[str] = frozenset()  # names of the files that tell
    order: Sequence[str] = ()  # of the classes, where it is told too
    absent: Sequence[str] = ()  # names of images that are told of and are not there
    columns: Sequence[str] = ()  # of tables, which tell neither names nor classes


Source = tuple[Mapping[str, Any], frozenset[str]]
"""Name of an image, as the file has it -> class; and the names of the files that tell."""


def told_classes(place: str, pictures: Sequence[File], others: Sequence[File]) -> Told | None:
    """What the files `others` of a place tell of its pictures; None if nothing does. ValueError if two kinds of files
    tell, if they contradict themselves, or if they leave some of the pictures out."""
    told = [one for find in (of_sheets, of_json, of_tables, of_cls) if (one := find(place, pictures, others))]
    if len(told) > 1:
        raise ValueError(
            f"{without_secrets(place)} tells classes by {told[0].by!r} and by {told[1].by!r}; move one of them away"
        )
    if not told or not told[0].classes:
        return told[0] if told else None
    left = [picture.name for picture in pictures if picture.name not in told[0].classes]
    if left:
        raise ValueError(
            f"{without_secrets(place)}: {told[0].by!r} tells no class of {len(left)} of {len(pictures)} images, "
            f"such as {left[0]!r}; add them there, or move them away"
        )
    return told[0]


def open_texts(place: str) -> Callable[[str], bytes]:
    """A function from the name of a file that tells classes to its content. ValueError if it cannot be read."""
    read = reader(place)

    def read_text(name: str) -> bytes:
        try:
            return read(name)
        except DamagedError as error:
            raise ValueError(f"{without_secrets(place)}: {name!r} cannot be read: {error}") from None

    return read_text


def of_sheets(place: str, pictures: Sequence[File], others: Sequence[File]) -> Told | None:
    """Classes that the Parquet tables tell in which the pictures are rows."""
    shards = dict.fromkeys(split_shard(one.name)[0] for one in pictures if one.name.endswith(ROW))
    found, order = dict[str, str](), list[str]()
    for shard in shards:
        whole = below(place, shard) if shard else place
        classes, names = rows_by_class(whole, tuple(mark(whole)))
        order = [*names]
        found |= {f"{shard}/{name}" if shard else name: str(value) for name, value in classes.items()}
    return Told(found, next(iter(shards)) or PurePosixPath(place).name, order=order) if found else None


def of_json(place: str, pictures: Sequence[File], others: Sequence[File]) -> Told | None:
    """Classes that StyleGAN's dataset.json tells: {"labels": [[name, number], ...]}, or null where there are none."""
    for file in others:
        if PurePosixPath(file.name).name != "dataset.json":
            continue
        text = open_texts(place)(file.name)
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(
                f"{without_secrets(place)}: {file.name!r} is no JSON ({one_line(error)}); mend it, or move it away"
            ) from None
        try:
            pairs = dict(content["labels"] or {})
        except (ValueError, KeyError, TypeError):
            continue  # another file of that name
        used = frozenset({file.name})
        if not pairs or not all(isinstance(value, (int, str)) for value in pairs.values()):
            return Told({}, file.name, used)
        return match(place, file.name, pairs.items(), pictures, used)
    return None


def of_tables(place: str, pictures: Sequence[File], others: Sequence[File]) -> Told | None:
    """Classes that tables beside the images tell, such as labels.csv or metadata.csv. One column names images, by their
    paths from the table's folder, or without folder or suffix; one is called label, class ... or is the only other."""
    found, used, absent, columns = dict[str, str](), set[str](), list[str](), dict[str, None]()
    read = open_texts(place)
    for file in others:
        if not file.name.lower().endswith(TABLES):
            continue
        table = rows_of(file.name, read(file.name))
        pairs, more = pick_columns(table, finder(file.name, pictures))
        if pairs:
            one = match(place, file.name, pairs, pictures, frozenset({file.name}))
            clash = next((name for name in one.classes.keys() & found.keys() if one.classes[name] != found[name]), None)
            if clash is not None:
                raise ValueError(f"{without_secrets(place)}: tables tell two classes of {clash!r}; keep one")
            found |= one.classes
            used.add(file.name)
            absent += one.absent
            columns |= dict.fromkeys(more)
    return Told(found, min(used), frozenset(used), absent=absent, columns=[*columns]) if used else None


def rows_of(name: str, data: bytes) -> list[list[str]]:
    """The cells of a table as texts, the header first; [] for a file that is none."""
    try:
        text = data.decode("utf-8-sig")
        if name.lower().endswith(".jsonl"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            head = list(rows[0])
            return [head, *([str(row.get(key, "")) for key in head] for row in rows)]
        delimiter = "\t" if name.lower().endswith(".tsv") or "\t" in text.partition("\n")[0] else ","
        if delimiter == "," and ";" in (first := text.partition("\n")[0]) and "," not in first:
            delimiter = ";"
        return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except (UnicodeDecodeError, ValueError, csv.Error, IndexError, AttributeError, TypeError):
        return []


def pick_columns(table: Sequence[Sequence[str]], find: Callable[[str], str]) -> tuple[list[tuple[str, str]], list[str]]:
    """(image, class) of each row of a table that has both, and the names of its other columns; nothing if no column
    names images, or none tells classes."""
    if not table:
        return [], []
    width, tried = len(table[0]), table[: TRIED + 1]
    cells = [[row[column] for row in tried if len(row) > column] for column in range(width)]
    hits = [sum(bool(find(cell)) for cell in column) for column in cells]
    best = max(range(width), key=lambda column: (hits[column], sum("." in cell for cell in cells[column])))
    if 2 * hits[best] < len(tried) - 1 or not hits[best]:
        return [], []
    headless = bool(find(table[0][best]))
    head = [] if headless else [cell.strip().lower() for cell in table[0]]
    label = next((head.index(name) for name in LABELS if name in head), -1)
    if label in (-1, best):
        label = 1 - best if width == 2 and (headless or head[1 - best] not in WORDS) else -1
    if label < 0:
        return [], []
    rows = [row for row in table[not headless :] if len(row) > max(best, label) and row[label].strip()]
    return [(row[best], row[label].strip()) for row in rows], [
        name for column, name in enumerate(head) if column not in (best, label)
    ]


def finder(table: str, pictures: Sequence[File]) -> Callable[[str], str]:
    """A function from what a table calls an image to the image's name, "" if there is none. Names count by their path
    from the table's folder or from the place, and by their last part, whole or without suffix, where that is unique."""
    folder = table.rpartition("/")[0]
    exact = {key: file.name for file in pictures for key in (normal_form(file.name), from_folder(file.name, folder))}
    short = dict[str, str]()
    counts = Counter[str]()
    for file in pictures:
        last = normal_form(file.name.rpartition("/")[2])
        for key in {last, last.rpartition(".")[0]}:
            short[key] = file.name
            counts[key] += 1

    def find(text: str) -> str:
        key = normal_form(text.strip().replace("\\", "/").removeprefix("./"))
        return exact.get(key) or (short.get(key, "") if counts[key] == 1 else "")

    return find


def from_folder(name: str, folder: str) -> str:
    """The path of a file from a folder above it; the whole name if it lies elsewhere."""
    return normal_form(name.removeprefix(f"{folder}/") if folder else name)


def normal_form(text: str) -> str:
    """A text in the one of Unicode's forms by which names are compared: a disk may turn one into another."""
    return unicodedata.normalize("NFC", text)


def match(
    place: str, table: str, pairs: Iterable[tuple[str, Any]], pictures: Sequence[File], used: frozenset[str]
) -> Told:
    """The classes of pictures by what a file calls them. ValueError if it tells two classes of one."""
    find = finder(table, pictures)
    found, absent = dict[str, str](), list[str]()
    for called, value in pairs:
        name = find(called)
        if not name:
            absent.append(called)
        elif found.setdefault(name, str(value)) != str(value):
            raise ValueError(
                f"{without_secrets(place)}: {table!r} tells two classes of {name!r}, {found[name]} and {value}; keep "
                f"one"
            )
    return Told(found, table, used, absent=absent)


def of_cls(place: str, pictures: Sequence[File], others: Sequence[File]) -> Told | None:
    """Classes that the .cls files of WebDataset tell: each has the name of its image, up to the first dot."""
    keys = {key_of(file.name): file.name for file in others if file.name.endswith(".cls")}
    if not keys:
        return None
    read = open_texts(place)
    found = {
        file.name: read(keys[key]).decode("utf-8", "backslashreplace").strip()
        for file in pictures
        if (key := key_of(file.name)) in keys
    }
    return Told(found, next(iter(keys.values())), frozenset(keys.values()))


def key_of(name: str) -> str:
    """What the files of one sample of WebDataset have in common: the name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def in_order(classes: Iterable[str]) -> list[str]:
    """Names of classes sorted as numbers if all are whole numbers, else as texts."""
    names = {*classes}
    if all(name.lstrip("-").isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)
