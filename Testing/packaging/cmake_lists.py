"""The lists of files in the modules' CMakeLists.txt: read them, compare them with the disk, write them anew.

python Testing/packaging/cmake_lists.py      # after a file was added, renamed or removed
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("MedDiffusion", "DiffusionRecon", "DiffusionSegment", "DiffusionRegister", "DiffusionAnomaly")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
LEFT_OUT = {"CMakeLists.txt"}  # what builds the extension is no part of it


def on_disk(module: str, root: Path = ROOT) -> dict[str, list[str]]:
    """Every file of a module's folder that an installed extension needs, by the list that it belongs to."""
    folder = root / module
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [file.as_posix() for file in files if not _passing(file)]
    scripts = sorted((name for name in names if name.endswith(".py")), key=lambda name: (name.count("/") > 0, name))
    return {SCRIPTS: scripts, RESOURCES: [name for name in names if not name.endswith(".py")]}


def _passing(file: Path) -> bool:
    """Whether a file comes and goes by itself: bytecode, hidden files, downloads under way."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in file.parts)
    return hidden or file.suffix in {".pyc", ".part"} or file.as_posix() in LEFT_OUT


def in_cmake(module: str, root: Path = ROOT) -> dict[str, list[str]]:
    """The two lists as the module's CMakeLists.txt has them, `${MODULE_NAME}` filled in."""
    text = (root / module / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", module)
    return {name: _entries(text, name) for name in (SCRIPTS, RESOURCES)}


def _entries(text: str, name: str) -> list[str]:
    found = re.search(rf"set\({name}\s+([^)]*)\)", text)
    lines = (line.split("#")[0] for line in found[1].splitlines()) if found else ()
    return [word for line in lines for word in line.split()]


def cmake_text(module: str, lists: dict[str, list[str]]) -> str:
    """The CMakeLists.txt of a scripted module."""
    lines = [f"set(MODULE_NAME {module})", ""]
    for name in (SCRIPTS, RESOURCES):
        lines += [f"set({name}", *(f"  {entry}" for entry in lists[name]), "  )", ""]
    lines += [
        "slicerMacroBuildScriptedModule(",
        "  NAME ${MODULE_NAME}",
        "  SCRIPTS ${MODULE_PYTHON_SCRIPTS}",
        "  RESOURCES ${MODULE_PYTHON_RESOURCES}",
        "  WITH_GENERIC_TESTS",
        "  )",
        "",
        "if(BUILD_TESTING)",
        "  slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)",
        "endif()",
        "",
    ]
    return "\n".join(lines)


def write_lists(root: Path = ROOT, modules: Iterable[str] = MODULES) -> None:
    """Write each module's CMakeLists.txt from the files that are there."""
    for module in modules:
        text = cmake_text(module, on_disk(module, root))
        (root / module / "CMakeLists.txt").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_lists()
