"""Settings in words, for the help texts and for jobs.zoo: each setting with its default, each kind, each model's paper.

All words come from the source of the dataclasses: the trailing comment of a field gives its unit and the paper's value,
the docstring of a kind tells what it is, and the docstring of a model's module the paper and the deviations from it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import io
import re
import sys
import textwrap
import tokenize
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gen.config.override import FIXED
from gen.config.tree import RunConfig
from gen.config.variants import hints, is_group, is_variant, kinds_of, name_of, uncommon

WIDTH = 80  # characters in a line of a help text
DEVIATIONS = re.compile(r"^Deviations from the papers?:\n", re.MULTILINE)
CITATION = re.compile(r"(?:^|[,:] )([^,;:()]+ (?:19|20)\d\d)\b")  # authors and year
LINK = re.compile(r"https?://([^\s,;()]+)")


def as_text(value: Any) -> str:
    """A setting's value as --set takes it in a shell."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return '""' if value == "" else str(value)


@dataclass(frozen=True)
class Setting:
    """One setting."""

    key: str  # dotted
    value: Any  # of a variant, the name of its kind
    comment: str  # behind its field
    allowed: tuple[Any, ...] = ()  # the values that it can have, where these are few

    @property
    def text(self) -> str:
        """The value, as --set takes it."""
        return as_text(self.value)

    @property
    def line(self) -> tuple[str, str, str]:
        """Key, value, and the comment with the allowed values: a row of a table."""
        few = f"one of {', '.join(map(as_text, self.allowed))}" if self.allowed else ""
        return self.key, self.text, "; ".join(part for part in (self.comment, few) if part)


@dataclass(frozen=True)
class Choice:
    """A setting that is one of several kinds."""

    key: str
    chosen: str  # the kind in force; inside a kind that is not in force, the default one
    kinds: Mapping[str, type]

    def fields(self, name: str) -> list[Setting]:
        """The fields of the kind `name` with their defaults."""
        return list(settings(self.kinds[name](), inside=False))


@dataclass(frozen=True)
class Source:
    """What the docstring of a model's module says."""

    paper: str  # title, authors, link
    deviations: tuple[str, ...]  # from the paper, in the order of their numbers


def settings(group: Any, prefix: str = "", inside: bool = True) -> Iterator[Setting]:
    """Every setting of a group, in the order of `flat`. `inside`: also the fields of its variants' kinds."""
    told = comments(type(group))
    for entry in dataclasses.fields(group):
        value, key = getattr(group, entry.name), prefix + entry.name
        if is_variant(value):
            yield Setting(key, name_of(value), told[entry.name], tuple(kinds_of(group, entry.name)))
        elif not is_group(value):
            hint = hints(type(group))[entry.name]
            few = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
            yield Setting(key, value, told[entry.name], few)
        if is_group(value) and (inside or not is_variant(value)):
            yield from settings(value, f"{key}.", inside)


def choices(group: Any, prefix: str = "") -> Iterator[Choice]:
    """Every variant in a group, and also the variants inside each kind that a variant can have. If several kinds have
    one under the same key, it is that of the kind in force, else that of the first kind."""
    for entry in dataclasses.fields(group):
        value, key = getattr(group, entry.name), prefix + entry.name
        if is_variant(value):
            kinds = kinds_of(group, entry.name)
            yield Choice(key, name_of(value), kinds)
            inner: dict[str, Choice] = {}
            for kind in (value, *(kind() for kind in kinds.values() if type(value) is not kind)):
                for choice in choices(kind, f"{key}."):
                    inner.setdefault(choice.key, choice)
            yield from inner.values()
        elif is_group(value):
            yield from choices(value, f"{key}.")


def alike(found: Iterable[Choice]) -> list[list[Choice]]:
    """Lists of the choices that have the same kinds, such as those of all optimisers."""
    groups: dict[int, list[Choice]] = {}
    for choice in found:
        groups.setdefault(id(choice.kinds), []).append(choice)
    return list(groups.values())


def comments(group: type) -> dict[str, str]:
    """Field of a dataclass, inherited ones too -> the comment behind it; "" where there is none."""
    found: dict[str, str] = {}
    for base in reversed(group.__mro__):
        if dataclasses.is_dataclass(base):
            found |= comments_in(inspect.getsource(base))
    return {entry.name: found.get(entry.name, "") for entry in dataclasses.fields(group)}


def comments_in(source: str) -> dict[str, str]:
    """Field -> the comment behind it, in the source of one class. The comment goes on in the lines directly below that
    hold nothing but a comment."""
    source = textwrap.dedent(source)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    behind, alone = dict[int, str](), dict[int, str]()  # line -> comment
    for token in tokens:
        if token.type == tokenize.COMMENT:
            (alone if token.line.lstrip().startswith("#") else behind)[token.start[0]] = token.string.lstrip("# ")
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            line = node.end_lineno or node.lineno
            parts = [behind[number] for number in range(node.lineno, line + 1) if number in behind]
            while parts and (line := line + 1) in alone:
                parts.append(alone[line])
            found[node.target.id] = " ".join(parts)
    return found


def source_of(config: RunConfig) -> Source:
    """The paper of an entry's model, and the deviations from it."""
    return parse_docstring(sys.modules[type(config.model).__module__].__doc__ or "")


