"""Benchmarks are run by hand; what they import, inside functions too, must exist."""

import ast
import importlib.util
import pathlib

import pytest

FILES = sorted((pathlib.Path(__file__).parents[1] / "benchmarks").glob("*.py"))
OURS = ("benchmarks", "configs", "experiments", "jaxlab", "tests")


def _exists(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_exists(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [(node.module, name.name) for node in imports for name in node.names]
    missing = [
        (module, name) for module, name in ours if module.split(".")[0] in OURS and not _exists(module, name)
    ]
    assert not missing
