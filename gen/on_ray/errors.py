"""What Ray says of an error in one of its processes, as one line."""

from __future__ import annotations

import re

from gen.damage import DamageError

TYPE = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b(\([\w, ]*\))?: ")  # "gen.results.room.FullError: "


def reason(error: BaseException) -> str:
    """The last line of an error's text, which tells why, without the names of types before it."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
    return TYPE.sub("", line) or line


def tells_damage(error: BaseException) -> bool:
    """Whether the last line of an error's text is a DamageError's, which Ray gives as text alone."""
    name = f"{DamageError.__module__}.{DamageError.__qualname__}: "
    return str(error).strip().rpartition("\n")[2].startswith(name)
