"""Results in the slice views, where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from .roles import OutputRole

HALF = 0.5  # opacity of what lies in front


def show(made: Mapping[str, Any], roles: Sequence[OutputRole], source: Any = None) -> None:
    """The main image with its uncertainty in front; an anomaly map, or how sure a segmentation is, before the source.

    Without a window there are no views, and nothing happens.
    """
    if slicer.app.layoutManager() is None:
        return
    of: dict[str, list[Any]] = {}
    for role in roles:
        if role.name in made:
            of.setdefault(role.display, []).append(made[role.name])
    back, front = of.get("image", []), of.get("uncertainty", [])
    if source is not None and (of.get("anomaly") or not back):
        back, front = [source], next(filter(None, map(of.get, ("anomaly", "spread", "probability"))), [])
    if back:
        layers = dict(zip(("background", "foreground"), (back[0], *front[:1]), strict=False))
        slicer.util.setSliceViewerLayers(**layers, foregroundOpacity=HALF, fit=source is None)


def jump(place: Sequence[float], *, centre: bool = False) -> None:
    """All slice views go to a place (RAS mm); only where asked, they move it to their middle, too."""
    kind = slicer.vtkMRMLSliceNode
    kind.JumpAllSlices(slicer.mrmlScene, *place, kind.CenteredJumpSlice if centre else kind.OffsetJumpSlice)
