"""Sequences (time, breathing phase, noise level) to and from lists of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer

from meddiff.errors import BadInput, choose
from meddiff.volume import Volume

from .display import fix_window
from .hierarchy import proxy
from .nodes import (
    CLASSES,
    FLIP,
    add_node,
    image_from_array,
    matrix_from_array,
    new_node,
    require_node,
    storable,
    title,
    volume_from_node,
)

FPS = 5.0  # of a new browser: few volumes, which people want to see
SEQUENCE, BROWSER = "vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode"


def volumes_from_sequence(sequence_node: Any) -> list[Volume]:
    """The volumes of a sequence in the order of its index; raises `BadInput`."""
    require_node(sequence_node, SEQUENCE, "sequence")
    count = sequence_node.GetNumberOfDataNodes()
    if not count:
        raise BadInput(f"{title(sequence_node)} is empty; expected a sequence of volumes; choose another")
    volumes = []
    for index in range(count):
        try:
            volumes.append(volume_from_node(sequence_node.GetNthDataNode(index)))
        except BadInput as error:
            raise BadInput(f"item {index + 1} of {count} of {title(sequence_node)}: {error}") from error
    return volumes


def sequence_from_volumes(
    volumes: Sequence[Volume],
    name: str,
    index_name: str = "time",
    unit: str = "",
    values: Sequence[float] | Sequence[str] | None = None,
    *,
    kind: str = "scalar",
    node: Any = None,
) -> Any:
    """A new sequence node, or `node`, with these volumes at `values`, 0, 1, ... or words; raises `BadInput`.

    It has a browser (`browser_of`) and a node that shows one of its volumes (`hierarchy.proxy`).
    """
    class_name = CLASSES[choose(kind, CLASSES, "kind of volume node")]
    index = _index(len(volumes), values)
    images = [image_from_array(storable(volume.array, kind, name)) for volume in volumes]
    if node is not None:
        require_node(node, SEQUENCE, "sequence")
    target = new_node(SEQUENCE, name) if node is None else node
    with slicer.util.NodeModify(target):
        target.RemoveAllDataNodes()
        target.SetIndexName(index_name)
        target.SetIndexUnit(unit)
        target.SetIndexTypeFromString("text" if _are_words(values) else "numeric")
        for value, volume, image in zip(index, volumes, images, strict=True):
            frame = getattr(slicer, class_name)()  # the sequence copies it into a scene of its own
            frame.SetName(f"{target.GetName()} {index_name} {value}")
            frame.SetIJKToRASMatrix(matrix_from_array(FLIP @ volume.affine))
            frame.SetAndObserveImageData(image)
            target.SetDataNodeAtValue(frame, value)
    _browse(add_node(target))
    shown = proxy(target)
    if kind == "scalar" and shown is not None:
        fix_window(shown, [volume.array for volume in volumes])
    return target


def _are_words(values: Sequence[float] | Sequence[str] | None) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _index(count: int, values: Sequence[float] | Sequence[str] | None) -> list[str]:
    """What stands at every volume, as text, which is how MRML keeps it."""
    if not count:
        raise BadInput("there are no volumes; expected one or more for a sequence")
    if _are_words(values) and len(set(values)) == len(values) == count:
        return list(values)
    numbers = [float(value) for value in (range(count) if values is None else values)]
    if len(numbers) != count or len(set(numbers)) != count or not np.isfinite(numbers).all():
        raise BadInput(f"the index of the sequence is {numbers}; expected {count} different finite numbers")
    return [f"{number:.10g}" for number in numbers]


def browser_of(sequence_node: Any) -> Any:
    """The browser that steps through a sequence; None without one."""
    scene = sequence_node.GetScene()
    count = scene.GetNumberOfNodesByClass(BROWSER)
    browsers = (scene.GetNthNodeByClass(index, BROWSER) for index in range(count))
    return next((browser for browser in browsers if browser.IsSynchronizedSequenceNode(sequence_node, True)), None)


def _browse(sequence_node: Any) -> None:
    """A browser at the first volume, and the node that shows it."""
    browser = browser_of(sequence_node)
    if browser is None:
        browser = add_node(new_node(BROWSER, f"{sequence_node.GetName()} browser"))
        browser.SetAndObserveMasterSequenceNodeID(sequence_node.GetID())
        browser.SetPlaybackRateFps(FPS)
    browser.SetSelectedItemNumber(0)
    # In Slicer the module Sequences has already done this.
    slicer.vtkSlicerSequencesLogic().UpdateProxyNodesFromSequences(browser)
