"""Every method of this package by name: what it does, what it needs, where it was published, how it is set."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from .counting import Term, count
from .errors import BadInput, choose

PRESETS = ("fast", "balanced", "best")


@dataclass(frozen=True)
class Between:
    """The range of a parameter and its sentence, as `Annotated[int, Between(1, 1000, "network calls")]`."""

    low: float
    high: float
    about: str


@dataclass(frozen=True)
class OneOf:
    """What a parameter of words may be, and its sentence; no `choices` leaves them to the model (its labels)."""

    choices: tuple[str, ...]
    about: str


@dataclass(frozen=True)
class Parameter:
    """One setting of a recipe or a task, read from its signature: what a panel or a command line shows."""

    name: str
    kind: type
    default: Any
    low: float | None
    high: float | None
    about: str
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """`value` as this parameter's type; raises BadInput when it is of another type or out of range."""
        if self.kind is str:
            return choose(value, self.choices, self.name)
        if self.kind is bool and value not in (True, False):
            raise BadInput(f"{self.name} must be true or false, got {value!r}")
        try:
            number = self.kind(value)
        except (TypeError, ValueError, OverflowError):
            raise BadInput(f"{self.name} must be {self.kind.__name__}, got {value!r}") from None
        if self.kind is int and float(value) != number:
            raise BadInput(f"{self.name} must be a whole number, got {value!r}")
        if self.low is not None and self.high is not None and not self.low <= number <= self.high:
            raise BadInput(f"{self.name} must be between {self.low:g} and {self.high:g}, got {value!r}")
        return number

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the kind is int, float, bool or choice."""
        kind = "choice" if self.kind is str else self.kind.__name__
        limits = {"low": self.low, "high": self.high} if self.low is not None else {}
        choices = {"choices": list(self.choices)} if kind == "choice" else {}
        return {"name": self.name, "kind": kind, "default": self.default, **limits, **choices, "about": self.about}


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The arguments of a function (or the fields of a dataclass) that are annotated with `Between` or `OneOf`."""
    hints = typing.get_type_hints(function, include_extras=True)
    found = {}
    for name, argument in inspect.signature(function).parameters.items():
        for note in getattr(hints.get(name), "__metadata__", ()):
            kind = typing.get_args(hints[name])[0]
            kind = next(k for k in (*typing.get_args(kind), kind) if k is not NoneType)  # float of `float | None`
            if isinstance(note, Between):
                found[name] = Parameter(name, kind, argument.default, note.low, note.high, note.about)
            elif isinstance(note, OneOf):
                found[name] = Parameter(name, kind, argument.default, None, None, note.about, note.choices)
    return found


@dataclass(frozen=True)
class Recipe:
    """A method: a generator function of about fifteen lines, and what people need to know before they choose it.

    `terms` is its number of network calls a sample as `counting.count` reads it; `gradient` says that it
    differentiates through the network, which takes more time and memory; `part` is the companion of the model that
    it needs, if any.
    """

    name: str
    task: str
    run: Callable[..., Any]
    title: str
    summary: str
    paper: str
    needs: str
    terms: tuple[Term, ...]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gradient: bool = False
    part: str = ""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The settings, from the keyword-only arguments annotated with `Between`."""
        return parameters_of(self.run)

    def calls(self, settings: Mapping[str, Any]) -> int:
        """Network calls a sample with these settings: the cost, before it runs."""
        return count(self.terms, settings)

    def settings(self, given: Mapping[str, Any], preset: str = "balanced") -> dict[str, Any]:
        """All settings: the defaults, then the preset's, then the given; raises BadInput for unknown ones."""
        known = self.parameters
        chosen = dict(self.presets.get(choose(preset, PRESETS, "preset"), {}))
        for name, value in given.items():
            chosen[choose(name, known, f"parameter of {self.name}")] = value
        return {name: p.check(chosen.get(name, p.default)) for name, p in known.items()}

    def to_dict(self) -> dict[str, Any]:
        """All but the function, as plain JSON values: what a panel needs to know without loading the engine."""
        words = {name: getattr(self, name) for name in ("name", "task", "title", "summary", "paper", "needs")}
        parameters = [p.to_dict() for p in self.parameters.values()]
        presets = {name: self.settings({}, name) for name in PRESETS}
        calls = [list(term) for term in self.terms]
        about = {"gradient": self.gradient, "part": self.part}
        return {**words, **about, "calls": calls, "parameters": parameters, "presets": presets}


_RECIPES: dict[str, Recipe] = {}


def recipe(
    name: str,
    *,
    task: str,
    summary: str,
    paper: str,
    needs: str,
    calls: tuple[Term, ...],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
    gradient: bool = False,
    part: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a method. `calls` is its number of network calls a sample, a sum of products of its settings:
    `(("steps",), (-1, "skip"))` is steps - skip."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _RECIPES:
            raise ValueError(f"two recipes are named {name!r}")
        _RECIPES[name] = Recipe(
            name, task, function, title or name, summary, paper, needs, calls, presets or {}, gradient, part
        )
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
