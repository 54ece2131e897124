"""Every voxel of a volume node keeps its value and its place in the patient on the way to the engine and back."""

from __future__ import annotations

import tempfile
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

from meddiff.errors import BadInput
from meddiff.volume import IDENTITY, Volume
from MedDiffusionLib.hierarchy import place_beside
from MedDiffusionLib.nodes import (
    add_node,
    from_file,
    grid_from_node,
    new_node,
    node_from_volume,
    to_file,
    vector_from_node,
    volume_from_node,
)
from MedDiffusionLib.transforms import require_same_frame

MM = 1e-6
SENTENCE = 30  # letters that a sentence for people has at least


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


def ramp(shape: tuple[int, ...] = (3, 4, 5), dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def plain(array: np.ndarray) -> Volume:
    return Volume(array, (1, 1, 1), (0, 0, 0), IDENTITY)


def refusal(function: Any, *arguments: Any, **named: Any) -> str:
    """The sentence of the `BadInput` that the call ends in, and that the scene did not change by it."""
    before = mrml.nodes_of(slicer.mrmlScene)
    with pytest.raises(BadInput) as caught:
        function(*arguments, **named)
    assert mrml.nodes_of(slicer.mrmlScene) == before
    assert len(str(caught.value)) > SENTENCE
    return str(caught.value)


# --- geometry


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["none", "linear", "grid", "chain"]), st.sampled_from(mrml.DTYPES))
def test_round_trip_keeps_places_and_voxels(seed: int, above: str, dtype: str) -> None:
    """Node -> Volume -> file -> Volume -> node: corners in the world to 1e-6 mm, voxels bit for bit."""
    mrml.new_scene()
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 7, 3))
    top = {"uint8": 255, "int8": 127}.get(dtype, 32767)
    array = rng.integers(0 if dtype.startswith("u") else -top, top, shape, endpoint=True).astype(dtype)
    node = mrml.volume_node(array, mrml.affine(rng))
    mrml.put_under(node, mrml.parent(rng, above))
    with tempfile.TemporaryDirectory() as folder:
        back = from_file(to_file(node, Path(folder) / "volume.nrrd"))
    made = node_from_volume(back, "result")
    place_beside(made, node)
    assert np.array_equal(mrml.voxels(made), array)
    assert np.abs(mrml.corners(made) - mrml.corners(node)).max() < MM
    assert made.GetParentTransformNode() is node.GetParentTransformNode()
    direct = volume_from_node(node)
    assert direct.array.dtype == array.dtype
    assert np.abs(direct.affine - back.affine).max() < MM


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_the_affine_is_that_of_mrml_in_lps(seed: int) -> None:
    mrml.new_scene()
    rng = np.random.default_rng(seed)
    array = ramp(tuple(rng.integers(1, 7, 3)))
    ijk_to_ras = mrml.affine(rng)
    volume = volume_from_node(mrml.volume_node(array, ijk_to_ras))
    assert np.abs(volume.affine - mrml.LPS @ ijk_to_ras).max() < 1e-12 * 300
    assert np.sign(np.linalg.det(volume.affine)) == np.sign(np.linalg.det(ijk_to_ras))
    x, y, z = (int(rng.integers(size)) for size in volume.shape[::-1])
    assert volume.array[z, y, x] == array[z, y, x]


def test_an_image_that_does_not_count_from_zero(scene: Any) -> None:
    """A crop by extent keeps its place; the node made from it counts from zero."""
    rng = np.random.default_rng(0)
    array = ramp((4, 5, 6))
    node = mrml.volume_node(array, mrml.affine(rng))
    cut = vtk.vtkExtractVOI()
    cut.SetInputData(node.GetImageData())
    cut.SetVOI(2, 5, 1, 3, 1, 2)
    cut.Update()
    assert cut.GetOutput().GetExtent()[0] == 2
    part = mrml.volume_node(ramp((1, 1, 1)), mrml.array_of(_matrix(node)), "part")
    part.SetAndObserveImageData(cut.GetOutput())
    volume = volume_from_node(part)
    assert np.array_equal(volume.array, array[1:3, 1:4, 2:6])
    whole = volume_from_node(node)
    assert np.allclose(volume.affine @ [0, 0, 0, 1], whole.affine @ [2, 1, 1, 1], atol=1e-9)


