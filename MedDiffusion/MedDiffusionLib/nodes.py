"""Volume nodes to and from the engine's `Volume`: where voxel orders and RAS and LPS cross.

A node maps voxel index (i, j, k) to RAS mm by a 4x4 matrix, a `Volume` to LPS mm by origin, spacing and direction;
left is minus right, posterior minus anterior. Both are meant in the node's own coordinates: its parent transform is not
applied, so no voxel is resampled, and a result is right, under any transform, once it hangs under the same parent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from meddiff.errors import BadInput, choose
from meddiff.volume import Volume, read, write

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS, and back
CLASSES = {"scalar": "vtkMRMLScalarVolumeNode", "labelmap": "vtkMRMLLabelMapVolumeNode"}
SHEAR = 1e-3  # how far from orthonormal the axes of a header may be: that of `Volume`
EXACT_IN_FLOAT32 = 2**24
SCALARS = "ImageScalars"  # as VTK calls voxels: DICOM SEG export takes a segment for empty that has none of this name


# From Slicer


def volume_from_node(node: Any) -> Volume:
    """A copy of the voxels of a scalar volume or a label map, of their own type; raises `BadInput`."""
    voxels = _voxels(node)
    if voxels.shape[3] != 1:
        came = f"{title(node)} has {voxels.shape[3]} values in every voxel; expected one"
        raise BadInput(f"{came}; extract one component first, for example by the module Vector to Scalar Volume")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        require_whole(voxels, title(node))
    return grid_from_node(node).with_array(voxels[..., 0].copy())


def vector_from_node(node: Any) -> tuple[Volume, ...]:
    """One volume for every component (colour, direction, time point) of a volume node; raises `BadInput`."""
    voxels, grid = _voxels(node), grid_from_node(node)
    return tuple(grid.with_array(voxels[..., component].copy()) for component in range(voxels.shape[3]))


def grid_from_node(node: Any) -> Volume:
    """Where the voxels of a volume node lie, without their values (all are 0); raises `BadInput`."""
    require_voxels(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    found = array_from_matrix(matrix)
    spacing = np.linalg.norm(found[:3, :3], axis=0)
    if not np.isfinite(found).all() or not spacing.all():
        raise BadInput(f"{title(node)} has voxels without size or place; correct its spacing and origin (Volumes)")
    affine = FLIP @ found
    # A cropped image may number its voxels from something else than zero.
    first = np.array(node.GetImageData().GetExtent()[::2])
    origin = affine[:3, :3] @ first + affine[:3, 3]
    direction = affine[:3, :3] / spacing
    cosines = direction.T @ direction - np.eye(3)
    if np.abs(cosines).max() > SHEAR:
        angle = np.degrees(np.arccos(np.abs(cosines).max()))
        came = f"{title(node)} is sheared: two of its axes meet at {angle:.1f} degrees; expected 90"
        raise BadInput(f"{came}; resample it first, for example by the module Resample Scalar/Vector/DWI Volume")
    blank = np.broadcast_to(np.uint8(0), node.GetImageData().GetDimensions()[::-1])
    return Volume(blank, tuple(spacing), tuple(origin), tuple(direction.ravel()))


def _voxels(node: Any) -> NDArray[Any]:
    """The voxels (Z, Y, X, C), not copied; raises `BadInput`."""
    require_voxels(node)
    image = node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*image.GetDimensions()[::-1], -1)


def require_voxels(node: Any, what: str = "volume") -> None:
    """Raises `BadInput` unless `node` is a volume with voxels in it."""
    require_node(node, "vtkMRMLVolumeNode", what)
    image = node.GetImageData()
    if image is None or not image.GetNumberOfPoints():
        raise BadInput(f"{title(node)} has no voxels in it; load it again or choose another {what}")
    scalars = image.GetPointData().GetScalars()
    if scalars is None or scalars.IsA("vtkBitArray") or scalars.GetNumberOfTuples() != image.GetNumberOfPoints():
        raise BadInput(
            f"{title(node)} holds no numbers, or not one for every voxel; expected a scalar volume; choose another"
        )


def require_node(node: Any, class_name: str, what: str) -> None:
    """Raises `BadInput` unless `node` is of `class_name`."""
    if node is None:
        raise BadInput(f"no {what} is chosen; choose one")
    if not (isinstance(node, slicer.vtkMRMLNode) and node.IsA(class_name)):
        raise BadInput(f"{title(node)} is not a {what}; choose a {what}")


def require_whole(array: NDArray[Any], what: str) -> None:
    """Raises `BadInput` unless every label is a whole number."""
    if array.dtype.kind == "f" and not (whole := np.isfinite(array) & (array == np.rint(array))).all():
        came = f"{what} has labels such as {array[~whole][0]:g}; expected whole numbers"
        raise BadInput(f"{came}; use it as a scalar volume, or threshold it into a segmentation first")


def title(node: Any) -> str:
    """What to call a node in a sentence."""
    name = node.GetName() if isinstance(node, slicer.vtkMRMLNode) else None
    return f"“{name}”" if name else f"an object without name ({type(node).__name__})"


# To Slicer


def node_from_volume(volume: Volume, name: str, *, kind: str = "scalar", node: Any = None) -> Any:
    """A new node in the scene, or `node`, which keeps its name and looks, with these voxels; raises `BadInput`."""
    class_name = CLASSES[choose(kind, CLASSES, "kind of volume node")]
    image = image_from_array(storable(volume.array, kind, name))
    target = new_node(class_name, name) if node is None else node
    if target.GetClassName() != class_name:
        raise BadInput(f"{title(target)} cannot hold a {kind} volume; choose another node, or let a new one be made")
    with slicer.util.NodeModify(target):
        target.SetIJKToRASMatrix(matrix_from_array(FLIP @ volume.affine))
        target.SetAndObserveImageData(image)
    return add_node(target)


def new_node(class_name: str, name: str) -> Any:
    """A node that is not in the scene yet, so that nobody sees it half made: `add_node` puts it there."""
    node = slicer.mrmlScene.CreateNodeByClass(class_name)
    node.UnRegister(None)  # the scene gives one reference too many to Python
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    return node


def add_node(node: Any) -> Any:
    """`node`, in the scene, with a display node where its kind has one."""
    if node.GetScene() is None:
        slicer.mrmlScene.AddNode(node)
    if node.IsA("vtkMRMLDisplayableNode") and node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node


def storable(array: NDArray[Any], kind: str, name: str) -> NDArray[Any]:
    """The same numbers in a type that Slicer stores; raises `BadInput`."""
    if array.dtype.kind == "c":
        raise BadInput(f"“{name}” has complex voxels; expected real ones; take the magnitude first")
    if kind == "labelmap":
        return _labels(array, name)
    wider = {"bool": np.uint8, "float16": np.float32, "float128": np.float64, "longdouble": np.float64}
    return array.astype(wider.get(array.dtype.name, array.dtype.newbyteorder("=")), copy=False)


def _labels(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The labels as integers of at most 32 bits."""
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 4:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    require_whole(array, f"“{name}”")
    low, high = array.min(), array.max()
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    raise BadInput(f"“{name}” has labels from {low:g} to {high:g}; expected at most {np.iinfo(np.int32).max}; renumber")


