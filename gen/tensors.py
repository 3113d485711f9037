"""Tensors as bytes: how checkpoints, reference statistics and extractors are stored, and damaged ones refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gen.damage import DamageError

END = b"PK\x05\x06"  # how the last part of a zip archive begins
COMMENT = 20  # bytes from there to the length of the archive's comment, which is last of all
ZIP = b"PK"  # how a zip archive begins, which PyTorch's files are; those before its version 1.6 were not
LENGTHS = struct.Struct("<26xHH")  # in the header before a member: bytes of its name, and of what fills up to it
DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError)
"""What PyTorch raises for bytes of something else, and what readers raise for values that they do not expect."""


def to_bytes(value: Any) -> bytes:
    """Tensors, numbers, text or containers of them as bytes that `from_bytes` reads."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def from_bytes(data: bytes | Path, device: torch.device | str = "cpu") -> Any:
    """The value that `to_bytes` or `torch.save` stored, with its tensors on `device`. Nothing in the bytes is run. Call
    it inside `reading`, which says what is damaged. DamageError for bytes that are not those that were stored."""
    found = data if isinstance(data, bytes) else data.read_bytes()
    check_sums(found)
    try:
        return torch.load(io.BytesIO(found), map_location=device, weights_only=True)
    except Exception as error:  # whatever PyTorch's readers raise for bytes that nobody checked
        raise DamageError(first_line(error)) from error


def with_comment(data: bytes, text: str) -> bytes:
    """The bytes of a file that holds the same, with a comment after it; `comment_of` reads it."""
    end, comment = data.rindex(END) + COMMENT, text.encode()
    return data[:end] + struct.pack("<H", len(comment)) + comment


def comment_of(data: bytes) -> str:
    """The comment after what a file holds; "" if there is none."""
    start = data.rfind(END)
    return data[start + COMMENT + 2 :].decode(errors="replace") if start >= 0 else ""


def check_sums(data: bytes) -> None:
    """DamageError unless the members of PyTorch's zip archive have the checksums that were stored with them, which its
    own reader passes over. Of a file from before PyTorch 1.6, which is no archive, nothing can be told."""
    if not data.startswith(ZIP):
        return
    view = memoryview(data)
    try:
        for member in zipfile.ZipFile(io.BytesIO(data)).infolist():
            start = member.header_offset + LENGTHS.size + sum(LENGTHS.unpack_from(view, member.header_offset))
            stored = member.compress_type == zipfile.ZIP_STORED and not member.external_attr
            if not stored or zlib.crc32(view[start : start + member.file_size]) != member.CRC:
                raise DamageError(f"the checksum of {member.filename!a} differs")
    except DamageError:
        raise
    except Exception as error:  # whatever zipfile raises for a directory that is damaged
        raise DamageError(first_line(error)) from error


@contextmanager
def reading(damaged: str) -> Iterator[None]:
    """Turns what damaged bytes raise inside into a DamageError with the text `damaged`, in which the reason replaces
    "{reason}"."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (DamageError, *DAMAGED) as error:
        raise DamageError(damaged.replace("{reason}", first_line(error))) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip() or type(error).__name__