def _matrix(node: Any) -> Any:
    found = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(found)
    return found


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 1, 5), (4, 5, 1), (1, 1, 1)])
def test_one_slice_is_a_volume(scene: Any, shape: tuple[int, int, int]) -> None:
    node = mrml.volume_node(ramp(shape), mrml.affine(np.random.default_rng(1)))
    volume = volume_from_node(node)
    assert volume.shape == shape
    assert np.array_equal(mrml.voxels(node_from_volume(volume, "slice")), ramp(shape))


def test_a_slight_error_in_the_header_passes_and_a_shear_is_refused(scene: Any) -> None:
    skew = np.eye(4)
    skew[0, 1] = 1e-4
    node = mrml.volume_node(ramp(), skew)
    made = node_from_volume(volume_from_node(node), "made")
    assert np.abs(mrml.corners(made) - mrml.corners(node)).max() < MM
    skew[0, 1] = np.tan(np.radians(10))  # the gantry tilt of a CT
    assert "80.0 degrees" in refusal(volume_from_node, mrml.volume_node(ramp(), skew, "CT"))


# --- voxels


def test_the_voxels_are_a_copy(scene: Any) -> None:
    node = mrml.volume_node(ramp())
    volume = volume_from_node(node)
    mrml.voxels(node)[:] = -1
    assert np.array_equal(volume.array, ramp())
    made = node_from_volume(volume, "made")
    volume.array[:] = 7
    assert np.array_equal(mrml.voxels(made), ramp())


@pytest.mark.parametrize(("given_type", "kept"), [("bool", "uint8"), ("float16", "float32"), (">f4", "float32")])
def test_types_that_vtk_lacks(scene: Any, given_type: str, kept: str) -> None:
    array = ramp().astype(given_type)
    made = mrml.voxels(node_from_volume(plain(array), "made"))
    assert made.dtype == kept
    assert np.array_equal(made, array)


def test_non_finite_and_huge_values_pass(scene: Any) -> None:
    array = ramp(dtype="float64")
    array.flat[:4] = np.nan, np.inf, -np.inf, 1e30
    node = mrml.volume_node(array)
    assert np.array_equal(volume_from_node(node).array, array, equal_nan=True)
    assert np.array_equal(mrml.voxels(node_from_volume(volume_from_node(node), "made")), array, equal_nan=True)


def test_what_single_precision_cannot_hold_is_refused(scene: Any, tmp_path: Path) -> None:
    array = ramp(dtype="float64")
    array.flat[0] = 1e200
    assert "1e+200" in refusal(to_file, mrml.volume_node(array), tmp_path / "a.nrrd")
    labels = ramp(dtype="int32")
    labels.flat[0] = 2**24 + 1
    label_node = mrml.volume_node(labels, cls="vtkMRMLLabelMapVolumeNode")
    assert "renumber" in refusal(to_file, label_node, tmp_path / "b.nrrd")
    assert list(tmp_path.iterdir()) == []
    array.flat[0] = np.inf  # not ours to judge: the engine says what it thinks of it
    assert np.isinf(from_file(to_file(mrml.volume_node(array), tmp_path / "c.nrrd")).array.flat[0])


def test_components_of_a_vector_volume(scene: Any) -> None:
    rng = np.random.default_rng(2)
    array = rng.normal(size=(3, 4, 5, 3)).astype(np.float32)
    node = mrml.volume_node(array, mrml.affine(rng), "RGB", "vtkMRMLVectorVolumeNode")
    parts = vector_from_node(node)
    assert len(parts) == 3
    assert all(np.array_equal(part.array, array[..., c]) for c, part in enumerate(parts))
    assert np.array_equal(parts[1].affine, grid_from_node(node).affine)
    assert "3 values" in refusal(volume_from_node, node)
    assert len(vector_from_node(mrml.volume_node(ramp()))) == 1


