"""qMRMLNodeComboBox: follows the scene, filters by type and attribute, adds, renames and removes nodes."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in
from .filters import DEFAULTS, Attribute, Option, accepts
from .follow import MODIFIED, SCENE_EVENTS, Watch

Qt = QtCore.Qt


ACTIONS = {
    "renameEnabled": "Rename current",
    "editEnabled": "Edit current",
    "addEnabled": "Create new",
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

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._options = dict(DEFAULTS)
        self._attributes: list[Attribute] = []
        self._labels: dict[str, str] = {}
        self._scene: Any = None
        self._nodes: list[Any] = []
        self._current: Any = None
        self._actions: list[tuple[str, str, str]] = []
        self._requested: str | None = None
        self._base_name = ""
        self._select_new, self._filling = True, False
        self._watch, self._node_watch = Watch(self), Watch(self)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setMinimumContentsLength(8)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.connect("activated(int)", self._on_activated)
        self._combo.connect("currentIndexChanged(int)", self._on_index)
        self.setEnabled(False)

    # --- the scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._watch.stop()
        self._scene = scene
        if scene is not None:
            for event in SCENE_EVENTS:
                self._watch.add(scene, getattr(scene, event), "_on_scene")
        wanted, self._requested = self._requested, None
        self._list()
        self._choose(self._node(wanted) if wanted is not None else self._current or self._first())
        self.setEnabled(scene is not None)  # as in Slicer, whatever was set before

    def mrmlScene(self) -> Any:
        return self._scene

    def _node(self, identifier: str) -> Any:
        return self._scene.GetNodeByID(identifier) if self._scene is not None and identifier else None

    def _first(self) -> Any:
        """What Slicer selects by itself: the first node, unless there is a "None"."""
        return self._nodes[0] if self._nodes and not self._options["noneEnabled"] else None

    def _on_scene(self) -> None:
        before = list(self._nodes)
        self._refresh()
        for node in self._nodes:
            if node not in before:
                signals.emit(self, "nodeAdded", node)

    def _list(self) -> None:
        """Reads the nodes of the scene into the combo box."""
        scene = self._scene
        found = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene is not None else []
        self._nodes = [node for node in found if accepts(node, self._options, self._attributes)]
        self._node_watch.stop()
        for node in self._nodes:
            self._node_watch.add(node, MODIFIED, "_on_modified")
        self._fill()

    def _refresh(self) -> None:
        """Follows a change of the scene or of a filter.

        As in Slicer: when the current node goes, the next one becomes current, else the last, even with a "None"; the
        first node of an empty box becomes current only if the box has neither "None" nor actions.
        """
        before, current = self._nodes, self._current
        self._list()
        if current is not None and current not in self._nodes:
            place = before.index(current)
            rest = [node for node in before[place + 1 :] if node in self._nodes] or self._nodes[-1:]
            self._choose(rest[0] if rest else None)
        elif current is None and not before and not self._actions:
            self._choose(self._first())
        else:
            self._choose(current)

    def _rows(self) -> list[tuple[str, Any]]:
        none = [(self._options["noneDisplay"], None)] if self._options["noneEnabled"] else []
        return [*none, *((node.GetName() or node.GetID(), node) for node in self._nodes)]

    def _fill(self) -> None:
        self._filling = True
        self._combo.clear()
        for text, _ in self._rows():
            self._combo.addItem(text)
        types = self._options["nodeTypes"]
        label = self.nodeTypeLabel(types[0] if len(types) == 1 else "")
        self._combo.setPlaceholderText(f"Select a {self.nodeTypeLabel(types[0] if types else '')}")
        self._actions = []
        for key, text in ACTIONS.items():
            if self._options[key] and self._scene is not None:
                kinds = types if key == "addEnabled" else ("",)
                self._actions += [
                    (key, kind, f"{text} {self.nodeTypeLabel(kind) if kind else label}") for kind in kinds
                ]
        if self._actions and self._combo.count:
            self._combo.insertSeparator(self._combo.count)
        for _, _, text in self._actions:
            self._combo.addItem(text)
        self._filling = False

    def _on_modified(self) -> None:
        """A node has another name or attribute; Slicer tells of a renamed current node as of a changed one."""
        if any(not accepts(node, self._options, self._attributes) for node in self._nodes):
            self._refresh()
            return
        for row, (text, node) in enumerate(self._rows()):
            if self._combo.itemText(row) != text:
                self._filling = True
                self._combo.setItemText(row, text)
                self._filling = False
                if node is not None and node is self._current:
                    self._tell()

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
            self._tell()

    def _tell(self) -> None:
        node = self._current
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
        key, kind, _ = self._actions[index - self._combo.count + len(self._actions)]
        self._choose(self._current)
        if key == "addEnabled":
            node = self.addNode(kind)
            self._choose(node)
            signals.emit(self, "nodeAddedByUserAction", node)
        else:
            does = {"renameEnabled": self.renameCurrentNode, "editEnabled": self.editCurrentNode}
            does.get(key, self.removeCurrentNode)()

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
        if node is not None and not isinstance(node, slicer.vtkMRMLNode):
            raise signals.ContractError(f"setCurrentNode takes a MRML node or None, not {node!r}")
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier: str) -> None:
        if self._scene is None:
            self._requested = identifier  # kept until there is a scene
        else:
            self._choose(self._node(identifier or ""))

    def setCurrentNodeIndex(self, index: int) -> None:
        self._choose(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    # --- filters and labels

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        if node_type not in self._options["nodeTypes"]:
            raise signals.ContractError(f"Slicer ignores an attribute of {node_type}, which is not among nodeTypes")
        self._attributes.append((node_type, name, None if value is None else str(value)))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [one for one in self._attributes if one[:2] != (node_type, name)]
        self._refresh()

    @property
    def baseName(self) -> str:
        return self._base_name

    @baseName.setter
    def baseName(self, name: str) -> None:
        if not self._options["nodeTypes"]:
            raise signals.ContractError("Slicer ignores baseName that is set before nodeTypes")
        self._base_name = name

    def nodeTypeLabel(self, node_type: str) -> str:
        known = self._scene.GetTypeDisplayNameByClassName(node_type) if self._scene is not None and node_type else ""
        return self._labels.get(node_type) or known or "node"

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._fill()
        self._choose(self._current)

    # --- what the user can do to nodes

    @property
    def selectNodeUponCreation(self) -> bool:
        return self._select_new

    @selectNodeUponCreation.setter
    def selectNodeUponCreation(self, select: bool) -> None:
        self._select_new = bool(select)

    def addNode(self, node_type: str = "") -> Any:
        """A new node of the (first) type, named after `baseName`, with the attributes that the filter asks for."""
        types = self._options["nodeTypes"]
        kind = node_type or (types[0] if types else "")
        if self._scene is None or kind not in types:
            return None
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(self._scene.GetUniqueNameByString(self._base_name or self._scene.GetTagByClassName(kind)))
        for _, key, value in self._attributes:
            node.SetAttribute(key, value or "")
        node = self._scene.AddNode(node)
        if self._select_new:
            self._choose(node)
        signals.emit(self, "nodeAddedByUser", node)
        return node

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            signals.emit(self, "nodeAboutToBeRemoved", self._current)
            self._scene.RemoveNode(self._current)

    def renameCurrentNode(self) -> None:
        if self._current is not None:
            name = QtWidgets.QInputDialog.getText(self, "Rename", "New name:")
            if name:
                self._current.SetName(name)
                signals.emit(self, "currentNodeRenamed", name)

    def editCurrentNode(self) -> None:
        signals.emit(self, "nodeAboutToBeEdited", self._current)
