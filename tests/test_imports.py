"""Imports go one way: the law of the house, read off the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("gen", "jobs", "tune_spaces") for path in (ROOT / folder).rglob("*.py"))

ALLOWED = {  # longest matching room first; what each may import of the house
    "gen.engine.on_ray": ("gen", "tune_spaces"),
    "gen.engine": ("gen.config", "gen.data", "gen.engine", "gen.metrics", "gen.phase", "gen.results"),
    "gen.zoo": ("gen.config", "gen.models", "gen.nets", "gen.objectives", "gen.phase"),
    "gen.models": ("gen.models", "gen.nets", "gen.objectives", "gen.phase"),
    "gen.nets": ("gen.nets", "gen.phase"),
    "gen.objectives": ("gen.objectives", "gen.phase"),
    "gen.metrics": ("gen.metrics", "gen.data", "gen.phase"),
    "gen.data": ("gen.config", "gen.data", "gen.phase", "gen.results.storage"),
    "gen.results": ("gen.results",),
    "gen.config": ("gen.phase",),
    "gen.phase": (),
    "gen": (),
    "jobs": ("gen", "jobs", "tune_spaces"),
    "tune_spaces": ("gen.config", "gen.phase", "gen.zoo", "tune_spaces"),
}
RAY = ("gen.engine.on_ray", "jobs", "tune_spaces")  # the rooms that may import Ray


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def inside(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module in ("gen", "jobs", "tune_spaces"):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) for path in FILES])
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    room = next(room for room in ALLOWED if inside(module, (room,)))
    for name in imported(path):
        if inside(name, ("gen", "jobs", "tune_spaces")):
            assert inside(name, ALLOWED[room]), f"{module} imports {name}"
        if inside(name, ("ray",)):
            assert inside(module, RAY), f"{module} imports Ray"


def test_only_jobs_print() -> None:
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not printing or module_of(path).startswith("jobs"), path


def test_backward_is_called_in_one_place() -> None:
    """The judge's classifier, which is no model of the zoo, trains by itself."""
    callers = {module_of(path) for path in FILES if ".backward()" in path.read_text()}
    assert callers <= {"gen.engine.step", "gen.metrics.classifier", "jobs.bench"}
