"""Modal dialogs in tests: answered by what the test prepared, else closed at once; recorded, never waiting."""

from __future__ import annotations

import time
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import reports

raw = object.__getattribute__
PATIENCE = 60.0  # seconds; a dialog that the test's answer did not close is closed by force


def run(dialog: QtWidgets.QDialog) -> int:
    """`dialog.exec_()`: the answer is a button of a message box, a function of the dialog, or a result code.

    Events are processed here rather than in a loop of Qt: the application's own loop does not run in a test, so that
    an inner one would carry out `deleteLater` on the dialog that is being shown.
    """
    box = dialog if isinstance(dialog, QtWidgets.QMessageBox) else None
    title = QtWidgets.QWidget.windowTitle(dialog)
    text = QtWidgets.QMessageBox.text(box) if box else ""
    default = escape(box) if box else QtWidgets.QDialog.DialogCode.Rejected
    answer = reports.answer(type(dialog).__name__, title, text, default)
    QtWidgets.QWidget.setWindowModality(dialog, QtCore.Qt.WindowModality.ApplicationModal)
    QtWidgets.QWidget.show(dialog)
    QtWidgets.QApplication.processEvents()
    reports.guarded(give, f"the answer to {title!r}", dialog, answer)
    end = time.monotonic() + PATIENCE
    while QtWidgets.QWidget.isVisible(dialog):
        QtWidgets.QApplication.processEvents()
        if time.monotonic() > end:
            QtWidgets.QDialog.reject(dialog)
        time.sleep(0.001)
    return QtWidgets.QDialog.result(dialog)


def give(dialog: QtWidgets.QDialog, answer: Any) -> None:
    if isinstance(dialog, QtWidgets.QMessageBox) and isinstance(answer, QtWidgets.QMessageBox.StandardButton):
        button = QtWidgets.QMessageBox.button(dialog, answer)
        if button is None:
            QtWidgets.QDialog.reject(dialog)
            raise AssertionError(f"the message box has no button {answer!r}")
        QtWidgets.QAbstractButton.click(button)
    elif callable(answer):
        answer(dialog)
    else:
        QtWidgets.QDialog.done(dialog, int(getattr(answer, "value", answer) or 0))


def escape(box: QtWidgets.QMessageBox) -> Any:
    """The button that closing a message box means; the only one, or the one that does nothing."""
    kinds = QtWidgets.QMessageBox.StandardButton
    for kind in (kinds.Cancel, kinds.No, kinds.Close, kinds.Abort, kinds.Ok):
        if QtWidgets.QMessageBox.button(box, kind) is not None:
            return kind
    return QtWidgets.QDialog.DialogCode.Rejected


def replace_static() -> None:
    """The static functions that open a dialog return what PythonQt returns: the path alone, the text alone."""
    cancelled = {
        (QtWidgets.QFileDialog, "getOpenFileName"): "",
        (QtWidgets.QFileDialog, "getOpenFileNames"): (),
        (QtWidgets.QFileDialog, "getSaveFileName"): "",
        (QtWidgets.QFileDialog, "getExistingDirectory"): "",
        (QtWidgets.QInputDialog, "getText"): "",
        (QtWidgets.QInputDialog, "getMultiLineText"): "",
        (QtWidgets.QInputDialog, "getItem"): "",
        (QtWidgets.QInputDialog, "getInt"): 0,
        (QtWidgets.QInputDialog, "getDouble"): 0.0,
        (QtWidgets.QMessageBox, "question"): QtWidgets.QMessageBox.StandardButton.No,
        (QtWidgets.QMessageBox, "warning"): QtWidgets.QMessageBox.StandardButton.Ok,
        (QtWidgets.QMessageBox, "information"): QtWidgets.QMessageBox.StandardButton.Ok,
        (QtWidgets.QMessageBox, "critical"): QtWidgets.QMessageBox.StandardButton.Ok,
        (QtWidgets.QMessageBox, "about"): None,
    }
    QtGui.QDesktopServices.openUrl = staticmethod(open_url)  # type: ignore[method-assign]
    for (kind, name), default in cancelled.items():
        setattr(kind, name, staticmethod(static(f"{kind.__name__}.{name}", default)))


def open_url(url: QtCore.QUrl) -> bool:
    """Takes the place of QDesktopServices.openUrl: nothing opens."""
    reports.opened.append(url.toString())
    return True


def static(kind: str, default: Any) -> Any:
    def ask(parent: Any = None, title: str = "", text: str = "", *rest: Any) -> Any:
        if parent is not None and not isinstance(parent, QtWidgets.QWidget):
            raise TypeError(f"{kind} takes a widget or None first, not {parent!r}")
        return reports.answer(kind, title, str(text), default)

    return ask
