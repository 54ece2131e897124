"""How results look: images like their source, maps in perceptually uniform colours with a clear background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.errors import BadInput, choose

from .hierarchy import proxy
from .nodes import require_node, require_voxels, title

COLOURS = {  # of maps
    "uncertainty": "Viridis",
    "spread": "Viridis",
    "residual": "Magma",
    "anomaly": "Inferno",
    "probability": "Magma",
    "jacobian": "Coolwarm",
}
GREY = "vtkMRMLColorTableNodeGrey"  # of every new volume
ROLES = ("image", "labels", "outline", *COLOURS)
BACKGROUND = 0.05  # of the range of a map: below it, nothing is shown
IN_IMAGE_UNITS = ("uncertainty", "residual")  # maps that can be compared with the image they belong to
FAINT = 2e-3  # of the image's range: a map that stays below this is shown as empty as it is
HOLES = 1  # percent of the voxels of the head that may be left out with the background
TOP = 99.5  # percentile of the positive voxels that gets the last colour
ALIKE = 1 / 3  # overlap of two intensity ranges, of what they cover together, from which one window suits both
OUTLINE = 2  # pixels, of segments that are not filled
SAMPLES = 500_000  # voxels are enough for a percentile

# The colour maps of matplotlib (CC0; Coolwarm by K. Moreland) at seventeen equal steps; Slicer has them, so they are
# made where it is not.
ANCHORS = {
    "Viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b "
    "addc30 d8e219 fde725",
    "Magma": "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 "
    "fec488 fde2a3 fcfdbf",
    "Inferno": "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 "
    "f9cb35 f2ea69 fcffa4",
    "Coolwarm": "3b4cc0 4e68d8 6282ea 779af7 8db0fe a3c2fe b9d0f9 ccd9ed dddcdc ecd3c5 f5c4ac f7b093 f4987a eb7d62 "
    "dd5f4b ca3b37 b40426",
}


def show(node: Any, role: str, *, like: Any = None, limit: float = 0.0) -> None:
    """Gives `node` the window, the colours and the threshold of its role; an image those of `like`; raises `BadInput`.

    What is in the views stays. Of a sequence, the node that shows its volumes is meant. An anomaly map with a `limit`,
    above which something is unusual, begins to be seen at half of it, and its colours reach to twice as high at least.
    """
    choose(role, ROLES, "display role")
    sequence = isinstance(node, slicer.vtkMRMLSequenceNode)
    node = proxy(node) if sequence else node
    if isinstance(node, slicer.vtkMRMLSegmentationNode):
        _show_segments(node, role)
        return
    require_voxels(node)
    require_node(node, "vtkMRMLScalarVolumeNode", "volume")
    if role in ("labels", "outline") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        _require_role(node, role, "vtkMRMLLabelMapVolumeNode", "labels")
        _display(node)  # a label map looks right by itself
    elif role == "image":
        _show_image(node, like, keep=sequence)
    else:
        _show_map(node, role, like, limit if role == "anomaly" else 0.0)


def _display(node: Any) -> Any:
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()


def _require_role(node: Any, role: str, class_name: str, expected: str) -> None:
    if role != expected or not node.IsA(class_name):
        raise BadInput(f"{title(node)} ({node.GetNodeTagName()}) cannot be shown as {role}; choose another role")


def _show_segments(node: Any, role: str) -> None:
    """Filled and outlined; by their outline alone where what lies behind them is to be seen."""
    if role != "outline":
        _require_role(node, role, "vtkMRMLSegmentationNode", "labels")
    display = _display(node)
    with slicer.util.NodeModify(display):
        display.SetVisibility(True)
        display.SetVisibility2DFill(role == "labels")
        display.SetVisibility2DOutline(True)
        display.SetOpacity2DFill(0.4)
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(OUTLINE if role == "outline" else 1)


# Images


def _show_image(node: Any, like: Any, *, keep: bool) -> None:
    """Without a model, Slicer chooses the window, unless one was made for the whole sequence: then that is kept."""
    display, model = _display(node), like.GetDisplayNode() if has_window(like) else None
    colours = display.GetColorNode()
    with slicer.util.NodeModify(display):
        if colours is not None and colours.GetName() in COLOURS.values():  # it has been a map before
            display.SetAndObserveColorNodeID(GREY)
            display.ApplyThresholdOff()
        if model is None or not _alike(_values(node), _values(like)):
            display.SetAutoWindowLevel(display.GetAutoWindowLevel() if keep else True)
            return
        display.AutoWindowLevelOff()
        display.SetWindowLevel(model.GetWindow(), model.GetLevel())
        display.SetInterpolate(model.GetInterpolate())
        if model.GetColorNodeID():
            display.SetAndObserveColorNodeID(model.GetColorNodeID())


def fix_window(node: Any, arrays: Sequence[NDArray[Any]]) -> None:
    """One window for all of `arrays`, which `node` shows one after the other: so that they do not flicker."""
    values = np.concatenate([_thin(array.reshape(-1), SAMPLES // len(arrays)) for array in arrays])
    if not values.size:
        return
    low, high = np.percentile(values, [0.1, 99.9])
    display = _display(node)
    with slicer.util.NodeModify(display):
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(float(low), float(high) if high > low else float(low) + 1.0)


def has_window(node: Any) -> bool:
    """Whether `node` is a scalar volume with voxels and a usable window."""
    if not isinstance(node, slicer.vtkMRMLScalarVolumeNode) or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return False
    image, display = node.GetImageData(), node.GetDisplayNode()
    usable = image is not None and image.GetPointData().GetScalars() is not None
    return usable and display is not None and bool(np.isfinite(display.GetWindow())) and display.GetWindow() > 0


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two images cover much the same range of intensities."""
    if not one.size or not other.size:
        return False
    (a, b), (c, d) = np.percentile(one, [1, 99]), np.percentile(other, [1, 99])
    return bool(min(b, d) - max(a, c) >= ALIKE * (max(b, d) - min(a, c)))