def parse_docstring(docstring: str) -> Source:
    """Reads a model's docstring: the paper first, then a numbered list of deviations, if there are any."""
    paper, *rest = DEVIATIONS.split(inspect.cleandoc(docstring), 1)
    items = [item for text in rest for item in re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]]
    return Source(unwrap(paper), tuple(unwrap(item.partition("\n\n")[0]) for item in items))


def unwrap(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def citation(config: RunConfig) -> str:
    """Authors and year of an entry's paper; its link where it names no authors; "" where there is no paper.

    The paper is the model's. But an entry whose settings differ from the model's defaults has the papers that those
    settings cite, if any: a kind in its docstring, a value in the comment on its field.
    """
    paper = source_of(config).paper
    found = [match[1] for text in unusual(config.model) if (match := CITATION.search(text))]
    found = found or [match[1] for pattern in (CITATION, LINK) if (match := pattern.search(paper))][:1]
    return " + ".join(dict.fromkeys(found))


def unusual(group: Any) -> Iterator[str]:
    """What the source says of the settings in a group that are not the defaults: of a kind its docstring, of a value
    the comment on its field."""
    told = {one.key: one.comment for one in settings(group)}
    for key in uncommon(group):
        value = functools.reduce(getattr, key.split("."), group)
        yield unwrap(inspect.getdoc(value) or "") if is_variant(value) else told[key]


NO_BREAK = "\N{NO-BREAK SPACE}"  # a key and what is told of it stay on one line


def kinds_text(configs: Iterable[RunConfig], width: int = WIDTH) -> str:
    """The kinds that the variants of these entries can have, each with its fields and their defaults, as one text."""
    found: dict[tuple[str, int], tuple[Choice, dict[str, None]]] = {}  # with the families of the entries
    for config in configs:
        for choice in choices(config):
            _, families = found.setdefault((choice.key, id(choice.kinds)), (choice, {}))
            families[config.family] = None
    lines = list[str]()
    for group in alike(choice for choice, _ in found.values()):
        keys = [f"{choice.key}{NO_BREAK}({', '.join(found[choice.key, id(choice.kinds)][1])})" for choice in group]
        lines += [line.replace(NO_BREAK, " ") for line in fold(", ".join(keys), width, "  ")]
        for name in group[0].kinds:
            fields = " ".join(f"{field.key}={field.text}" for field in group[0].fields(name))
            lines += fold(fields, width, f"    {name:14}  ")
    return "\n".join(lines)


def fold(text: str, width: int, first: str) -> list[str]:
    """A text in lines of at most `width` characters: the first begins with `first`, the others are indented as far."""
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
    return lines or [first.rstrip()]


def columns(rows: Sequence[Sequence[str]], indent: str = "", width: int = 0) -> list[str]:
    """Rows of texts as the lines of a table. `width`: the last column is folded to lines of so many characters."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = list[str]()
    for *texts, last in rows:
        first = indent + "".join(f"{text:{length}}  " for text, length in zip(texts, widths, strict=True))
        lines += fold(last, width, first) if width else [(first + last).rstrip()]
    return lines


def describe_entry(config: RunConfig) -> dict[str, Any]:
    """The paper, the settings and the kinds of an entry, as values that JSON can hold."""
    groups = [
        {"keys": {choice.key: choice.chosen for choice in group}, "kinds": describe_kinds(group[0])}
        for group in alike(choices(config))
    ]
    every = [dataclasses.asdict(setting) for setting in settings(config) if setting.key not in FIXED]
    return {"source": dataclasses.asdict(source_of(config)), "settings": every, "choices": groups}


def describe_kinds(choice: Choice) -> list[dict[str, Any]]:
    """Each kind's name, docstring and fields."""
    return [
        {
            "kind": name,
            "about": unwrap(inspect.getdoc(kind) or ""),
            "fields": [dataclasses.asdict(field) for field in choice.fields(name)],
        }
        for name, kind in choice.kinds.items()
    ]


def page(config: RunConfig, width: int) -> Iterator[str]:
    """The paper, the settings and the kinds of an entry, as lines of at most `width` characters."""
    source = source_of(config)
    yield from ("Paper:", *fold(source.paper, width, "  "), "")
    if source.deviations:
        yield "What deviates from it:"
        for number, deviation in enumerate(source.deviations, 1):
            yield from fold(deviation, width, f"  {number}. ")
        yield ""
    yield "Settings, by --set KEY=VALUE:"
    yield from columns([one.line for one in settings(config) if one.key not in FIXED], "  ", width)
    how = "takes one, with its defaults if it is another than the one in force; --set KEY.FIELD=VALUE changes a field."
    yield from ("", *fold(how, width, "Kinds: --set KEY=KIND "))
    for group in alike(choices(config)):
        yield from ("", *fold(", ".join(f"{choice.key} (here {choice.chosen})" for choice in group), width, "  "))
        for name, kind in group[0].kinds.items():
            yield from fold(unwrap(inspect.getdoc(kind) or ""), width, f"    {name}: ")
            if fields := group[0].fields(name):
                yield from columns([field.line for field in fields], "      ", width)
