"""Imports go one way: the law of the house, read off the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("gen", "jobs", "tune_spaces") for path in (ROOT / folder).rglob("*.py"))

TIERS = (  # rooms from top to bottom: each may import those below it, and its neighbours where that makes no circle
    ("jobs",),
    ("gen.on_ray", "gen"),
    ("gen.report",),
    ("gen.engine",),
    ("gen.record",),
    ("gen.judge", "gen.pictures", "gen.zoo"),
    ("gen.models", "tune_spaces", "gen.search", "gen.data"),
    ("gen.objectives", "gen.nets", "gen.capabilities", "gen.config"),
    ("gen.phase", "gen.optimizers", "gen.distributed"),
    ("gen.metrics", "gen.results"),
    ("gen.checks", "gen.tensors"),
    ("gen.damage",),
)
LEVELS = {room: len(TIERS) - number for number, tier in enumerate(TIERS) for room in tier}
RAY = ("gen.on_ray", "jobs", "tune_spaces")  # the rooms that may import Ray


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


def room_of(module: str) -> str:
    """The room that a module of the house lies in."""
    return max((room for room in LEVELS if inside(module, (room,))), key=len)


def house(path: Path) -> Iterator[str]:
    """The modules of the house that a file imports."""
    return (name for name in imported(path) if inside(name, ("gen", "jobs", "tune_spaces")))


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) for path in FILES])
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    for name in house(path):
        assert LEVELS[room_of(name)] <= LEVELS[room_of(module)], f"{module} imports {name}"
    for name in imported(path):
        if inside(name, ("ray",)):
            assert inside(module, RAY), f"{module} imports Ray"


def test_rooms_make_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        room = room_of(module_of(path))
        arrows.setdefault(room, set()).update({room_of(name) for name in house(path)} - {room})
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names it


def test_only_jobs_print() -> None:
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not printing or module_of(path).startswith("jobs"), path


DIFFERENTIATES = {  # who may call what of autograd, and why
    ("gen.engine.step", "backward"),  # the players of all models
    ("gen.judge.networks.classifier", "backward"),  # an extractor: no model of the zoo, and below the engine
    ("gen.objectives.penalties", "grad"),  # a penalty is a function of a gradient
}
BENCHES = "jobs.bench"  # plain loops, which the engine is compared with


def test_the_engine_alone_differentiates() -> None:
    """By calls in the code itself: `loss.backward()`, `torch.autograd.backward(loss)`, however they are written."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            of_autograd = isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "autograd"
            if name == "backward" or (name == "grad" and of_autograd):
                found.add((module_of(path), name))
    assert {(module, name) for module, name in found if not inside(module, (BENCHES,))} == DIFFERENTIATES


def test_workers_import_nothing_that_only_some_jobs_need() -> None:
    """Each of these takes a second or more, and each process of a search would wait for it."""
    some = ("scipy.stats", "scipy.linalg", "matplotlib.pyplot", "torchvision", "pytorch_fid", "torch.utils.tensorboard")
    program = (
        f"import sys, gen.on_ray.trainable, gen.on_ray.group\nprint([name for name in {some} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