def _scalars(node: Any) -> NDArray[Any]:
    """The voxels of a volume node, one after the other."""
    return vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(-1)


def _values(node: Any) -> NDArray[np.float64]:
    """Evenly spread finite voxels of a volume node."""
    return _thin(_scalars(node))


def _thin(values: NDArray[Any], count: int = SAMPLES) -> NDArray[np.float64]:
    values = values[:: max(1, values.size // max(1, count))].astype(float)
    return values[np.isfinite(values)]


# Maps


def _show_map(node: Any, role: str, like: Any, limit: float) -> None:
    values = _scalars(node)
    low, high, threshold, largest = _range(values)
    if role == "jacobian":  # white where nothing has changed; a fold is below all colours
        low, high = 0.0, 2.0
    if role == "probability":  # the same colour means the same in every volume
        low, high, threshold, largest = 0.0, 1.0, BACKGROUND, max(1.0, largest)
    if limit > 0:
        high, threshold = max(high, 2 * limit), max(threshold, limit / 2)
        largest = max(largest, high)
    if role in IN_IMAGE_UNITS and has_window(like) and _scalars(like).shape == values.shape:
        step = max(1, values.size // SAMPLES)  # the window waits for this
        source, some = np.abs(_scalars(like)[::step].astype(float)), values[::step]
        top = float(np.percentile(source[np.isfinite(source)], TOP))
        high = max(high, FAINT * top)  # rounding errors are not worth a colour
        threshold = max(threshold, BACKGROUND * high)
        background, inside = some[source < BACKGROUND * top], some[source >= BACKGROUND * top]
        if background.size and inside.size:  # clear around the head, but without holes in it
            clear = min(1.001 * float(np.percentile(background, 98)), float(np.percentile(inside, HOLES)))
            threshold = max(threshold, clear)
        largest = max(largest, high)
    colour_node = colour_map(node.GetScene() or slicer.mrmlScene, COLOURS[role])
    display = _display(node)
    with slicer.util.NodeModify(display):
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, high)
        display.SetAndObserveColorNodeID(colour_node.GetID())
        display.AutoThresholdOff()
        display.SetThreshold(threshold, largest)
        # in a map of both signs, zero lies in the middle and is no background; of a Jacobian nothing is
        display.SetApplyThreshold(low == 0 and role != "jacobian")


def _range(array: NDArray[Any]) -> tuple[float, float, float, float]:
    """First and last value of the colours, what is background below, and the largest voxel."""
    array = array.reshape(-1)
    finite = array if array.dtype.kind in "iu" else array[np.isfinite(array)]
    positive, whole = _thin(finite[finite > 0]), array.dtype.kind in "iu"
    high = float(np.percentile(positive, TOP)) if positive.size else 1.0
    low = float(np.percentile(_thin(finite), 100 - TOP)) if finite.size else 0.0
    low = low if low < -BACKGROUND * high else 0.0
    threshold = max(1.0, float(np.ceil(BACKGROUND * high))) if whole else BACKGROUND * high
    return low, high, threshold, max(high, float(finite.max())) if finite.size else high


def colour_map(scene: Any, name: str) -> Any:
    """The colour node of this name that Slicer provides, or one made here, which is saved with the scene."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorNode")
        if node.GetName() == name and node.GetNumberOfColors() > 16:
            return node
    anchors = np.array([list(bytes.fromhex(colour)) for colour in ANCHORS[name].split()]) / 255
    steps = np.linspace(0, len(anchors) - 1, 256)
    table = np.stack([np.interp(steps, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], -1)
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetName(name)
    node.SetTypeToUser()
    node.SetAttribute("Category", "MedDiffusion")
    node.SetNumberOfColors(len(table))
    for index, (red, green, blue) in enumerate(table):
        node.SetColor(index, str(index), float(red), float(green), float(blue), 1.0)
    return scene.AddNode(node)
