"""Names that Qt gained after 5.15: Slicer is built with Qt 5 or 6, so an extension may not use them.

`qt6_only.json` lists them by class ("" for the classes themselves): what the stubs of PyQt6 6.12 have, those of
PyQt5 5.15 have not, and PySide6 offers. Virtual methods are left out: PySide looks them up itself.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).with_name("qt6_only.json")
# Virtual functions: Qt itself looks for a Python override of them in every view, so there they cannot be refused.
VIRTUAL = {"clone", "initStyleOptionForIndex", "initViewItemOption", "itemDelegateForIndex", "multiData", "skipData"}


@cache
def listed() -> dict[str, frozenset[str]]:
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: frozenset(names) - VIRTUAL for name, names in found.items()}


@cache
def than_qt5(kind: type, name: str) -> bool:
    """Whether a Qt class (or one of its bases) has `name` in Qt 6 only."""
    return any(name in listed().get(base.__name__, ()) for base in kind.__mro__)


def module_name(name: str) -> bool:
    """Whether a class or function of the whole namespace exists in Qt 6 only."""
    return name in listed()[""]


class Newer:
    """In the place of a name that only Qt 6 has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        raise AttributeError(f"{kind.__name__} has no attribute '{self.name}' in Qt 5; Slicer is built with either")


def forbid(modules: tuple[ModuleType, ...]) -> None:
    """Takes the names from the classes, so that static functions and enums are refused too."""
    for name, names in listed().items():
        found = next((getattr(module, name) for module in modules if name and hasattr(module, name)), None)
        for one in names if found is not None else ():
            setattr(found, one, Newer(one))