def image_from_array(array: NDArray[Any]) -> Any:
    """`vtkImageData` with a copy of the voxels (Z, Y, X) or (Z, Y, X, C), as MRML wants it: the node has the place."""
    image = vtk.vtkImageData()
    fill_image(image, array)
    return image


def fill_image(image: Any, array: NDArray[Any]) -> None:
    """Gives `image` the size and a copy of the voxels of `array` (Z, Y, X) or (Z, Y, X, C)."""
    rows = array.reshape(-1) if array.ndim == 3 else array.reshape(-1, array.shape[3])
    scalars = numpy_to_vtk(np.ascontiguousarray(rows), deep=True)
    scalars.SetName(SCALARS)
    image.SetDimensions(array.shape[2::-1])
    image.GetPointData().SetScalars(scalars)


def matrix_from_array(array: NDArray[Any]) -> Any:
    """The 4x4 array as `vtkMatrix4x4`."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel())
    return matrix


def array_from_matrix(matrix: Any) -> NDArray[np.float64]:
    """The `vtkMatrix4x4` as an array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


# To and from the worker


def to_file(node: Any, path: str | Path) -> Path:
    """The voxels of `node` in single precision, as the engine computes; raises `BadInput`, and then writes nothing."""
    volume = volume_from_node(node)
    with np.errstate(over="ignore"):
        single = volume.array.astype(np.float32, copy=False)
    if single is not volume.array:
        _require_representable(volume.array, single, node)
    write(volume.with_array(single), path, compress=False)  # a file for minutes, written while people wait
    return Path(path)


def _require_representable(array: NDArray[Any], single: NDArray[np.float32], node: Any) -> None:
    if array.dtype.kind == "f" and (np.isinf(single) & np.isfinite(array)).any():
        largest = np.abs(array[np.isfinite(array)]).max()
        raise BadInput(f"{title(node)} has values up to {largest:.3g}; expected less than 3e38; divide it first")
    if node.IsA("vtkMRMLLabelMapVolumeNode") and max(-float(array.min()), float(array.max())) > EXACT_IN_FLOAT32:
        raise BadInput(f"{title(node)} has labels above {EXACT_IN_FLOAT32}; expected smaller ones; renumber them")


def from_file(path: str | Path) -> Volume:
    """A result of the worker; raises `BadInput`."""
    return read(path)
