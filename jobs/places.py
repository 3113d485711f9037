"""The places that a user names: absolute, as every process and host understands them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gen.data.places import normal
from gen.data.sources import everywhere
from gen.results.room import FullError, room_at
from gen.results.storage import URI, Storage

INSIDE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by `ray job submit` for its driver


def absolute(option: str, place: str | None) -> str | None:
    """A path or URI that processes with other working folders understand. ValueError as for `check_lasts`."""
    if place is None:
        return None
    check_lasts(option, place)
    return normal(place)


def storage_at(place: str) -> Storage:
    """The storage that --storage names. ValueError as for `check_lasts`, for a place that is none, and for one that
    does not answer."""
    check_lasts("storage", place)
    storage = Storage(place)
    storage.check_reachable()
    return storage


def data_at(option: str, name: str) -> str:
    """A data set's name, with an absolute place where it has one. ValueError as for `check_lasts`."""
    if everywhere(name) != name:
        check_lasts(option, name.partition(":")[2])
    return everywhere(name)


def check_lasts(option: str, place: str) -> None:
    """ValueError for no place at all, or for a relative path inside a submitted job: it would lie in the job's copy of
    the code, which Ray deletes with all that is in it."""
    if not place.strip():
        raise ValueError(f"{option}={place!r} names no place; give a path or a URI like s3://bucket/prefix")
    if INSIDE in os.environ and not URI.match(place) and not place.startswith(("/", "~")):
        raise ValueError(
            f"{option}={place} is relative, and a submitted job runs in a copy of the code that goes with it; give "
            f"an absolute path that all hosts reach, or a URI like s3://bucket/prefix"
        )


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turns an error of writing below `out` into bad input."""
    try:
        with room_at(f"out={out}", out.absolute()):
            yield
    except FullError as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:  # as in `refusing`
        raise
    except OSError as error:
        raise click.ClickException(
            f"out={out} cannot be written ({error.strerror}); name another folder by --out"
        ) from error
