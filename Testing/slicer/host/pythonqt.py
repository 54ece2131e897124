"""PythonQt's attribute protocol on PySide's objects.

PythonQt looks a name up as: attribute of a Python subclass, property (as a value), method, signal, enum, dynamic
property, child by objectName. Assigning a name that does not exist raises. `install` gives QObject and all its
subclasses this protocol; PySide's own way stays reachable through the class: `QtWidgets.QLabel.text(label)`.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets

from . import dialogs, newer, signals
from .signals import ContractError, SignalProxy, outward, raw

HOST = str(Path(__file__).parent)
SETTERS = {"pos": "move", "size": "resize"}  # properties whose setter is not set<Name>
loading_ui: list[Any] = []  # the .ui files being loaded
CLASHES: dict[type, Any] = {}  # classes with a __getattribute__ of their own, and that
STATIC = {"singleShot"}  # a property and a static function of the same name: an object has the property


class NativeMethod:
    """A bound method of Qt; lists in its result become tuples."""

    def __init__(self, owner: QtCore.QObject, name: str) -> None:
        self.__function, self.__key = native(owner, name), (id(owner), name)
        self.__qualname__ = f"{type(owner).__name__}.{name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return outward(self.__function(*args, **kwargs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NativeMethod) and self.__key == other.__key

    def __hash__(self) -> int:
        return hash(self.__key)

    def __repr__(self) -> str:
        return f"<method {self.__qualname__}>"


def native(self: QtCore.QObject, name: str) -> Any:
    """A bound attribute of Qt, also where a static function has the same name (`QFile.exists`)."""
    own = next((CLASHES[base] for base in type(self).__mro__ if base in CLASHES), raw)
    return own(self, name)


def is_native(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("PySide6", "Shiboken", "shiboken6", "builtins")


def is_host(kind: type) -> bool:
    return "_contract" in vars(kind)


def is_derived(kind: type) -> bool:
    """Whether `kind` is a subclass made in Python by the code under test: it may have new attributes."""
    return not is_native(kind) and not is_host(kind)


@cache
def native_base(kind: type) -> type:
    return next(base for base in kind.__mro__ if is_native(base))


@cache
def class_name(kind: type) -> str:
    """The C++ class: that of the first base that is no Python subclass."""
    return next(base for base in kind.__mro__ if is_native(base) or is_host(base)).__name__


@cache
def native_properties(kind: type) -> dict[str, bool]:
    """The properties of a Qt class and whether they can be written."""
    meta = kind.staticMetaObject  # type: ignore[attr-defined]
    found = (meta.property(index) for index in range(meta.propertyCount()))
    return {p.name(): p.isWritable() for p in found if not newer.than_qt5(kind, p.name())}


@cache
def resolve(kind: type, name: str) -> str:
    """What `name` is: python, private, special, name, property, newer, signal, method, value or missing."""
    for base in kind.__mro__:
        if is_native(base):
            break
        if name in vars(base):
            return "private" if is_host(base) and name.startswith("_") and not name.startswith("__") else "python"
    native = native_base(kind)
    if name in SPECIAL or (name in EXECUTE and hasattr(native, "exec")):
        return "special"
    if name == "name":
        return "name"
    if name in native_properties(native):
        return "property"
    if newer.than_qt5(native, name):
        return "newer"
    found = getattr(native, name, None)
    if found is None:
        return "missing"
    if isinstance(found, QtCore.Signal):
        return "signal"
    return "method" if callable(found) and not isinstance(found, type) else "value"


def raw_set(self: QtCore.QObject, name: str, value: Any) -> None:
    """Assignment as Python has it: to a descriptor of the class, else to the object's own attributes."""
    found = next((vars(base)[name] for base in type(self).__mro__ if name in vars(base)), None)
    if hasattr(type(found), "__set__"):
        found.__set__(self, value)
    else:
        raw(self, "__dict__")[name] = value


def by_host() -> bool:
    """Whether the code that reads or writes the attribute is the host's own."""
    return sys._getframe(2).f_code.co_filename.startswith(HOST)


def get(self: QtCore.QObject, name: str) -> Any:
    kind = type(self)
    own = raw(self, "__dict__")
    if name.startswith("__"):
        return raw(self, name)
    if name in own and (is_derived(kind) or by_host()):
        return raw(self, name)
    what = resolve(kind, name)
    if what == "python" or (what == "private" and by_host()):
        return raw(self, name)
    if what == "special":
        return MethodType(execute, self) if name in EXECUTE else MethodType(SPECIAL[name], self)
    if what == "property":
        return read(self, name)
    if what == "name":
        return raw(self, "objectName")()
    if what == "signal":
        return SignalProxy(self, name)
    if what == "method":
        return NativeMethod(self, name)
    if what == "value":
        return raw(self, name)
    if what == "missing" and shiboken6.isValid(self):
        if name in dynamic_properties(self):
            return outward(raw(self, "property")(name))
        for child in raw(self, "children")():
            if raw(child, "objectName")() == name:
                return child
    why = " (Qt 5 does not have it; Slicer is built with either)" if what == "newer" else ""
    raise ContractError(f"{class_name(kind)} object has no attribute '{name}'{why}")


