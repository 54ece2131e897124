"""What the modules import and run when Slicer loads them: little, so that it starts fast and before the set-up."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cmake_lists import MODULES, ROOT

OWN = {"MedDiffusionLib"}
SLICER = {"slicer", "qt", "ctk", "vtk", "numpy"}
LIB = SLICER | OWN | {"SimpleITK"}
ENGINE = ROOT / "MedDiffusion" / "meddiff"
MODULE_FILES = [ROOT / module / f"{module}.py" for module in MODULES]
LIB_FILES = sorted((ROOT / "MedDiffusion" / "MedDiffusionLib").rglob("*.py"))


def at_file_scope(tree: ast.AST) -> Iterator[ast.stmt]:
    """Statements that run on import: not those of functions, nor those for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from at_file_scope(node)


def imported(path: Path, everywhere: bool = False) -> set[str]:
    """Full names of what a file imports on import, or anywhere in it; relative names are our own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree) if everywhere else at_file_scope(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and ENGINE in path.parents:
            names |= {f"meddiff.{node.module or alias.name}" for alias in node.names}
    return names


def foreign(path: Path, allowed: set[str]) -> set[str]:
    """What a file imports, and what engine modules that it imports do, that is neither standard nor allowed."""
    found, waiting, seen = set(), [path], set()
    while waiting:
        for name in imported(waiting.pop()):
            head, *rest = name.split(".")
            if head == "meddiff":
                module = ENGINE / f"{rest[0]}.py" if rest else ENGINE / "__init__.py"
                module = module if module.is_file() else ENGINE / "__init__.py"
                waiting += [] if module in seen else [module]
                seen.add(module)
            elif head not in allowed | sys.stdlib_module_names:
                found.add(name)
    return found


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.stem)
def test_modules_import_what_slicer_has(path: Path) -> None:
    assert foreign(path, SLICER | OWN) == set()


@pytest.mark.parametrize("path", LIB_FILES, ids=lambda path: path.stem)
def test_the_library_imports_what_slicer_has(path: Path) -> None:
    assert foreign(path, LIB) == set()


@pytest.mark.parametrize("path", [*MODULE_FILES, *LIB_FILES], ids=lambda path: path.stem)
def test_torch_lives_in_the_worker_alone(path: Path) -> None:
    """PyTorchUtils may be imported where it is used: it installs torch, and is the only thing that may."""
    heavy = {"torch", "torchvision", "monai", "pydantic", "scipy", "skimage", "rich", "typer", "safetensors", "einops"}
    assert {name for name in imported(path, everywhere=True) if name.split(".")[0] in heavy} == set()


@pytest.mark.parametrize("path", [*MODULE_FILES, *LIB_FILES], ids=lambda path: path.stem)
def test_nothing_runs_on_import(path: Path) -> None:
    """No bare call at file scope but those that name a logger or set up a constant."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    assert [ast.unparse(call) for call in calls] == []


@pytest.mark.parametrize("path", [*MODULE_FILES, *LIB_FILES], ids=lambda path: path.stem)
def test_torch_is_never_installed_by_pip(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "pip_install" in ast.unparse(node.func):
            words = [
                arg.value for arg in ast.walk(node) if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
            assert not any(word.split("=")[0].split(">")[0].strip() == "torch" for word in words), ast.unparse(node)


def test_a_package_behind_the_engine_is_found(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text("import os\nimport vtk\nfrom meddiff import store\ndef f():\n    import torch\n")
    assert {name.split(".")[0] for name in foreign(path, SLICER)} == {"pydantic", "pydantic_core"}
