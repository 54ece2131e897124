"""Signals as PythonQt has them: `obj.connect("sig(args)", f)`, slots that get no more arguments than they take.

Signals of Qt classes are Qt's own. Those of contract classes live in Python, because PySide cannot carry a
`vtkMRMLNode*`; they are called at once, in the order of connection, and respect blockSignals.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from PySide6 import QtCore

from . import contract, newer, reports

raw = object.__getattribute__


class ContractError(AttributeError):
    """A name that the contract (or Qt) does not have."""


class Connection(NamedTuple):
    """One slot of one signal."""

    slot: Callable[..., Any]
    relay: Callable[..., Any]
    handle: Any  # QMetaObject.Connection of a Qt signal, None of a Python one


def outward(value: Any) -> Any:
    """A value as PythonQt hands it to Python: lists are tuples."""
    return tuple(outward(item) for item in value) if isinstance(value, list) else value


def takes(slot: Callable[..., Any]) -> int | None:
    """How many positional arguments PythonQt passes at most; None: all there are."""
    function = getattr(slot, "__func__", slot)
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    bound = int(inspect.ismethod(slot))
    return function.__code__.co_argcount - bound


def relay_to(slot: Callable[..., Any], where: str, arguments: int | None = None) -> Callable[..., Any]:
    """The function that is really connected: cuts the arguments, keeps the exceptions."""
    limits = [limit for limit in (takes(slot), arguments) if limit is not None]
    limit = min(limits) if limits else None

    def relay(*args: Any) -> None:
        given = args if limit is None else args[:limit]
        reports.guarded(slot, where, *(outward(arg) for arg in given))

    return relay


def native_overloads(owner: QtCore.QObject, name: str) -> list[str]:
    """The signatures of a Qt signal in the order of their declaration; none if only Qt 6 has it."""
    if newer.than_qt5(type(owner), name):
        return []
    meta = raw(owner, "metaObject")()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    kind = QtCore.QMetaMethod.MethodType.Signal
    return [m.methodSignature().data().decode() for m in methods if m.methodType() == kind and m.name() == name]


def resolve(owner: QtCore.QObject, signature: str) -> tuple[str, bool]:
    """The normalised signature and whether Qt owns it; raises for a signal that does not exist."""
    wanted = contract.normalised(signature)
    name = wanted.partition("(")[0]
    spec: contract.Class | None = getattr(type(owner), "_contract", None)
    if spec is not None and name in spec.signals:
        offered = [signal.signature.replace("?", "") for signal in spec.signals[name]]
        if wanted in offered:
            return wanted, False
    else:
        offered = native_overloads(owner, name)
        if wanted in offered:
            return wanted, True
    have = f"there is {' and '.join(offered)}" if offered else f"there is no signal {name}"
    raise ContractError(f"{type(owner).__name__} has no signal {wanted}: {have}")


def default(owner: QtCore.QObject, name: str) -> str:
    """The signature that `owner.name.connect` means: the one that is declared first."""
    spec: contract.Class | None = getattr(type(owner), "_contract", None)
    if spec is not None and name in spec.signals:
        return spec.signals[name][0].signature.replace("?", "")
    return native_overloads(owner, name)[0]


def normalise_slot(receiver: QtCore.QObject, signature: str) -> str:
    """The slot of a string connection; raises when the receiver has none of that name (and, in the contract, type)."""
    wanted = contract.normalised(signature)
    name = wanted.partition("(")[0]
    spec: contract.Class | None = getattr(type(receiver), "_contract", None)
    if spec is not None and name in spec.methods:
        offered = [f"{name}({','.join(o['args'])})".replace("?", "") for o in spec.methods[name]]
        if wanted not in offered:
            raise ContractError(f"{type(receiver).__name__} has no slot {wanted}: there is {' and '.join(offered)}")
    elif not callable(getattr(receiver, name)):
        raise ContractError(f"{type(receiver).__name__}.{name} cannot be called")
    return name


def table(owner: QtCore.QObject) -> dict[str, list[Connection]]:
    return raw(owner, "__dict__").setdefault("_connections", {})


def connect(owner: QtCore.QObject, signature: str, *target: Any) -> bool:
    """`connect(sig, callable)` or `connect(sig, receiver, "slot(args)")`."""
    signature, native = resolve(owner, signature)
    if len(target) == 2:
        receiver, text = target
        slot = getattr(receiver, normalise_slot(receiver, text))
        arguments = count(text)
    else:
        (slot,) = target
        arguments = None
    if not callable(slot):
        raise TypeError(f"cannot connect {signature} to {slot!r}, which cannot be called")
    relay = relay_to(slot, f"{type(owner).__name__}.{signature} -> {getattr(slot, '__qualname__', slot)}", arguments)
    handle = QtCore.QObject.connect(owner, "2" + signature, relay) if native else None
    table(owner).setdefault(signature, []).append(Connection(slot, relay, handle))
    return True


def disconnect(owner: QtCore.QObject, signature: str, *target: Any) -> bool:
    """Removes the connections of a signal to a slot, or all of them; False when there was none."""
    signature, native = resolve(owner, signature)
    if len(target) == 2:
        target = (getattr(target[0], contract.normalised(target[1]).partition("(")[0]),)
    connections = table(owner).get(signature, [])
    gone = [one for one in connections if not target or one.slot == target[0]]
    for one in gone:
        connections.remove(one)
        if native:
            QtCore.QObject.disconnect(one.handle)
    return bool(gone)


def count(signature: str) -> int:
    """How many arguments a signature has."""
    inside = contract.normalised(signature).partition("(")[2].rstrip(")")
    return len(inside.split(",")) if inside else 0


def emit(owner: QtCore.QObject, name: str, *args: Any) -> None:
    """Emits a signal of a contract class, in all its overloads (`currentNodeChanged(bool)` gets a bool)."""
    if raw(owner, "signalsBlocked")():
        return
    for signal in type(owner)._contract.signals[name]:  # type: ignore[attr-defined]
        given = [fitting(kind, arg) for kind, arg in zip(signal.types, args, strict=False)]
        for one in list(table(owner).get(signal.signature.replace("?", ""), [])):
            one.relay(*given)


def fitting(kind: str, value: Any) -> Any:
    """An argument in the type of an overload: a node or its presence, a number or its text."""
    if kind == "bool":
        return bool(value)
    return str(value) if kind == "QString" and not isinstance(value, str) else value


class SignalProxy:
    """`obj.clicked`: can be connected, disconnected and called."""

    def __init__(self, owner: QtCore.QObject, name: str) -> None:
        self.__owner, self.__name = owner, name
        self.__qualname__ = f"{type(owner).__name__}.{name}"

    def connect(self, slot: Callable[..., Any]) -> bool:
        return connect(self.__owner, default(self.__owner, self.__name), slot)

    def disconnect(self, *slot: Callable[..., Any]) -> bool:
        return disconnect(self.__owner, default(self.__owner, self.__name), *slot)

    def emit(self, *args: Any) -> None:
        spec: contract.Class | None = getattr(type(self.__owner), "_contract", None)
        if spec is not None and self.__name in spec.signals:
            emit(self.__owner, self.__name, *args)
        else:
            raw(self.__owner, self.__name).emit(*args)

    __call__ = emit

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SignalProxy) and self.__key() == other.__key()

    def __hash__(self) -> int:
        return hash(self.__key())

    def __key(self) -> tuple[int, str]:
        return id(self.__owner), self.__name
