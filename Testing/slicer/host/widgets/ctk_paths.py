"""CTK's editors of paths: ctkPathLineEdit, ctkDirectoryButton."""

from __future__ import annotations

import fnmatch
import os
from typing import Any

from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in

HISTORY = 5


class Filters(int):
    """Flags of ctkPathLineEdit; they combine with |."""

    def __or__(self, other: int) -> Filters:
        return Filters(int(self) | int(other))


def patterns(names: tuple[str, ...]) -> list[str]:
    """The wildcards of name filters: `"Raw data (*.h5 *.npz)"` has two."""
    inside = [name[name.rfind("(") + 1 : name.rfind(")")] if "(" in name else name for name in names]
    return [pattern for text in inside for pattern in text.replace(";", " ").split()]


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """An editable path with a history and a button to browse."""

    Dirs, Files, Drives = Filters(0x1), Filters(0x2), Filters(0x4)
    NoSymLinks, AllEntries, TypeMask = Filters(0x8), Filters(0x7), Filters(0xF)
    Readable, Writable, Executable, PermissionMask = Filters(0x10), Filters(0x20), Filters(0x40), Filters(0x70)
    Modified, Hidden, System, AccessMask = Filters(0x80), Filters(0x100), Filters(0x200), Filters(0x3F0)
    AllDirs, CaseSensitive = Filters(0x400), Filters(0x800)
    NoDot, NoDotDot, NoDotAndDotDot, NoFilter = Filters(0x2000), Filters(0x4000), Filters(0x6000), Filters(-1)

    def __init__(self, *args: Any) -> None:
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._filters: int = Filters(self.AllEntries | self.NoDotAndDotDot | self.Readable)
        self._names: tuple[str, ...] = ()
        self._key, self._label, self._valid = "", "", False
        self._combo, self._button = QtWidgets.QComboBox(self), QtWidgets.QToolButton(self)
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._combo.setMinimumContentsLength(12)
        self._button.setText("...")
        self._button.setToolTip("Open a dialog")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._button)
        self._combo.connect("editTextChanged(QString)", self._on_text)
        self._button.connect("clicked()", self.browse)

    def _acceptable(self, path: str) -> bool:
        """Whether the path has one of the endings asked for; CTK does not look whether it exists."""
        wanted = patterns(self._names)
        return not wanted or any(fnmatch.fnmatch(path.lower(), pattern.lower()) for pattern in wanted)

    def _on_text(self, text: str) -> None:
        """As in CTK: a path that is not acceptable (the empty one, when there are name filters) is not told."""
        valid = self._acceptable(text)
        before, self._valid = self._valid, valid
        if valid:
            signals.emit(self, "currentPathChanged", text)
        if valid != before:
            signals.emit(self, "validInputChanged", valid)

    @property
    def currentPath(self) -> str:
        return self._combo.currentText

    @currentPath.setter
    def currentPath(self, path: str) -> None:
        if path is None or not isinstance(path, str):
            raise signals.ContractError(f"currentPath takes a str, not {path!r}")
        self._combo.setEditText(path)

    @property
    def filters(self) -> int:
        return self._filters

    @filters.setter
    def filters(self, filters: int) -> None:
        self._filters = Filters(filters)

    @property
    def nameFilters(self) -> tuple[str, ...]:
        return self._names

    @nameFilters.setter
    def nameFilters(self, names: Any) -> None:
        self._names = tuple(names)

    @property
    def settingKey(self) -> str:
        return self._key

    @settingKey.setter
    def settingKey(self, key: str) -> None:
        self._key = key
        self.retrieveHistory()

    @property
    def showBrowseButton(self) -> bool:
        return not self._button.isHidden()

    @showBrowseButton.setter
    def showBrowseButton(self, shown: bool) -> None:
        self._button.setVisible(bool(shown))

    @property
    def minimumContentsLength(self) -> int:
        return self._combo.minimumContentsLength

    @minimumContentsLength.setter
    def minimumContentsLength(self, length: int) -> None:
        self._combo.setMinimumContentsLength(length)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def browse(self) -> None:
        """Asks for a file, or for a folder when only folders are wanted."""
        folder = not self._filters & self.Files
        ask = QtWidgets.QFileDialog.getExistingDirectory if folder else QtWidgets.QFileDialog.getOpenFileName
        if self._filters & self.Writable and not folder:
            ask = QtWidgets.QFileDialog.getSaveFileName
        path = ask(self, "Select a folder" if folder else "Select a file", self.currentPath, ";;".join(self._names))
        if path:
            self.currentPath = path

    def _setting(self) -> str:
        return f"ctkPathLineEdit/{self._key or self.objectName}"

    def _history(self) -> list[str]:
        value = QtCore.QSettings().value(self._setting())
        return [value] if isinstance(value, str) else list(value or ())

    def addCurrentPathToHistory(self) -> None:
        path = self.currentPath
        if path:
            known = [path, *(one for one in self._history() if one != path)][:HISTORY]
            QtCore.QSettings().setValue(self._setting(), known)
            self._fill(known)

    def retrieveHistory(self) -> None:
        """Fills the drop-down list; the last path becomes the current one when there is none."""
        path, known = self.currentPath, self._history()[:HISTORY]
        self._fill(known)
        if not path and known:
            self._combo.setEditText(known[0])

    def _fill(self, known: list[str]) -> None:
        path, blocked = self.currentPath, self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(known)
        self._combo.setEditText(path)
        self._combo.blockSignals(blocked)


@stand_in
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and asks for another one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._directory, self._text, self._caption = "", "", ""
        self._button = QtWidgets.QPushButton(self)
        self._button.setIcon(self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_DirIcon))
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.connect("clicked()", self.browse)
        self.directory = args[0] if args and isinstance(args[0], str) else "."

    @property
    def directory(self) -> str:
        return self._directory

    @directory.setter
    def directory(self, directory: str) -> None:
        path = os.path.abspath(directory or ".")
        if path == self._directory:
            return
        self._directory = path
        self._button.setText(self._text or path)
        signals.emit(self, "directoryChanged", path)

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text
        self._button.setText(text or self._directory)

    @property
    def caption(self) -> str:
        return self._caption

    @caption.setter
    def caption(self, caption: str) -> None:
        self._caption = caption

    def browse(self) -> str:
        path = QtWidgets.QFileDialog.getExistingDirectory(self, self._caption or "Select a folder", self._directory)
        if path:
            self.directory = path
            signals.emit(self, "directorySelected", path)
        return path