# --- label maps


@pytest.mark.parametrize(("dtype", "kept"), [("uint8", "uint8"), ("int16", "int16"), ("float32", "uint8")])
def test_label_maps_hold_whole_numbers(scene: Any, dtype: str, kept: str) -> None:
    array = (ramp() % 3).astype(dtype)
    node = node_from_volume(plain(array), "labels", kind="labelmap")
    assert node.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert mrml.voxels(node).dtype == kept
    assert np.array_equal(volume_from_node(node).array, array)


def test_labels_beyond_a_byte_take_a_larger_type(scene: Any) -> None:
    for largest, kept in ((300, "int16"), (70000, "int32"), (-1, "int16")):
        node = node_from_volume(plain(np.array([[[0.0, largest]]])), "labels", kind="labelmap")
        assert mrml.voxels(node).dtype == kept
    assert "renumber" in refusal(node_from_volume, plain(np.array([[[0.0, 2.0**40]]])), "labels", kind="labelmap")


def test_label_maps_with_other_numbers_are_refused(scene: Any) -> None:
    array = ramp() / 2
    node = mrml.volume_node(array, cls="vtkMRMLLabelMapVolumeNode", name="halves")
    assert "0.5" in refusal(volume_from_node, node)
    assert "0.5" in refusal(node_from_volume, plain(array), "labels", kind="labelmap")
    array.flat[1] = np.nan
    assert "nan" in refusal(node_from_volume, plain(array), "labels", kind="labelmap")


# --- filling


def test_a_filled_node_keeps_its_name_and_looks(scene: Any) -> None:
    rng = np.random.default_rng(3)
    node = mrml.volume_node(ramp((2, 2, 2), "int16"), name="mine")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(40, 80)
    count = scene.GetNumberOfNodes()
    volume = volume_from_node(mrml.volume_node(ramp(), mrml.affine(rng)))
    count = scene.GetNumberOfNodes()
    assert node_from_volume(volume, "other", node=node) is node
    assert scene.GetNumberOfNodes() == count
    assert node.GetName() == "mine"
    assert node.GetDisplayNode().GetWindow() == 40
    assert np.array_equal(mrml.voxels(node), ramp())
    assert np.abs(volume_from_node(node).affine - volume.affine).max() < MM


def test_filling_is_one_change(scene: Any) -> None:
    node = mrml.volume_node(ramp((2, 2, 2)))
    shapes = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: shapes.append(node.GetImageData().GetDimensions()))
    node_from_volume(plain(ramp()), "made", node=node)
    assert shapes == [(5, 4, 3)]


