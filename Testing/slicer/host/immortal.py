"""Keeps Python alive under PySide6: before Python 3.12, its 6.12 takes one reference to None too many a call."""

from __future__ import annotations

import ctypes
import sys

ENOUGH = 2**40


def keep_none() -> None:
    """Gives None more references than anybody can lose, as Python 3.12 does by itself.

    Without it the interpreter ends by "deallocating None" after some ten thousand calls of Qt that return nothing.
    """
    if sys.version_info < (3, 12) and sys.getrefcount(None) < ENOUGH // 2:
        ctypes.c_ssize_t.from_address(id(None)).value += ENOUGH
