"""Results in the slice views and in 3D, where there are any views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from .roles import OutputRole
from .segmentations import SURFACE

HALF = 0.5  # opacity of what lies in front


def show(made: Mapping[str, Any], roles: Sequence[OutputRole], source: Any = None, *, surfaces: bool = True) -> None:
    """The main image with its uncertainty in front; an anomaly map, or how sure a segmentation is, before the source.

    Segments are shown in 3D where their role says so. Without a window there are no views, and nothing happens.
    """
    if slicer.app.layoutManager() is None:
        return
    for role in roles:
        if surfaces and role.surface and role.name in made:
            show3D(made[role.name])
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


def blend(back: Any, front: Any = None) -> None:
    """One volume with another in front, half seen through, in all slice views."""
    if slicer.app.layoutManager() is not None:
        slicer.util.setSliceViewerLayers(background=back, foreground=front, foregroundOpacity=HALF, fit=True)


def show3D(segmentation: Any, shown: bool = True) -> None:
    """The segments as surfaces in the 3D views, which look at them when they are new; or without surfaces again."""
    if not shown:
        return segmentation.RemoveClosedSurfaceRepresentation()
    new = not segmentation.GetSegmentation().ContainsRepresentation(SURFACE)
    if new and not segmentation.CreateClosedSurfaceRepresentation():
        return None
    if segmentation.GetDisplayNode() is not None:
        segmentation.GetDisplayNode().SetVisibility3D(True)
    if new and (manager := slicer.app.layoutManager()) is not None:
        manager.resetThreeDViews()
    return None


def jump(place: Sequence[float], *, centre: bool = False) -> None:
    """All slice views go to a place (RAS mm); only where asked, they move it to their middle, too."""
    kind = slicer.vtkMRMLSliceNode
    kind.JumpAllSlices(slicer.mrmlScene, *place, kind.CenteredJumpSlice if centre else kind.OffsetJumpSlice)
