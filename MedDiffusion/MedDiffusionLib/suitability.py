"""Whether a volume shows a brain as the models know it, by the checks that the engine makes before it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from meddiff.brain import check_image, find_brain, shows_skull
from meddiff.domain import PLANES
from meddiff.errors import BadInput
from meddiff.volume import Volume, canonical

from .nodes import volume_from_node

SLICES = 9  # of a volume are looked at, in the middle half of those that show something
_known: dict[tuple[Any, ...], tuple[int, Any]] = {}  # what was found, by node and question, and when the image changed


def complaint(node: Any, model: str, plane: str, masked: bool = False) -> str:
    """Why no model for MR images of brains takes the voxels of a node, in a sentence; empty if nothing is known.

    Where the brain is `masked`, it need not be found.
    """
    found = _once(node, ("image", model), lambda: _sentence(lambda: check_image(volume_from_node(node), model)))
    if found or masked or plane not in PLANES:
        return found
    return _once(node, ("brain", plane), lambda: _sentence(lambda: _brain(node, plane)))


def skull_warning() -> str:
    """What a skull does to the result, and what to do about it."""
    return _(
        "The skull seems to be in view: scalp and bone will be shown as lesions, and the brain is scaled wrongly. "
        "Choose a brain mask: draw one in the Segment Editor, or use an extension such as HDBrainExtraction or "
        "SwissSkullStripper."
    )


def head_warning() -> str:
    """What a skull means to a model that was shown brains alone."""
    return _(
        "it shows the head, and the model knows brains without a skull: strip it first, by an extension such as "
        "HDBrainExtraction or SwissSkullStripper"
    )


def has_skull(node: Any, plane: str) -> bool:
    """Whether the head around the brain is in view."""
    return plane in PLANES and _once(node, ("skull", plane), lambda: _skull(node, plane))


def _once(node: Any, question: tuple[Any, ...], answer: Callable[[], Any]) -> Any:
    """The answer, found anew only when the image of the node has changed: a panel asks at every key."""
    key, stamp = (node.GetID(), *question), node.GetImageData().GetMTime()
    if _known.get(key, (None,))[0] != stamp:
        if len(_known) > 64:
            _known.clear()
        _known[key] = (stamp, answer())
    return _known[key][1]


def _sentence(check: Callable[[], Any]) -> str:
    try:
        check()
    except BadInput as error:
        return str(error)
    return ""


def _brain(node: Any, plane: str) -> tuple[Volume, np.ndarray]:
    """A few slices of the volume, and the brain in them. Raises BadInput."""
    volume, axis = canonical(volume_from_node(node))[0], PLANES[plane]
    there = np.flatnonzero((np.moveaxis(volume.array, axis, 0) > 0).any((1, 2)))
    middle = there[there.size // 4 : max(there.size - there.size // 4, 1)]
    chosen = middle[np.unique(np.linspace(0, middle.size - 1, SLICES).astype(int))]
    some = Volume(volume.array.take(chosen, axis), volume.spacing, volume.origin, volume.direction)
    return some, find_brain(some, axis)


def _skull(node: Any, plane: str) -> bool:
    try:
        volume, brain = _brain(node, plane)
    except BadInput:
        return False
    return shows_skull(volume, brain, PLANES[plane])
