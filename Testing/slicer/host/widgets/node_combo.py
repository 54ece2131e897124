"""qMRMLNodeComboBox: follows the scene, filters by type and attribute, adds, renames and removes nodes."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in
from .follow import MODIFIED, SCENE_EVENTS, Watch

Qt = QtCore.Qt


class Option:
    """A property that changes which nodes are listed."""

    def __init__(self, key: str, kind: Any = bool) -> None:
        self.key, self.kind = key, kind

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else owner._options[self.key]

    def __set__(self, owner: Any, value: Any) -> None:
        if self.kind is tuple and isinstance(value, str):
            raise signals.ContractError(f"{self.key} takes a list of names, not {value!r}")
        owner._options[self.key] = self.kind(value)
        owner._refresh()


DEFAULTS: dict[str, Any] = {
    "nodeTypes": (),
    "hideChildNodeTypes": (),
    "showChildNodeTypes": True,
    "showHidden": False,
    "noneEnabled": False,
    "noneDisplay": "None",
    "addEnabled": True,
    "removeEnabled": True,
    "editEnabled": False,
    "renameEnabled": False,
    "baseName": "",
}
ACTIONS = {
    "addEnabled": "Create new",
    "renameEnabled": "Rename current",
    "editEnabled": "Edit current",
    "removeEnabled": "Delete current",
}


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A combo box of the scene's nodes."""

    nodeTypes, hideChildNodeTypes = Option("nodeTypes", tuple), Option("hideChildNodeTypes", tuple)
    showChildNodeTypes, showHidden = Option("showChildNodeTypes"), Option("showHidden")
    noneEnabled, noneDisplay = Option("noneEnabled"), Option("noneDisplay", str)
    addEnabled, removeEnabled = Option("addEnabled"), Option("removeEnabled")
    editEnabled, renameEnabled = Option("editEnabled"), Option("renameEnabled")
    baseName = Option("baseName", str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._options = dict(DEFAULTS)
        self._attributes: list[tuple[str, str, str | None]] = []
        self._labels: dict[str, str] = {}
        self._scene: Any = None
        self._nodes: list[Any] = []
        self._current: Any = None
        self._actions: list[Any] = []
        self._select_new, self._filling = True, False
        self._watch, self._node_watch = Watch(self), Watch(self)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setMinimumContentsLength(8)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._combo.setEnabled(False)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.connect("activated(int)", self._on_activated)
        self._combo.connect("currentIndexChanged(int)", self._on_index)

    # --- the scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._watch.stop()
        self._scene = scene
        self._combo.setEnabled(scene is not None)
        if scene is not None:
            for event in SCENE_EVENTS:
                self._watch.add(scene, getattr(scene, event), "_on_scene")
        self._refresh()

    def mrmlScene(self) -> Any:
        return self._scene

    def _on_scene(self) -> None:
        if self._scene is not None and not self._scene.IsBatchProcessing():
            before = set(map(id, self._nodes))
            self._refresh()
            for node in self._nodes:
                if id(node) not in before:
                    signals.emit(self, "nodeAdded", node)

    def _accepts(self, node: Any) -> bool:
        options, name = self._options, node.GetClassName()
        kinds = options["nodeTypes"]
        children = options["showChildNodeTypes"]
        if not any(node.IsA(kind) if children else name == kind for kind in kinds):
            return False
        if any(node.IsA(kind) and name not in kinds for kind in options["hideChildNodeTypes"]):
            return False
        if node.GetHideFromEditors() and not options["showHidden"]:
            return False
        wanted = [(key, value) for kind, key, value in self._attributes if node.IsA(kind)]
        return all(
            node.GetAttribute(key) is not None if value is None else node.GetAttribute(key) == value
            for key, value in wanted
        )

    def _refresh(self) -> None:
        """Reads the scene again; keeps the current node while it is there."""
        scene = self._scene
        found = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene is not None else []
        nodes = [node for node in found if self._accepts(node)]
        was_empty, before = not self._nodes, self._current
        self._nodes = nodes
        self._node_watch.stop()
        for node in nodes:
            self._node_watch.add(node, MODIFIED, "_retitle")
        self._fill()
        if before in nodes:
            self._choose(before)
        elif self._options["noneEnabled"] or not nodes or (before is None and not was_empty):
            self._choose(None)
        else:
            self._choose(nodes[0])

    def _rows(self) -> list[tuple[str, Any]]:
        none = [(self._options["noneDisplay"], None)] if self._options["noneEnabled"] else []
        return [*none, *((node.GetName() or node.GetID(), node) for node in self._nodes)]

    def _fill(self) -> None:
        self._filling = True
        self._combo.clear()
        for text, _ in self._rows():
            self._combo.addItem(text)
        self._actions = [key for key in ACTIONS if self._options[key] and self._options["nodeTypes"]]
        if self._actions and self._combo.count:
            self._combo.insertSeparator(self._combo.count)
        kind = self.nodeTypeLabel(self._options["nodeTypes"][0]) if self._options["nodeTypes"] else ""
        for key in self._actions:
            self._combo.addItem(f"{ACTIONS[key]} {kind}")
        self._filling = False

    def _retitle(self) -> None:
        for row, (text, node) in enumerate(self._rows()):
            if self._combo.itemText(row) != text:
                self._combo.setItemText(row, text)
                if node is not None and node is self._current:
                    signals.emit(self, "currentNodeRenamed", text)

    # --- the current node

    def _choose(self, node: Any) -> None:
        rows = [one for _, one in self._rows()]
        index = rows.index(node) if node in rows else -1
        self._filling = True
        self._combo.setCurrentIndex(index)
        self._filling = False
        node = rows[index] if index >= 0 else None
        if node is not self._current:
            self._current = node
            signals.emit(self, "currentNodeChanged", node)
            signals.emit(self, "currentNodeIDChanged", node.GetID() if node is not None else "")

    def _on_index(self, index: int) -> None:
        rows = self._rows()
        if not self._filling and 0 <= index < len(rows):
            self._choose(rows[index][1])

    def _on_activated(self, index: int) -> None:
        rows = self._rows()
        if index < len(rows):
            signals.emit(self, "nodeActivated", rows[index][1])
            return
        key = self._actions[index - self._combo.count + len(self._actions)]
        self._choose(self._current)
        does = {"addEnabled": self._add_by_user, "renameEnabled": self.renameCurrentNode}
        does |= {"editEnabled": self.editCurrentNode, "removeEnabled": self.removeCurrentNode}
        does[key]()

    def currentNode(self) -> Any:
        return self._current

    @property
    def currentNodeID(self) -> str:
        return self._current.GetID() if self._current is not None else ""

    @currentNodeID.setter
    def currentNodeID(self, identifier: str) -> None:
        self.setCurrentNodeID(identifier)

    @property
    def currentNodeId(self) -> str:
        return self.currentNodeID

    @currentNodeId.setter
    def currentNodeId(self, identifier: str) -> None:
        self.setCurrentNodeID(identifier)

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            self.setCurrentNodeID(node)
        elif node is None or isinstance(node, slicer.vtkMRMLNode):
            self._choose(node)
        else:
            raise signals.ContractError(f"setCurrentNode takes a MRML node or None, not {node!r}")

    def setCurrentNodeID(self, identifier: str) -> None:
        self._choose(self._scene.GetNodeByID(identifier) if self._scene is not None and identifier else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._choose(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    # --- filters and labels

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.append((node_type, name, None if value is None else str(value)))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [one for one in self._attributes if one[:2] != (node_type, name)]
        self._refresh()

    def nodeTypeLabel(self, node_type: str) -> str:
        if node_type in self._labels:
            return self._labels[node_type]
        node = self._scene.CreateNodeByClass(node_type) if self._scene is not None else None
        return node.GetNodeTagName() if node is not None else node_type

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._refresh()

    # --- what the user can do to nodes

    @property
    def selectNodeUponCreation(self) -> bool:
        return self._select_new

    @selectNodeUponCreation.setter
    def selectNodeUponCreation(self, select: bool) -> None:
        self._select_new = bool(select)

    def addNode(self, node_type: str = "") -> Any:
        """A new node of the (first) type, named after `baseName`, with the attributes that the filter asks for."""
        if self._scene is None:
            return None
        kind = node_type or self._options["nodeTypes"][0]
        node = self._scene.CreateNodeByClass(kind)
        base = self._options["baseName"] or self._labels.get(kind) or node.GetNodeTagName()
        node.SetName(self._scene.GetUniqueNameByString(base))
        for wanted, key, value in self._attributes:
            if node.IsA(wanted):
                node.SetAttribute(key, value or "")
        node = self._scene.AddNode(node)
        node.UnRegister(None)
        if self._select_new:
            self._choose(node)
        return node

    def _add_by_user(self) -> None:
        node = self.addNode()
        signals.emit(self, "nodeAddedByUser", node)

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            signals.emit(self, "nodeAboutToBeRemoved", self._current)
            self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        if self._current is not None:
            name = QtWidgets.QInputDialog.getText(self, "Rename", "New name:")
            if name:
                self._current.SetName(name)

    def editCurrentNode(self) -> None:
        signals.emit(self, "nodeAboutToBeEdited", self._current)


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