def test_a_new_node_is_whole_when_the_scene_gets_it(scene: Any) -> None:
    seen: list[Any] = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(_scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLVolumeNode"):
            seen.append(node.GetImageData().GetDimensions())

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
    made = node_from_volume(plain(ramp()), "made")
    assert seen == [(5, 4, 3)]
    assert made.GetDisplayNode() is not None
    assert made.GetReferenceCount() < 20


def test_two_results_have_two_names(scene: Any) -> None:
    names = {node_from_volume(plain(ramp()), "result").GetName() for _ in range(3)}
    assert len(names) == 3
    assert "result" in names


def test_a_node_outside_the_scene_can_be_read_and_added(scene: Any) -> None:
    node = mrml.volume_node(ramp())
    scene.RemoveNode(node)
    assert np.array_equal(volume_from_node(node).array, ramp())
    assert add_node(node_from_volume(plain(ramp((2, 2, 2))), "back", node=node)).GetScene() is scene


# --- what cannot be used


def test_none_and_other_nodes(scene: Any) -> None:
    assert "no volume is chosen" in refusal(volume_from_node, None)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
    assert "“T” is not a volume" in refusal(volume_from_node, transform)
    assert "str" in refusal(volume_from_node, "a name")
    nameless = slicer.vtkMRMLModelNode()
    assert "vtkMRMLModelNode" in refusal(volume_from_node, nameless)


def test_empty_nodes(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert "no voxels" in refusal(volume_from_node, node)
    node.SetAndObserveImageData(vtk.vtkImageData())
    assert "no voxels" in refusal(volume_from_node, node)
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    node.SetAndObserveImageData(image)
    assert "no numbers" in refusal(volume_from_node, node)
    short, bits = vtk.vtkFloatArray(), vtk.vtkBitArray()
    short.SetNumberOfTuples(3)
    bits.SetNumberOfTuples(8)
    for scalars in (short, bits):
        image.GetPointData().SetScalars(scalars)
        assert "one for every voxel" in refusal(volume_from_node, node)


def test_tensors(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLDiffusionTensorVolumeNode", "DTI")
    image, tensors = vtk.vtkImageData(), vtk.vtkFloatArray()
    image.SetDimensions(2, 2, 2)
    tensors.SetNumberOfComponents(9)
    tensors.SetNumberOfTuples(8)
    image.GetPointData().SetTensors(tensors)
    node.SetAndObserveImageData(image)
    assert "“DTI” holds no numbers" in refusal(volume_from_node, node)
    assert "“DTI” holds no numbers" in refusal(vector_from_node, node)


def test_a_header_without_a_place(scene: Any) -> None:
    for bad in (np.nan, np.inf):
        ijk_to_ras = np.eye(4)
        ijk_to_ras[0, 3] = bad
        assert "without size or place" in refusal(volume_from_node, mrml.volume_node(ramp(), ijk_to_ras))
    flat = mrml.volume_node(ramp())
    flat.SetSpacing(1, 0, 1)
    assert "without size or place" in refusal(volume_from_node, flat)


def test_complex_voxels_and_wrong_targets(scene: Any) -> None:
    assert "magnitude" in refusal(node_from_volume, plain(ramp().astype(np.complex64)), "made")
    labels = mrml.volume_node(ramp(dtype="int16"), cls="vtkMRMLLabelMapVolumeNode", name="L")
    assert "“L” cannot hold" in refusal(node_from_volume, plain(ramp()), "made", node=labels)
    assert np.array_equal(mrml.voxels(labels), ramp())
    assert "did you mean" in refusal(node_from_volume, plain(ramp()), "made", kind="labelmaps")


def test_files_that_are_not_there(scene: Any, tmp_path: Path) -> None:
    assert "does not exist" in refusal(from_file, tmp_path / "none.nrrd")
    assert "folder" in refusal(to_file, mrml.volume_node(ramp()), tmp_path / "none" / "a.nrrd")


def test_frames_of_two_nodes(scene: Any) -> None:
    rng = np.random.default_rng(4)
    one, other = mrml.volume_node(ramp(), name="A"), mrml.volume_node(ramp(), name="B")
    require_same_frame(one, other)
    warp = mrml.grid_transform(rng)
    mrml.put_under(one, warp)
    assert "“A” and “B” lie under different transforms" in refusal(require_same_frame, one, other)
    mrml.put_under(other, warp)
    require_same_frame(one, other)
    mrml.put_under(other, mrml.linear_transform(rng))
    mrml.put_under(one, None)
    refusal(require_same_frame, one, other)
    mrml.put_under(other, scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "identity"))
    require_same_frame(one, other)


def test_a_new_node_may_be_thrown_away(scene: Any) -> None:
    before = mrml.nodes_of(scene)
    node = new_node("vtkMRMLScalarVolumeNode", "gone")
    assert node.GetReferenceCount() == 1
    assert mrml.nodes_of(scene) == before
