"""Transform nodes to and from arrays in LPS mm.

Slicer and ITK agree that a registration is kept "from parent": it takes a point of the fixed image, in whose space the
result is seen, to the point of the moving image that belongs there. In `T`, the matrix of a linear transform, and in
`p + d(p)`, with the displacements `d` of a grid transform, `p` is such a point. Slicer's are in RAS, ours in LPS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from meddiff.errors import BadInput
from meddiff.volume import Volume

from .nodes import (
    FLIP,
    add_node,
    array_from_matrix,
    image_from_array,
    matrix_from_array,
    new_node,
    require_node,
    title,
)

LINEAR, GRID = "vtkMRMLLinearTransformNode", "vtkMRMLGridTransformNode"
AXES = np.array([-1.0, -1.0, 1.0])  # RAS to LPS, and back


def matrix_from_transform(node: Any) -> NDArray[np.float64]:
    """The 4x4 matrix of a linear transform, from parent, LPS mm; its own parents do not count; raises `BadInput`."""
    require_node(node, "vtkMRMLTransformNode", "transform")
    matrix = vtk.vtkMatrix4x4()
    if not node.IsLinear() or not node.GetMatrixTransformFromParent(matrix):
        raise BadInput(f"{title(node)} is not linear; expected a rigid or affine transform; choose another")
    return FLIP @ array_from_matrix(matrix) @ FLIP


def write_linear(matrix: NDArray[Any], path: Path) -> Path:
    """Writes a 4x4 matrix, from parent, LPS mm, as ITK and the engine read it."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.asarray(matrix, float)[:3, :3].ravel().tolist())
    transform.SetTranslation(np.asarray(matrix, float)[:3, 3].tolist())
    sitk.WriteTransform(transform, str(path))
    return path


def transform_from_matrix(matrix: NDArray[Any], name: str, node: Any = None) -> Any:
    """A new linear transform node, or `node`, with this 4x4 matrix, from parent, LPS mm; raises `BadInput`."""
    array = np.asarray(matrix, float)
    if array.shape != (4, 4) or not np.isfinite(array).all() or np.abs(array[3] - [0, 0, 0, 1]).max() > 1e-9:
        raise BadInput(f"the transform is {array.tolist()}; expected 4 x 4 finite numbers, the last row 0 0 0 1")
    if np.linalg.cond(array[:3, :3]) > 1e12:
        raise BadInput("the transform flattens space, so that it cannot be undone; expected an invertible matrix")
    target = _target(node, LINEAR, name)
    target.SetMatrixTransformFromParent(matrix_from_array(FLIP @ array @ FLIP))
    return add_node(target)


def displacement_from_transform(node: Any, grid: Volume) -> NDArray[np.float64]:
    """(Z, Y, X, 3) mm in LPS: how far any transform, from parent, moves the voxel centres of `grid`."""
    require_node(node, "vtkMRMLTransformNode", "transform")
    transform = node.GetTransformFromParent()
    if transform is None:
        raise BadInput(f"{title(node)} is empty; expected a transform; choose another")
    moved = np.empty((*grid.shape, 3))
    for z in range(grid.shape[0]):  # slice by slice, to spare memory
        places = _places(grid, z)
        moved[z] = (_transformed(transform, places * AXES) * AXES - places).reshape(*grid.shape[1:], 3)
    return moved


def _places(grid: Volume, z: int) -> NDArray[np.float64]:
    """LPS mm of the voxels of slice `z`, (Y * X, 3)."""
    y, x = np.indices(grid.shape[1:])
    index = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _transformed(transform: Any, places: NDArray[Any]) -> NDArray[np.float64]:
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for points in (before, after):
        points.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(places), deep=True))
    transform.TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).copy()


def transform_from_displacement(array: NDArray[Any], grid: Volume, name: str, node: Any = None) -> Any:
    """A new grid transform node, or `node`: from parent, `array` (Z, Y, X, 3) mm in LPS on `grid`; raises `BadInput`.

    Between voxels it is cubic, as Slicer makes every grid that it reads: a saved scene looks the same again.
    """
    array = np.asarray(array)
    if array.shape != (*grid.shape, 3):
        raise BadInput(f"the displacements have shape {array.shape}; expected {(*grid.shape, 3)} (Z, Y, X, 3)")
    if not np.isfinite(array).all():
        raise BadInput("some displacements are NaN or infinite; expected finite mm; run the registration again")
    ras = array * AXES.astype(array.dtype if array.dtype in (np.float32, np.float64) else float)
    image = image_from_array(ras)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(np.array(grid.origin) * AXES)
    axes = np.eye(4)
    axes[:3, :3] = AXES[:, None] * np.reshape(grid.direction, (3, 3))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetGridDirectionMatrix(matrix_from_array(axes))
    transform.SetInterpolationModeToCubic()
    target = _target(node, GRID, name)
    target.SetAndObserveTransformFromParent(transform)
    return add_node(target)


def _target(node: Any, class_name: str, name: str) -> Any:
    """A new node, or `node`, if it is of this class or of the general one; raises `BadInput`."""
    if node is None:
        return new_node(class_name, name)
    require_node(node, "vtkMRMLTransformNode", "transform")
    if node.GetClassName() not in (class_name, "vtkMRMLTransformNode"):
        raise BadInput(f"{title(node)} holds another kind of transform; choose another node, or let a new one be made")
    return node


def require_same_frame(node: Any, other: Any) -> None:
    """Raises `BadInput` unless both nodes hang under the same transforms, so that their own coordinates agree."""
    parents = [found.GetParentTransformNode() for found in (node, other)]
    if parents[0] is parents[1]:
        return
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, between)
    linear = vtk.vtkTransform()
    same = slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(between, linear)
    if not same or np.abs(array_from_matrix(linear.GetMatrix()) - np.eye(4)).max() > 1e-6:
        came = f"{title(node)} and {title(other)} lie under different transforms; expected the same"
        raise BadInput(f"{came}; put both under one, or harden them (module Transforms)")
