"""QUiLoader that makes the host's CTK and Slicer widgets, and holds a .ui file to the contract."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import classes, contract, pythonqt
from .signals import ContractError, connect, normalise_slot, raw, resolve


class UiLoader(QtUiTools.QUiLoader):
    """`qt.QUiLoader()`."""

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget | None:
        tree = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = tree.find("connections")
        if connections is not None:
            tree.remove(connections)  # Qt cannot make those of the contract's signals
        checked = {widget.get("name", ""): check(widget) for widget in tree.iter("widget")}
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(tree)))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        pythonqt.loading_ui.append(device)
        try:
            top = super().load(buffer, parent)
        finally:
            pythonqt.loading_ui.pop()
        if top is None:
            return None
        for widget in (top, *top.findChildren(QtWidgets.QWidget)):
            apply(widget, checked.get(widget.objectName, {}))
        for connection in connections if connections is not None else ():
            make(top, {child.tag: child.text or "" for child in connection})
        return top

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget | None:
        if kind in classes.made:
            widget = classes.made[kind](parent)
            widget.setObjectName(name)
            return widget
        if contract.known(kind):
            raise NotImplementedError(f"{kind} is in the contract, but the test host has no stand-in for it yet")
        return super().createWidget(kind, parent, name)


def check(element: ElementTree.Element) -> dict[str, str]:
    """Refuses properties that a contract class does not have; returns those that Qt cannot convert (enums)."""
    kind = element.get("class", "")
    if not contract.known(kind):
        return {}
    spec, made = contract.of(kind), classes.made.get(kind)
    flags = {}
    for item in element.findall("property"):
        name = item.get("name", "")
        if item.get("stdset") == "0":
            continue
        in_qt = made is not None and name in pythonqt.native_properties(pythonqt.native_base(made))
        if name not in spec.properties and not in_qt:
            raise ContractError(f"the .ui file sets '{name}' of {kind}, which has no such property")
        value = item[0]
        if name in spec.properties and value.tag in ("enum", "set"):
            flags[name] = value.text or ""
    return flags


def apply(widget: QtWidgets.QWidget, flags: dict[str, str]) -> None:
    """Moves what Qt stored as dynamic properties into the properties of the contract."""
    if not pythonqt.is_host(type(widget)):
        return
    for name in [bytes(one.data()).decode() for one in raw(widget, "dynamicPropertyNames")()]:
        if name in type(widget)._contract.properties:
            value = raw(widget, "property")(name)
            raw(widget, "setProperty")(name, None)
            setattr(widget, name, value)
    for name, text in flags.items():
        value = 0
        for word in text.split("|"):
            scope = QtCore.Qt if word.startswith("Qt::") else widget
            one = getattr(scope, word.rpartition("::")[2])
            value = one if not value else value | one
        setattr(widget, name, value)


def make(top: QtWidgets.QWidget, connection: dict[str, str]) -> None:
    """One connection of the .ui file, with names checked on both sides."""
    sender, receiver = (
        top if top.objectName == name else top.findChild(QtCore.QObject, name)
        for name in (connection["sender"], connection["receiver"])
    )
    if sender is None or receiver is None:
        raise ContractError(f"the .ui file connects objects that do not exist: {connection}")
    resolve(sender, connection["signal"])
    normalise_slot(receiver, connection["slot"])
    connect(sender, connection["signal"], receiver, connection["slot"])
