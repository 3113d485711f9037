"""Of Ray, public interfaces only."""

import ast
from pathlib import Path

from tests.conftest import ROOT

ALLOWED = {"tests/test_cluster_yaml.py"}  # says why


def private_names(path: Path) -> list[str]:
    """Names of Ray in a file of which a part begins with an underscore: imported ones, and attributes of `ray`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
    return [
        name
        for name in found
        if name.startswith("ray.") and any(part.startswith("_") and part[-2:] != "__" for part in name.split("."))
    ]


def test_private_names_of_ray_stand_in_one_file() -> None:
    files = [path for folder in ("gen", "jobs", "tune_spaces", "tests") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if private_names(path)}
    assert found == ALLOWED, {name: private_names(ROOT / name) for name in found - ALLOWED}
