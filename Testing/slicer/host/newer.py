"""Names that Qt gained after 5.15: Slicer is built with Qt 5 or 6, so an extension may not use them.

`qt6_only.json` lists them by class: what PySide6 has and PySide2 5.15 has not.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("qt6_only.json")


@cache
def listed() -> dict[str, frozenset[str]]:
    if not FILE.is_file():
        return {}
    return {name: frozenset(names) for name, names in json.loads(FILE.read_text(encoding="utf-8")).items()}


@cache
def than_qt5(kind: type, name: str) -> bool:
    """Whether a Qt class (or one of its bases) has `name` in Qt 6 only."""
    return any(name in listed().get(base.__name__, ()) for base in kind.__mro__)


@cache
def module_name(name: str) -> bool:
    """Whether a class or function of the whole namespace exists in Qt 6 only."""
    return name in listed().get("", ())
