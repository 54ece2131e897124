"""The other combo boxes of nodes: colour tables, nodes with check marks."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in
from .node_combo import qMRMLNodeComboBox

Qt = QtCore.Qt


@stand_in
class qMRMLColorTableComboBox(qMRMLNodeComboBox):
    """A combo box of colour tables."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._options |= {"nodeTypes": ("vtkMRMLColorNode",), "showHidden": True, "addEnabled": False}
        self._options |= {"removeEnabled": False}


@stand_in
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A combo box whose nodes can be checked."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._checked: list[str] = []
        self._options |= {"addEnabled": False, "removeEnabled": False}

    def _mark(self, node: Any, checked: bool) -> None:
        identifier = node.GetID()
        if checked == (identifier in self._checked):
            return
        (self._checked.append if checked else self._checked.remove)(identifier)
        signals.emit(self, "checkedNodesChanged")

    def check(self, node: Any) -> None:
        self._mark(node, True)

    def uncheck(self, node: Any) -> None:
        self._mark(node, False)

    def checkState(self, node: Any) -> Qt.CheckState:
        return Qt.CheckState.Checked if node.GetID() in self._checked else Qt.CheckState.Unchecked

    def setCheckState(self, node: Any, state: Qt.CheckState) -> None:
        self._mark(node, state == Qt.CheckState.Checked)

    def setUserCheckable(self, node: Any, checkable: bool) -> None:
        """Every node stays checkable here."""

    def checkedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes if node.GetID() in self._checked)

    def uncheckedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes if node.GetID() not in self._checked)

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()
