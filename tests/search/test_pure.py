"""The room `gen/search`: values in, values out."""

import ast

from tests.conftest import ROOT

FORBIDDEN = {  # Ray, files and clocks
    *("ray", "os", "io", "pathlib", "shutil", "tempfile", "pyarrow", "gen.results", "gen.record", "gen.data"),
    *("time", "datetime", "threading", "asyncio"),
}


def test_no_ray_no_files_no_clock() -> None:
    for path in (ROOT / "gen" / "search").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                parts = name.split(".")
                assert not FORBIDDEN & {parts[0], ".".join(parts[:2])}, f"{path} imports {name}"
            assert not (isinstance(node, ast.Name) and node.id == "open"), f"{path} opens files"
