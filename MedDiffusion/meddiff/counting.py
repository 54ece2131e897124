"""How many network calls a method makes, said as data: the registry, its JSON and the panels all count alike; and how
many there are of a thing, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Term = tuple[Any, ...]  # a product of whole numbers and of names of settings: (-1, "corrections")


def count(terms: Sequence[Sequence[Any]], settings: Mapping[str, Any]) -> int:
    """A sum of products: `[["steps"], [2, "loops"]]` is steps + 2 loops; raises KeyError for an unknown setting."""
    total = 0
    for term in terms:
        product = 1
        for factor in term:
            product *= int(settings[factor] if isinstance(factor, str) else factor)
        total += product
    return total


def some(number: float, thing: str) -> str:
    """A number of things: 1 lesion, 2 lesions."""
    return f"{number:.0f} {thing}{'' if round(number) == 1 else 's'}"
