"""How the host's stand-ins for contract classes are made: `@stand_in` holds a class to the contract."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from PySide6 import QtCore, QtGui, QtWidgets

from . import contract, pythonqt, signals

T = TypeVar("T", bound=type)
DEFAULTS: dict[str, Any] = {"bool": False, "int": 0, "double": 0.0, "QString": "", "QStringList": ()}
made: dict[str, type] = {}


class Stored(property):
    """A property that only keeps its value: nothing in the host depends on it."""

    def __init__(self, name: str, default: Any, writable: bool) -> None:
        key = f"_stored_{name}"

        def get(owner: Any) -> Any:
            return signals.raw(owner, "__dict__").get(key, default)

        def put(owner: Any, value: Any) -> None:
            signals.raw(owner, "__dict__")[key] = tuple(value) if isinstance(value, list) else value

        super().__init__(get, put if writable else None)


def stand_in(kind: T) -> T:
    """Completes a class from its entry in the contract and refuses public names that are not in it.

    Properties that the class does not define are stored values, setters call their property, other missing methods
    raise NotImplementedError; signals and enums come from the contract.
    """
    spec = contract.of(kind.__name__)
    modules = [module for module in (QtWidgets, QtGui, QtCore) if hasattr(module, spec.qt_base)]
    qt_base = getattr(modules[0], spec.qt_base) if modules else QtCore.QObject
    if not issubclass(kind, qt_base):
        raise TypeError(f"{kind.__name__} must be a {spec.qt_base}")
    kind._contract = spec  # type: ignore[attr-defined]
    native = pythonqt.native_base(kind)
    for name in vars(kind):
        if (
            not name.startswith("_")
            and name not in spec.names
            and name != "staticMetaObject"
            and not hasattr(native, name)
        ):
            raise signals.ContractError(f"{kind.__name__}.{name} is not in the contract")
        if callable(vars(kind)[name]) and name in pythonqt.native_properties(native):
            raise TypeError(f"{kind.__name__}.{name} would be a method, but PythonQt has the property of that name")
    for name, entry in spec.properties.items():
        found = inspect.getattr_static(kind, name, None)
        if not defined(kind, name) or (isinstance(found, Stored) and found.fset is None and entry["writable"]):
            setattr(kind, name, Stored(name, DEFAULTS.get(entry["type"]), entry["writable"]))
    for name in spec.methods:
        if not defined(kind, name):
            setattr(kind, name, setter(kind, name) or missing(kind.__name__, name))
    for name in spec.signals:
        if not defined(kind, name):
            setattr(kind, name, PythonSignal(name))
    for name, values in spec.enums.items():
        if not defined(kind, name):
            setattr(kind, name, enum.IntEnum(name, {value: place for place, value in enumerate(values)}))
        for value in values:
            if not defined(kind, value) and hasattr(getattr(kind, name), value):
                setattr(kind, value, getattr(getattr(kind, name), value))
    made[kind.__name__] = kind
    return kind


class PythonSignal:
    """A signal of a contract class, for `obj.signal.connect(f)`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else signals.SignalProxy(owner, self.name)


def defined(kind: type, name: str) -> bool:
    """Whether the class, a stand-in that it derives from, or Qt has the name."""
    return inspect.getattr_static(kind, name, None) is not None or name in pythonqt.native_properties(
        pythonqt.native_base(kind)
    )


def setter(kind: type, name: str) -> Callable[..., None] | None:
    """`setFoo` for a property `foo` that the class keeps in Python."""
    target = name[3:4].lower() + name[4:]
    found = inspect.getattr_static(kind, target, None)
    if not name.startswith("set") or not hasattr(type(found), "__set__"):
        return None

    def put(self: Any, value: Any) -> None:
        found.__set__(self, value)

    put.__name__ = name
    return put


def missing(kind: str, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        raise NotImplementedError(f"{kind}.{name} is in the contract, but the test host has no stand-in for it yet")

    method.__name__ = name
    return method


def module_getattr(module: str, prefixes: tuple[str, ...]) -> Callable[[str], Any]:
    """`__getattr__` of `ctk` and `slicer`: tells a class that the host lacks from one that does not exist."""

    def find(name: str) -> Any:
        if name.startswith(prefixes) and contract.known(name):
            raise NotImplementedError(
                f"{module}.{name} is in the contract, but the test host has no stand-in for it yet"
            )
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return find
