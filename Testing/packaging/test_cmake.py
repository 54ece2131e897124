"""The CMake lists name every file on disk and nothing else: what is not listed is missing once it is installed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from cmake_lists import MODULES, RESOURCES, ROOT, SCRIPTS, cmake_text, in_cmake, on_disk, write_lists

AGAIN = "run: python Testing/packaging/cmake_lists.py"


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", [SCRIPTS, RESOURCES])
def test_lists_and_disk_agree(module: str, name: str) -> None:
    listed, there = in_cmake(module)[name], on_disk(module)[name]
    assert len(listed) == len(set(listed)), "listed twice"
    assert not set(there) - set(listed), f"not listed, so not installed; {AGAIN}"
    assert not set(listed) - set(there), f"listed, but not on disk; {AGAIN}"


@pytest.mark.parametrize("module", MODULES)
def test_each_module_is_built_and_tested(module: str) -> None:
    text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"set(MODULE_NAME {module})" in text
    assert "slicerMacroBuildScriptedModule(" in text and "WITH_GENERIC_TESTS" in text
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text
    assert f"{module}.py" in in_cmake(module)[SCRIPTS]


def test_every_module_folder_is_added() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    added = re.findall(r"^add_subdirectory\((\w+)\)", text, re.MULTILINE)
    folders = {path.parent.name for path in ROOT.glob("*/CMakeLists.txt")}
    assert set(added) == folders == set(MODULES)
    assert added[0] == "MedDiffusion", "the others depend on it"


def test_nothing_collides_in_the_flat_folder() -> None:
    """All modules install into one folder, on Windows and macOS without regard to case."""
    lists = [in_cmake(module) for module in MODULES]
    counts = Counter(name.lower() for each in lists for names in each.values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []


def test_only_modules_lie_at_the_top() -> None:
    """Slicer takes every script at the top of the folder for a module."""
    for module in MODULES:
        assert [name for name in in_cmake(module)[SCRIPTS] if "/" not in name] == [f"{module}.py"]


def test_packages_are_whole() -> None:
    """Each folder of scripts has its `__init__.py`, and none has a name that another extension might use."""
    for module in MODULES:
        scripts = in_cmake(module)[SCRIPTS]
        for folder in {str(Path(name).parent) for name in scripts if "/" in name}:
            assert f"{Path(folder).as_posix()}/__init__.py" in scripts, folder
            assert folder.split("/")[0] in ("MedDiffusionLib", "meddiff"), folder


def test_a_forgotten_file_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "Some"
    (folder / "Resources").mkdir(parents=True)
    (folder / "SomeLib").mkdir()
    for name in ("Some.py", "SomeLib/__init__.py", "Resources/a.json"):
        (folder / name).write_text("")
    write_lists(tmp_path, ["Some"])
    assert in_cmake("Some", tmp_path) == on_disk("Some", tmp_path)
    assert in_cmake("Some", tmp_path)[SCRIPTS] == ["Some.py", "SomeLib/__init__.py"]
    (folder / "SomeLib" / "late.py").write_text("")
    (folder / "SomeLib" / "__pycache__").mkdir()
    (folder / "SomeLib" / "__pycache__" / "late.pyc").write_text("")
    assert set(on_disk("Some", tmp_path)[SCRIPTS]) - set(in_cmake("Some", tmp_path)[SCRIPTS]) == {"SomeLib/late.py"}


def test_lists_are_read_as_cmake_reads_them(tmp_path: Path) -> None:
    text = cmake_text("Some", {SCRIPTS: ["${MODULE_NAME}.py", "b.py"], RESOURCES: []})
    (tmp_path / "Some").mkdir()
    (tmp_path / "Some" / "CMakeLists.txt").write_text(text.replace("b.py", "b.py  # why not"))
    assert in_cmake("Some", tmp_path) == {SCRIPTS: ["Some.py", "b.py"], RESOURCES: []}
