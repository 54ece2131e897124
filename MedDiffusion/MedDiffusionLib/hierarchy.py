"""Where a result belongs: beside its input, under the same transform, with a reference to it and its provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from meddiff.errors import BadInput

from .nodes import title

SOURCE = "MedDiffusion.source"  # role of the node reference
PROVENANCE = "MedDiffusion.provenance"  # attribute, JSON
INSTANCES, REFERENCED = "DICOM.instanceUIDs", "DICOM.ReferencedInstanceUIDs"  # of a volume, and of what was drawn on it


def place_beside(node: Any, source: Any) -> None:
    """Puts `node` into the folder or study of `source` and under its transform, and lets it refer to it.

    Raises `BadInput` before anything changes.
    """
    for one in (node, source):
        if not isinstance(one, slicer.vtkMRMLNode) or one.GetScene() is None:
            raise BadInput(f"{title(one)} is not in the scene; add it first, or choose another node")
    if node is source:
        raise BadInput(f"{title(node)} cannot be placed beside itself; choose another output node")
    parent = parent_transform(source)
    if _above(node, parent):
        came = f"{title(source)} lies under the transform {title(node)}, which so cannot be a result that belongs to it"
        raise BadInput(f"{came}; choose another output node")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    folder = hierarchy.GetItemParent(_item(hierarchy, source)) or hierarchy.GetSceneItemID()
    hierarchy.SetItemParent(_item(hierarchy, node), folder)
    for one in (node, proxy(node)):
        if one is not None and one.IsA("vtkMRMLTransformableNode"):
            one.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    if node.IsA("vtkMRMLSegmentationNode"):  # DICOM SEG export looks for the images there
        _refer(hierarchy, _item(hierarchy, node), source.GetAttribute(INSTANCES))
    node.SetNodeReferenceID(SOURCE, source.GetID())


def _refer(hierarchy: Any, item: int, instances: str | None) -> None:
    """Names the DICOM images that an item belongs to; an item of another source may have others, or none."""
    if instances:
        hierarchy.SetItemAttribute(item, REFERENCED, instances)
    else:
        hierarchy.RemoveItemAttribute(item, REFERENCED)


def source(node: Any) -> Any:
    """The node that `node` was made from; None if it is not known or gone."""
    return node.GetNodeReference(SOURCE)


def parent_transform(node: Any) -> Any:
    """The transform node that `node`, or the node that shows its current frame, lies under; None without one."""
    shown = node if node.IsA("vtkMRMLTransformableNode") else proxy(node)
    return shown.GetParentTransformNode() if shown is not None else None


def proxy(node: Any) -> Any:
    """The node that shows the current frame of a sequence; None for other nodes, and without a browser."""
    if not node.IsA("vtkMRMLSequenceNode") or node.GetScene() is None:
        return None
    scene = node.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")
    browsers = (scene.GetNthNodeByClass(index, "vtkMRMLSequenceBrowserNode") for index in range(count))
    return next((found for browser in browsers if (found := browser.GetProxyNode(node)) is not None), None)


def _above(node: Any, transform: Any) -> bool:
    """Whether `node` is `transform` or one of those that it lies under."""
    while transform is not None and transform is not node:
        transform = transform.GetParentTransformNode()
    return transform is not None


def _item(hierarchy: Any, node: Any) -> int:
    """Slicer makes the item of a node by itself, but not before the end of a batch."""
    return hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def set_provenance(node: Any, provenance: Mapping[str, Any]) -> None:
    """Writes how `node` was made into an attribute of it, which every saved scene keeps."""
    node.SetAttribute(PROVENANCE, json.dumps(dict(provenance), default=_plain))


def provenance(node: Any) -> dict[str, Any] | None:
    """How `node` was made; None if it does not say."""
    try:
        found = json.loads(node.GetAttribute(PROVENANCE) or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _plain(value: Any) -> Any:
    """Arrays and numpy's numbers as JSON has them, all else as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
