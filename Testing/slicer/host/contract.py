"""The contract: which names PythonQt exposes of CTK's and Slicer's Qt classes, read from `contract.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("contract.json")
KINDS = ("properties", "signals", "slots", "invokables", "enums")

# What the extract from the headers lacks although Slicer's own Python files use it.
AMENDMENTS: dict[str, dict[str, dict]] = {
    "qSlicerAbstractCoreModule": {"invokables": {"logic": [{"args": [], "returns": "vtkMRMLAbstractLogic"}]}},
}


@dataclass(frozen=True)
class Signal:
    """One signal: its name and the types of its arguments as they stand in C++."""

    name: str
    types: tuple[str, ...]

    @property
    def signature(self) -> str:
        return f"{self.name}({','.join(self.types)})"


@dataclass(frozen=True)
class Class:
    """All that one class and its bases offer; `qt_base` is where the standard Qt classes begin."""

    name: str
    bases: tuple[str, ...]
    qt_base: str
    properties: dict[str, dict] = field(default_factory=dict)
    signals: dict[str, tuple[Signal, ...]] = field(default_factory=dict)
    methods: dict[str, list[dict]] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        values = {value for values in self.enums.values() for value in values}
        return frozenset({*self.properties, *self.signals, *self.methods, *self.enums, *values})


@cache
def raw() -> dict:
    """The file as it is: `slicer` (the version), `classes`, `python` (signatures of Slicer's Python modules)."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def known(name: str) -> bool:
    return name in raw()["classes"]


def normalised(signature: str) -> str:
    """A signature without spaces, `const` and references, as Qt compares them."""
    signature = signature.strip().lstrip("0123456789")
    return signature.replace("const ", "").replace("&", "").replace(" ", "")


@cache
def of(name: str) -> Class:
    """The class `name` with what it inherits from other classes of the contract."""
    entry = raw()["classes"][name]
    extra = AMENDMENTS.get(name, {})
    base = entry["base"]
    parent = of(base) if known(base) else Class(base, (), base)
    signals = dict(parent.signals)
    for signal, overloads in entry.get("signals", {}).items():
        signals[signal] = tuple(Signal(signal, tuple(o["args"])) for o in overloads)
    methods = dict(parent.methods)
    for kind in ("slots", "invokables"):
        for method, overloads in {**entry.get(kind, {}), **extra.get(kind, {})}.items():
            methods[method] = [*methods.get(method, []), *overloads]
    return Class(
        name=name,
        bases=(name, *parent.bases),
        qt_base=parent.qt_base,
        properties={**parent.properties, **entry.get("properties", {})},
        signals=signals,
        methods=methods,
        enums={**parent.enums, **entry.get("enums", {})},
    )
