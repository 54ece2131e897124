"""Errors that a user can act on: what came, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(ValueError):
    """The user's input cannot be used; the message is one clear sentence, shown without a traceback."""


class BadModel(BadInput):
    """A model folder is incomplete, altered or of an unknown layout."""


class Cancelled(Exception):
    """The user stopped the run; nothing was written."""


def choose(name: str, known: Iterable[str], what: str) -> str:
    """`name` if it is one of `known`; raises `BadInput` with the nearest names otherwise."""
    names = sorted(known)
    if name in names:
        return name
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of: {', '.join(names) or 'none available'}."
    raise BadInput(f"unknown {what} {name!r}; {hint}")
