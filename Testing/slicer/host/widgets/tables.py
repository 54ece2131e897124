"""qMRMLTableView and qMRMLTableModel: show a table node."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in
from .follow import MODIFIED, Watch
from .mrml_small import SceneMixin

Qt = QtCore.Qt


def letters(index: int) -> str:
    """A, B, ... Z, AA, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text


@stand_in
class qMRMLTableModel(QtGui.QStandardItemModel):
    """The cells of a table node; without locked first row, the column names are its first row."""

    def _read(self, node: Any) -> None:
        self.clear()
        if node is None or node.GetTable() is None:
            return
        locked, rows = node.GetUseColumnTitleAsColumnHeader(), node.GetNumberOfRows()
        named = node.GetUseFirstColumnAsRowHeader()
        columns = range(int(named), node.GetNumberOfColumns())
        for place, column in enumerate(columns):
            title = node.GetColumnName(column)
            cells = [] if locked else [self._item(title, bold=True)]
            cells += [self._item(node.GetCellText(row, column), number(node, column)) for row in range(rows)]
            self.appendColumn(cells)
            self.setHorizontalHeaderItem(place, QtGui.QStandardItem(title if locked else letters(place)))
        if named:
            first = [] if locked else [node.GetColumnName(0)]
            self.setVerticalHeaderLabels([*first, *(node.GetCellText(row, 0) for row in range(rows))])

    def _item(self, text: str, right: bool = False, bold: bool = False) -> QtGui.QStandardItem:
        item = QtGui.QStandardItem(text)
        item.setTextAlignment(
            (Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft) | Qt.AlignmentFlag.AlignVCenter
        )
        if bold:
            font = item.font()
            font.setBold(True)
            item.setFont(font)
        return item


def number(node: Any, column: int) -> bool:
    """Whether a column holds numbers."""
    return node.GetTable().GetColumn(column).IsNumeric()


@stand_in
class qMRMLTableView(SceneMixin, QtWidgets.QTableView):
    """A view of a table node; cells can be edited as far as the node is not locked."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._watch = Watch(self)
        self._model = qMRMLTableModel(self)
        self._sorted = QtCore.QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self.setModel(self._sorted)
        self.horizontalHeader().setStretchLastSection(False)
        self._model.connect("itemChanged(QStandardItem*)", self._on_item)
        self._reading = False

    def setMRMLTableNode(self, node: Any) -> None:
        self._watch.stop()
        self._node = node
        if node is not None:
            self._watch.add(node, MODIFIED, "_read")
        self._read()

    def mrmlTableNode(self) -> Any:
        return self._node

    def tableModel(self) -> qMRMLTableModel:
        return self._model

    def sortFilterProxyModel(self) -> QtCore.QSortFilterProxyModel:
        return self._sorted

    def _read(self) -> None:
        self._reading = True
        self._model._read(self._node)
        self._reading = False
        editable = self._node is not None and not self._node.GetLocked()
        trigger = QtWidgets.QAbstractItemView.EditTrigger
        self.setEditTriggers(trigger.DoubleClicked if editable else trigger.NoEditTriggers)
        self.resizeColumnsToContents()

    def _on_item(self, item: QtGui.QStandardItem) -> None:
        if self._reading or self._node is None:
            return
        row = item.row() - int(not self._node.GetUseColumnTitleAsColumnHeader())
        column = item.column() + int(self._node.GetUseFirstColumnAsRowHeader())
        if row < 0:
            self._node.RenameColumn(column, item.text())
        else:
            self._node.SetCellText(row, column, item.text())

    @property
    def firstRowLocked(self) -> bool:
        return bool(self._node is not None and self._node.GetUseColumnTitleAsColumnHeader())

    @firstRowLocked.setter
    def firstRowLocked(self, locked: bool) -> None:
        if self._node is not None:
            self._node.SetUseColumnTitleAsColumnHeader(bool(locked))

    @property
    def firstColumnLocked(self) -> bool:
        return bool(self._node is not None and self._node.GetUseFirstColumnAsRowHeader())

    @firstColumnLocked.setter
    def firstColumnLocked(self, locked: bool) -> None:
        if self._node is not None:
            self._node.SetUseFirstColumnAsRowHeader(bool(locked))

    def selectionChanged(self, *args: Any) -> None:
        """Qt's virtual method; Slicer's signal has the same name."""
        super().selectionChanged(*args)
        signals.emit(self, "selectionChanged")

    def insertRow(self) -> None:
        if self._node is not None:
            self._node.AddEmptyRow()

    def insertColumn(self) -> None:
        if self._node is not None:
            self._node.AddColumn()

    def deleteRow(self) -> None:
        rows = {self._sorted.mapToSource(index).row() for index in self.selectionModel().selectedIndexes()}
        for row in sorted(rows, reverse=True):
            self._node.RemoveRow(row - int(not self.firstRowLocked))

    def deleteColumn(self) -> None:
        columns = {self._sorted.mapToSource(index).column() for index in self.selectionModel().selectedIndexes()}
        for column in sorted(columns, reverse=True):
            self._node.RemoveColumn(column + int(self.firstColumnLocked))

    def copySelection(self) -> None:
        cells: dict[int, dict[int, str]] = {}
        for index in self.selectionModel().selectedIndexes():
            cells.setdefault(index.row(), {})[index.column()] = str(index.data() or "")
        lines = ("\t".join(text for _, text in sorted(row.items())) for _, row in sorted(cells.items()))
        QtWidgets.QApplication.clipboard().setText("\n".join(lines))
