"""qMRMLSubjectHierarchyComboBox: the items of the subject hierarchy, indented."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtWidgets

from .. import signals
from ..classes import stand_in
from .ctk_small import ctkComboBox
from .filters import Option
from .follow import MODIFIED, SCENE_EVENTS, Watch

INVALID = 0
ITEM_EVENTS = (
    "SubjectHierarchyItemAddedEvent",
    "SubjectHierarchyItemRemovedEvent",
    "SubjectHierarchyItemReparentedEvent",
    "SubjectHierarchyItemModifiedEvent",
)


@stand_in
class qMRMLSubjectHierarchyComboBox(ctkComboBox):
    """A combo box of subject hierarchy items."""

    noneEnabled, noneDisplay, nodeTypes = Option("noneEnabled"), Option("noneDisplay", str), Option("nodeTypes", tuple)
    includeItemAttributeNamesFilter = Option("includeItemAttributeNamesFilter", tuple)
    excludeItemAttributeNamesFilter = Option("excludeItemAttributeNamesFilter", tuple)
    includeNodeAttributeNamesFilter = Option("includeNodeAttributeNamesFilter", tuple)
    excludeNodeAttributeNamesFilter = Option("excludeNodeAttributeNamesFilter", tuple)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        names = [f"{kind}{what}AttributeNamesFilter" for kind in ("include", "exclude") for what in ("Item", "Node")]
        self._options = {
            "noneEnabled": False,
            "noneDisplay": "No selection",
            "nodeTypes": (),
            **dict.fromkeys(names, ()),
        }
        self._levels: tuple[str, ...] = ()
        self._scene: Any = None
        self._root, self._item, self._items, self._filling = INVALID, INVALID, [], False
        self._watch = Watch(self)
        self.connect("currentIndexChanged(int)", self._on_index)

    def subjectHierarchyNode(self) -> Any:
        found = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode
        return found(self._scene) if self._scene is not None else None

    def setMRMLScene(self, scene: Any) -> None:
        self._watch.stop()
        self._scene = scene
        if scene is not None:
            for event in SCENE_EVENTS:
                self._watch.add(scene, getattr(scene, event), "_refresh")
            hierarchy = self.subjectHierarchyNode()
            for event in ITEM_EVENTS:
                self._watch.add(hierarchy, getattr(hierarchy, event), "_refresh")
            self._watch.add(hierarchy, MODIFIED, "_refresh")
        self._refresh()

    def mrmlScene(self) -> Any:
        return self._scene

    def _accepts(self, hierarchy: Any, item: int) -> bool:
        node, options = hierarchy.GetItemDataNode(item), self._options
        if options["nodeTypes"] and not (node is not None and any(node.IsA(kind) for kind in options["nodeTypes"])):
            return False
        if node is not None and node.GetHideFromEditors():
            return False
        if self._levels and hierarchy.GetItemLevel(item) not in self._levels:
            return False
        has_item = [hierarchy.HasItemAttribute(item, name) for name in options["includeItemAttributeNamesFilter"]]
        has_node = [node is not None and node.GetAttribute(name) for name in options["includeNodeAttributeNamesFilter"]]
        barred = any(hierarchy.HasItemAttribute(item, name) for name in options["excludeItemAttributeNamesFilter"])
        barred = barred or any(
            node is not None and node.GetAttribute(name) for name in options["excludeNodeAttributeNamesFilter"]
        )
        return not barred and (not has_item or any(has_item)) and (not has_node or any(has_node))

    def _walk(self, hierarchy: Any, parent: int, depth: int) -> list[tuple[int, int]]:
        import vtk

        children = vtk.vtkIdList()
        hierarchy.GetItemChildren(parent, children)
        found = []
        for place in range(children.GetNumberOfIds()):
            item = children.GetId(place)
            if self._accepts(hierarchy, item):
                found.append((item, depth))
            found += self._walk(hierarchy, item, depth + 1)
        return found

    def _refresh(self) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        hierarchy = self.subjectHierarchyNode()
        found = self._walk(hierarchy, self._root or hierarchy.GetSceneItemID(), 0) if hierarchy is not None else []
        rows = [(INVALID, self._options["noneDisplay"])] if self._options["noneEnabled"] else []
        rows += [(item, "  " * depth + hierarchy.GetItemName(item)) for item, depth in found]
        was_empty = not self._items
        self._items = [item for item, _ in rows]
        self._filling = True
        self.clear()
        self.addItems([text for _, text in rows])
        self._filling = False
        keep = self._item if self._item in self._items else INVALID
        if keep == INVALID and was_empty and self._items and not self._options["noneEnabled"]:
            keep = self._items[0]
        self._choose(keep)

    def _choose(self, item: int) -> None:
        self._filling = True
        self.setCurrentIndex(self._items.index(item) if item in self._items else -1)
        self._filling = False
        item = item if item in self._items else INVALID
        if item != self._item:
            self._item = item
            signals.emit(self, "currentItemChanged", item)

    def _on_index(self, index: int) -> None:
        if not self._filling and 0 <= index < len(self._items):
            self._choose(self._items[index])

    def currentItem(self) -> int:
        return self._item

    def setCurrentItem(self, item: int) -> None:
        self._choose(item)

    def clearSelection(self) -> None:
        self._choose(INVALID)

    def currentNode(self) -> Any:
        return self.subjectHierarchyNode().GetItemDataNode(self._item) if self._item else None

    def setCurrentNode(self, node: Any) -> None:
        self._choose(self.subjectHierarchyNode().GetItemByDataNode(node) if node is not None else INVALID)

    def rootItem(self) -> int:
        return self._root

    def setRootItem(self, item: int) -> None:
        self._root = item
        self._refresh()

    def setLevelFilter(self, levels: Any) -> None:
        self._levels = tuple(levels)
        self._refresh()