def put(self: QtCore.QObject, name: str, value: Any) -> None:
    if loading_ui and isinstance(value, QtCore.QObject) and not name.startswith("_"):
        return  # PySide's loader sets children as attributes; PythonQt finds them by name
    kind = type(self)
    what = resolve(kind, name)
    derived = is_derived(kind)
    if (
        name.startswith("__")
        or (what == "python" and (derived or is_setter(kind, name)))
        or (what == "private" and by_host())
    ):
        raw_set(self, name, value)
    elif what == "name":
        raw(self, "setObjectName")(value)
    elif what == "property":
        write(self, name, value)
    elif what in ("special", "method", "signal", "value", "python"):
        raise ContractError(f"'{name}' of {class_name(kind)} is no property and cannot be overwritten")
    elif name.startswith("_") and by_host():
        raw_set(self, name, value)
    elif what == "missing" and name in dynamic_properties(self):
        raw(self, "setProperty")(name, value)
    elif derived:
        raw_set(self, name, value)
    else:
        raise ContractError(f"'{name}' does not exist on {class_name(kind)}, and C++ objects get no new attributes")


def is_setter(kind: type, name: str) -> bool:
    """Whether a Python attribute of the class is a property of the contract, which may be assigned."""
    found = next(vars(base)[name] for base in kind.__mro__ if name in vars(base))
    return hasattr(type(found), "__set__")


def dynamic_properties(self: QtCore.QObject) -> set[str]:
    return {bytes(name.data()).decode() for name in raw(self, "dynamicPropertyNames")()}


def read(self: QtCore.QObject, name: str) -> Any:
    """The value of a Qt property; through its getter where it has one, which keeps the types."""
    if name in STATIC or not hasattr(native_base(type(self)), name):
        return outward(raw(self, "property")(name))
    return outward(native(self, name)())


def write(self: QtCore.QObject, name: str, value: Any) -> None:
    kind = native_base(type(self))
    if not native_properties(kind)[name]:
        raise ContractError(f"property '{name}' of {class_name(type(self))} cannot be written")
    setter = getattr(kind, SETTERS.get(name, "set" + name[0].upper() + name[1:]), None)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, float) and isinstance(raw(self, "property")(name), int):
        value = int(value)  # PythonQt truncates
    try:
        done = raw(self, "setProperty")(name, value) if setter is None else (setter(self, value), True)[1]
    except TypeError:
        done = False
    if not done:
        raise ContractError(f"property '{name}' of {class_name(type(self))} does not accept {value!r}")


def get_property(self: QtCore.QObject, name: str) -> Any:
    """A property or dynamic property by its name; those of the contract live in Python."""
    if resolve(type(self), name) == "python" and is_setter(type(self), name):
        return raw(self, name)
    return outward(raw(self, "property")(name))


def set_property(self: QtCore.QObject, name: str, value: Any) -> bool:
    if resolve(type(self), name) == "python" and is_setter(type(self), name):
        raw_set(self, name, value)
        return True
    return raw(self, "setProperty")(name, list(value) if isinstance(value, tuple) else value)


def matches(child: QtCore.QObject, kind: Any, name: str) -> bool:
    if name and raw(child, "objectName")() != name:
        return False
    return raw(child, "inherits")(kind) if isinstance(kind, str) else isinstance(child, kind)


def find_children(self: QtCore.QObject, kind: Any = QtCore.QObject, name: str = "") -> tuple[QtCore.QObject, ...]:
    """All descendants of a class (a type, or its name) and a name."""
    found = raw(self, "findChildren")(QtCore.QObject)
    return tuple(child for child in found if matches(child, kind, name))


def find_child(self: QtCore.QObject, kind: Any = QtCore.QObject, name: str = "") -> QtCore.QObject | None:
    return next(iter(find_children(self, kind, name)), None)


def set_parent(self: QtCore.QObject, parent: Any, *flags: Any) -> None:
    """PythonQt takes 0 for no parent."""
    native(self, "setParent")(None if isinstance(parent, int) and parent == 0 else parent, *flags)


def execute(self: QtCore.QObject, *args: Any) -> Any:
    """`exec_`: a dialog is answered by the test, anything else runs."""
    if isinstance(self, QtWidgets.QDialog):
        return dialogs.run(self)
    if isinstance(self, QtWidgets.QMenu):
        raise RuntimeError("a test opened a menu with exec_: it would wait for ever")
    return raw(self, "exec")(*args)


# Functions that replace or add a method of every QObject.
SPECIAL: dict[str, Any] = {
    "connect": signals.connect,
    "disconnect": signals.disconnect,
    "className": lambda self: class_name(type(self)),
    "property": get_property,
    "setProperty": set_property,
    "findChild": find_child,
    "findChildren": find_children,
    "delete": shiboken6.delete,
    "setParent": set_parent,
}
EXECUTE = ("exec_", "exec")


def install(modules: tuple[ModuleType, ...]) -> None:
    """Gives QObject and all its subclasses this protocol, once per process."""
    found = [getattr(module, name) for module in modules for name in dir(module)]  # PySide loads them when asked for
    kinds = {kind for kind in found if isinstance(kind, type) and issubclass(kind, QtCore.QObject)}
    common = QtCore.QObject.__getattribute__
    CLASHES.update({kind: kind.__getattribute__ for kind in kinds if kind.__getattribute__ is not common})
    for kind in kinds:
        kind.__setattr__ = put  # type: ignore[method-assign]
        if kind is QtCore.QObject or kind in CLASHES:
            kind.__getattribute__ = get  # type: ignore[method-assign]
