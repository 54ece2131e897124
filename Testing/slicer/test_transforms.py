"""Points moved by Slicer's transforms land where the arrays say, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nodes import refusal

from meddiff.errors import BadInput
from meddiff.volume import Volume
from MedDiffusionLib.transforms import (
    displacement_from_transform,
    matrix_from_transform,
    transform_from_displacement,
    transform_from_matrix,
)

RAS = np.array([-1.0, -1.0, 1.0])  # LPS to RAS
MM = 1e-6


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


def random_grid(rng: np.random.Generator, shape: tuple[int, int, int] = (4, 5, 6)) -> Volume:
    return Volume(
        np.zeros(shape),
        tuple(rng.uniform(0.5, 4, 3)),
        tuple(rng.uniform(-100, 100, 3)),
        tuple(mrml.rotation(rng).ravel()),
    )


def from_parent(node: Any, lps: np.ndarray) -> np.ndarray:
    """Where Slicer's transform, from parent, takes points (N, 3), all LPS."""
    transform = node.GetTransformFromParent()
    return np.array([transform.TransformPoint(*(point * RAS)) for point in lps]) * RAS


def to_parent(node: Any, lps: np.ndarray) -> np.ndarray:
    transform = node.GetTransformToParent()
    return np.array([transform.TransformPoint(*(point * RAS)) for point in lps]) * RAS


def places(grid: Volume) -> np.ndarray:
    """LPS mm of every voxel, (Z, Y, X, 3), one by one."""
    found = np.empty((*grid.shape, 3))
    for z, y, x in np.ndindex(grid.shape):
        found[z, y, x] = (grid.affine @ [x, y, z, 1])[:3]
    return found


# --- linear


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_a_matrix_moves_points_as_its_node_does(seed: int) -> None:
    mrml.new_scene()
    rng = np.random.default_rng(seed)
    node = mrml.linear_transform(rng)
    matrix = matrix_from_transform(node)
    points = rng.uniform(-100, 100, (5, 3))
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(moved - from_parent(node, points)).max() < MM
    assert np.abs(points - to_parent(node, moved)).max() < MM
    made = transform_from_matrix(matrix, "made")
    assert np.abs(matrix_from_transform(made) - matrix).max() < 1e-9
    assert np.abs(to_parent(made, points) - to_parent(node, points)).max() < MM


def test_a_translation_by_hand(scene: Any) -> None:
    """To parent by (1, 2, 3) RAS is, from parent, (-1, -2, -3) RAS, that is (1, 2, -3) LPS."""
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift = np.eye(4)
    shift[:3, 3] = 1, 2, 3
    node.SetMatrixTransformToParent(mrml.matrix(shift))
    assert matrix_from_transform(node)[:3, 3] == pytest.approx([1, 2, -3])


def test_the_matrix_is_that_of_an_itk_file(scene: Any, tmp_path: Path) -> None:
    import SimpleITK as sitk

    node = mrml.linear_transform(np.random.default_rng(0))
    storage = slicer.vtkMRMLTransformStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "t.tfm"))
    assert storage.WriteData(node)
    read = sitk.ReadTransform(str(tmp_path / "t.tfm"))
    matrix, point = matrix_from_transform(node), np.array([10.0, -20.0, 30.0])
    assert read.TransformPoint(point) == pytest.approx(tuple(matrix[:3, :3] @ point + matrix[:3, 3]), abs=1e-6)


def test_its_own_parents_do_not_count(scene: Any) -> None:
    rng = np.random.default_rng(1)
    node = mrml.linear_transform(rng)
    before = matrix_from_transform(node)
    mrml.put_under(node, mrml.linear_transform(rng))
    assert np.array_equal(matrix_from_transform(node), before)


def test_matrices_that_cannot_be_used(scene: Any) -> None:
    assert "not linear" in refusal(matrix_from_transform, mrml.grid_transform(np.random.default_rng(2)))
    assert "no transform is chosen" in refusal(matrix_from_transform, None)
    assert "not a transform" in refusal(matrix_from_transform, mrml.volume_node(np.zeros((2, 2, 2))))
    assert "4 x 4" in refusal(transform_from_matrix, np.eye(3), "T")
    assert "finite" in refusal(transform_from_matrix, np.full((4, 4), np.nan), "T")
    assert "4 x 4" in refusal(transform_from_matrix, np.ones((4, 4)), "T")
    assert "invertible" in refusal(transform_from_matrix, np.diag([1.0, 1, 0, 1]), "T")


# --- displacements


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float64"]))
def test_points_move_by_the_array(seed: int, dtype: str) -> None:
    """At every voxel centre of an oblique grid of either handedness the transform adds what the array says."""
    mrml.new_scene()
    rng = np.random.default_rng(seed)
    grid = random_grid(rng, (3, 4, 5))
    array = rng.normal(size=(3, 4, 5, 3)).astype(dtype)
    node = transform_from_displacement(array, grid, "warp")
    assert node.IsA("vtkMRMLGridTransformNode")
    points = places(grid).reshape(-1, 3)
    assert np.abs(from_parent(node, points) - points - array.reshape(-1, 3)).max() < MM
    assert np.abs(displacement_from_transform(node, grid) - array).max() < MM


