"""The module `qt`: all of Qt's classes in one namespace, as PythonQt has them, without PySide's own additions."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtNetwork, QtPrintSupport, QtSql, QtSvg, QtUiTools, QtWidgets, QtXml

from . import newer
from .uiloader import UiLoader

MODULES = (QtCore, QtGui, QtWidgets, QtNetwork, QtPrintSupport, QtSql, QtSvg, QtXml, QtUiTools)
PYSIDE_ONLY = {
    *("Signal", "SignalInstance", "Slot", "Property", "ClassInfo", "QEnum", "QFlag", "QtMsgType", "MetaFunction"),
    *("MetaSignal", "SIGNAL", "SLOT", "QT_TR_NOOP", "QT_TRANSLATE_NOOP", "qVersion", "PYSIDE_VERSION", "loadUiType"),
}


def build() -> types.ModuleType:
    module = types.ModuleType("qt", "Qt as an extension of Slicer sees it.")
    for source in MODULES:
        for name in dir(source):
            if not name.startswith("_") and name not in PYSIDE_ONLY and not newer.module_name(name):
                setattr(module, name, getattr(source, name))
    module.QUiLoader = UiLoader  # type: ignore[attr-defined]
    menu_takes_anything(QtWidgets.QMenu)
    module.__getattr__ = missing  # type: ignore[method-assign]
    return module


def menu_takes_anything(kind: Any) -> None:
    """`QMenu(x)`: PythonQt takes what is no widget as the title; Slicer's own panel of the developer does that."""
    native = kind.__init__

    def init(self: Any, *args: Any) -> None:
        native(self, *(arg if isinstance(arg, str | QtWidgets.QWidget | None) else str(arg) for arg in args))

    kind.__init__ = init


def missing(name: str) -> Any:
    raise AttributeError(f"module 'qt' has no attribute '{name}' in both Qt 5 and Qt 6")
