"""Every method of this package by name: what it does, what it needs, where it was published, how it is set."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BadInput, choose

PRESETS = ("fast", "balanced", "best")


@dataclass(frozen=True)
class Between:
    """The range of a parameter and its sentence, as `Annotated[int, Between(1, 1000, "network calls")]`."""

    low: float
    high: float
    about: str


@dataclass(frozen=True)
class Parameter:
    """One setting of a recipe, read from its signature: what a panel or a command line shows."""

    name: str
    kind: type
    default: Any
    low: float
    high: float
    about: str

    def check(self, value: Any) -> Any:
        """`value` as this parameter's type; raises BadInput when it is of another type or out of range."""
        try:
            number = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise BadInput(f"{self.name} must be {self.kind.__name__}, got {value!r}") from None
        if self.kind is int and float(value) != number:
            raise BadInput(f"{self.name} must be a whole number, got {value!r}")
        if not self.low <= number <= self.high:
            raise BadInput(f"{self.name} must be between {self.low:g} and {self.high:g}, got {value!r}")
        return number


@dataclass(frozen=True)
class Recipe:
    """A method: a generator function of about fifteen lines, and what people need to know before they choose it."""

    name: str
    task: str
    run: Callable[..., Any]
    summary: str
    paper: str
    needs: str
    calls: Callable[[Mapping[str, Any]], int]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The settings, from the keyword-only arguments annotated with `Between`."""
        hints = typing.get_type_hints(self.run, include_extras=True)
        found = {}
        for name, argument in inspect.signature(self.run).parameters.items():
            notes = [n for n in getattr(hints.get(name), "__metadata__", ()) if isinstance(n, Between)]
            if notes:
                kind = typing.get_args(hints[name])[0]
                found[name] = Parameter(name, kind, argument.default, notes[0].low, notes[0].high, notes[0].about)
        return found

    def settings(self, given: Mapping[str, Any], preset: str = "balanced") -> dict[str, Any]:
        """All settings: the defaults, then the preset's, then the given; raises BadInput for unknown ones."""
        known = self.parameters
        chosen = dict(self.presets.get(choose(preset, PRESETS, "preset"), {}))
        for name, value in given.items():
            chosen[choose(name, known, f"parameter of {self.name}")] = value
        return {name: p.check(chosen.get(name, p.default)) for name, p in known.items()}


_RECIPES: dict[str, Recipe] = {}


def recipe(
    name: str,
    *,
    task: str,
    summary: str,
    paper: str,
    needs: str,
    calls: Callable[[Mapping[str, Any]], int],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method. `calls(settings)` is its number of network calls a sample: the cost, before it runs."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _RECIPES:
            raise ValueError(f"two recipes are named {name!r}")
        _RECIPES[name] = Recipe(name, task, function, summary, paper, needs, calls, presets or {})
        return function

    return register


def recipes(task: str | None = None) -> list[Recipe]:
    """All recipes, or those of one task, in the order of registration."""
    from . import recipes as _  # noqa: F401 - importing the package registers its recipes

    return [r for r in _RECIPES.values() if task in (None, r.task)]


def find_recipe(name: str, task: str | None = None) -> Recipe:
    """The recipe of that name; raises BadInput with the near names otherwise."""
    known = {r.name: r for r in recipes(task)}
    return known[choose(name, known, f"{task} method" if task else "method")]