def test_between_voxels_a_field_that_is_linear_stays_so(scene: Any) -> None:
    """An affine field is known everywhere, so the place and the order of every axis of the grid is tested."""
    rng = np.random.default_rng(3)
    grid = random_grid(rng, (6, 7, 8))
    slope = rng.normal(size=(3, 3)) * 0.05
    node = transform_from_displacement(places(grid) @ slope.T + [1, 2, 3], grid, "warp")
    index = rng.uniform(1.5, 4.5, (50, 3))
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert np.abs(from_parent(node, points) - points - (points @ slope.T + [1, 2, 3])).max() < 1e-4
    assert np.abs(to_parent(node, from_parent(node, points)) - points).max() < 0.01  # Slicer iterates to 0.001 mm


def test_any_transform_becomes_displacements(scene: Any) -> None:
    rng = np.random.default_rng(4)
    linear, grid = mrml.linear_transform(rng), random_grid(rng)
    matrix = matrix_from_transform(linear)
    expected = places(grid) @ matrix[:3, :3].T + matrix[:3, 3] - places(grid)
    assert np.abs(displacement_from_transform(linear, grid) - expected).max() < MM
    warp = mrml.grid_transform(rng)  # it is kept to parent, so this inverts it
    moved = places(grid) + displacement_from_transform(warp, grid)
    assert np.abs(to_parent(warp, moved.reshape(-1, 3)).reshape(moved.shape) - places(grid)).max() < 0.01


def test_an_image_is_warped_as_the_engine_would(scene: Any) -> None:
    """A volume under the transform of a shift by one voxel shows, at every voxel, its neighbour."""
    rng = np.random.default_rng(5)
    grid = random_grid(rng, (4, 5, 6))
    array = rng.normal(size=grid.shape).astype(np.float32)
    step = (grid.affine @ [1, 0, 0, 0])[:3]
    node = transform_from_displacement(np.broadcast_to(step, (*grid.shape, 3)), grid, "shift")
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(mrml.vtk_image(array))
    image.SetImageToWorldMatrix(mrml.matrix(mrml.LPS @ grid.affine))
    target, out = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    target.SetDimensions(*grid.shape[::-1])
    target.SetImageToWorldMatrix(mrml.matrix(mrml.LPS @ grid.affine))
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    assert resample(image, target, out, False, False, node.GetTransformToParent())
    shown = vtk.util.numpy_support.vtk_to_numpy(out.GetPointData().GetScalars()).reshape(grid.shape)
    assert np.array_equal(shown[:, :, :-1], array[:, :, 1:])


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 1, 5), (4, 5, 1)])
def test_displacements_of_one_slice(scene: Any, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(6)
    grid, array = random_grid(rng, shape), rng.normal(size=(*shape, 3))
    node = transform_from_displacement(array, grid, "warp")
    assert np.abs(displacement_from_transform(node, grid) - array).max() < MM


def test_a_saved_scene_warps_the_same(scene: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    grid = random_grid(rng)
    node = transform_from_displacement(rng.normal(size=(*grid.shape, 3)), grid, "warp")
    matrix = matrix_from_transform(transform_from_matrix(matrix_from_transform(mrml.linear_transform(rng)), "affine"))
    points = rng.uniform(0.5, 3, (20, 3)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    before = from_parent(node, points)
    loaded = mrml.save_and_load(scene, tmp_path)
    assert np.abs(from_parent(loaded.GetFirstNodeByName("warp"), points) - before).max() < 1e-5
    assert np.abs(matrix_from_transform(loaded.GetFirstNodeByName("affine")) - matrix).max() < 1e-9


def test_a_transform_node_is_filled_and_keeps_its_children(scene: Any) -> None:
    rng = np.random.default_rng(8)
    grid, array = random_grid(rng), rng.normal(size=(4, 5, 6, 3))
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    child = mrml.volume_node(np.zeros((2, 2, 2)))
    mrml.put_under(child, node)
    assert transform_from_displacement(array, grid, "other", node=node) is node
    assert transform_from_displacement(2 * array, grid, "other", node=node) is node
    assert node.GetName() == "mine"
    assert child.GetParentTransformNode() is node
    assert np.abs(displacement_from_transform(node, grid) - 2 * array).max() < MM
    linear = mrml.linear_transform(rng)
    assert transform_from_matrix(np.eye(4), "other", node=linear) is linear
    assert "another kind" in refusal(transform_from_displacement, array, grid, "other", node=linear)


def test_displacements_that_cannot_be_used(scene: Any) -> None:
    grid = random_grid(np.random.default_rng(9))
    assert "(4, 5, 6, 3)" in refusal(transform_from_displacement, np.zeros((4, 5, 6)), grid, "warp")
    assert "NaN" in refusal(transform_from_displacement, np.full((4, 5, 6, 3), np.nan), grid, "warp")
    with pytest.raises(BadInput, match="no transform is chosen"):
        displacement_from_transform(None, grid)
