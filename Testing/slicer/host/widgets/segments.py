"""qMRMLSegmentSelectorWidget: a segmentation and one or several of its segments."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in
from .follow import MODIFIED, Watch
from .mrml_small import qMRMLWidget
from .node_combo import qMRMLNodeComboBox

CHECKED = QtCore.Qt.CheckState.Checked


@stand_in
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Two combo boxes: segmentation nodes, segments."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._multi, self._none, self._horizontal, self._ids, self._chosen = False, False, False, [], []
        self._watch, self._filling = Watch(self), False
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.nodeTypes = ("vtkMRMLSegmentationNode",)
        self._nodes.addEnabled = self._nodes.removeEnabled = False
        self._segments = QtWidgets.QComboBox(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._nodes.connect("currentNodeChanged(vtkMRMLNode*)", self._on_node)
        self._nodes.connect("nodeAboutToBeEdited(vtkMRMLNode*)", lambda n: signals.emit(self, "nodeAboutToBeEdited", n))
        self._segments.connect("currentIndexChanged(int)", self._on_index)

    def _scene_set(self) -> None:
        self._nodes.setMRMLScene(self._the_scene())

    def _on_node(self, node: Any) -> None:
        self._watch.stop()
        if node is not None:
            segmentation = node.GetSegmentation()
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self._watch.add(segmentation, event, "_refresh")
            self._watch.add(node, MODIFIED, "_refresh")
        self._refresh()
        signals.emit(self, "currentNodeChanged", node)

    def _refresh(self) -> None:
        node = self.currentNode()
        segmentation = node.GetSegmentation() if node is not None else None
        self._ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        chosen = [one for one in self._chosen if one in self._ids]
        if not chosen and self._ids and not self._multi and not self._none:
            chosen = self._ids[:1]
        self._filling = True
        self._segments.clear()
        if self._none and not self._multi:
            self._segments.addItem("None", "")
        for identifier in self._ids:
            segment = segmentation.GetSegment(identifier)
            picture = QtGui.QPixmap(12, 12)
            picture.fill(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._segments.addItem(QtGui.QIcon(picture), segment.GetName(), identifier)
        self._filling = False
        self._choose(chosen)

    def _choose(self, chosen: list[str]) -> None:
        chosen = [one for one in self._ids if one in chosen]
        self._filling = True
        if not self._multi:
            self._segments.setCurrentIndex(self._segments.findData(chosen[0] if chosen else ""))
        self._filling = False
        if chosen != self._chosen:
            self._chosen = chosen
            signals.emit(self, "segmentSelectionChanged", chosen)
            if not self._multi:
                signals.emit(self, "currentSegmentChanged", chosen[0] if chosen else "")

    def _on_index(self, index: int) -> None:
        if not self._filling and not self._multi and index >= 0:
            identifier = self._segments.itemData(index)
            self._choose([identifier] if identifier else [])

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return self._nodes.currentNodeID

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, identifier: str) -> None:
        self._nodes.setCurrentNodeID(identifier)

    def currentSegmentID(self) -> str:
        return self._chosen[0] if self._chosen and not self._multi else ""

    def setCurrentSegmentID(self, identifier: str) -> None:
        self._choose([identifier])

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._chosen)

    def setSelectedSegmentIDs(self, identifiers: Any) -> None:
        self._choose(list(identifiers))

    def segmentIDs(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def multiSelection(self) -> bool:
        return self._multi

    @multiSelection.setter
    def multiSelection(self, multi: bool) -> None:
        self._multi = bool(multi)
        self._refresh()

    @property
    def noneEnabled(self) -> bool:
        return self._none

    @noneEnabled.setter
    def noneEnabled(self, none: bool) -> None:
        self._none = bool(none)
        self._nodes.noneEnabled = self._none
        self._refresh()

    @property
    def segmentationNodeSelectorVisible(self) -> bool:
        return not self._nodes.isHidden()

    @segmentationNodeSelectorVisible.setter
    def segmentationNodeSelectorVisible(self, visible: bool) -> None:
        self._nodes.setVisible(bool(visible))
