"""Labels become segments and segments labels, voxel for voxel, wherever the nodes lie."""

from __future__ import annotations

import warnings
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
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.errors import Notice
from meddiff.volume import Volume
from MedDiffusionLib.hierarchy import place_beside
from MedDiffusionLib.labels import labels_from_segmentation, labels_on_grid
from MedDiffusionLib.nodes import volume_from_node
from MedDiffusionLib.segmentations import segmentation_from_labels
from MedDiffusionLib.terminology import mark_automatic, terminology_entry

MM = 1e-6
NAMES = {1: "core", 2: "oedema"}
REPRESENTATION, SURFACE = "Binary labelmap", "Closed surface"


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


def labelled(
    rng: np.random.Generator, shape: tuple[int, ...] = (4, 5, 6), count: int = 3, name: str = "MR"
) -> tuple[Any, Volume]:
    """A volume node at an oblique place, and random labels on its grid."""
    source = mrml.volume_node(rng.normal(size=shape).astype(np.float32), mrml.affine(rng), name)
    labels = rng.integers(0, count, shape)
    labels.flat[:count] = range(count)
    return source, volume_from_node(source).with_array(labels)


def add_segment(node: Any, mask: np.ndarray, ijk_to_ras: np.ndarray, name: str) -> str:
    """A segment in a layer of its own, as MRML makes it."""
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(mrml.vtk_image(mask.astype(np.uint8)))
    image.SetImageToWorldMatrix(mrml.matrix(ijk_to_ras))
    return node.AddSegmentFromBinaryLabelmapRepresentation(image, name)


def geometry(image: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return mrml.array_of(matrix)


# --- round trips


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["none", "linear", "grid", "chain"]))
def test_round_trip(seed: int, above: str) -> None:
    """Labels -> segmentation beside its source -> labels: the same voxels, names and places."""
    mrml.new_scene()
    rng = np.random.default_rng(seed)
    source, labels = labelled(rng, tuple(rng.integers(2, 7, 3)))
    mrml.put_under(source, mrml.parent(rng, above))
    node = segmentation_from_labels(labels, NAMES, "result", reference=source)
    place_beside(node, source)
    back, names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array, labels.array)
    assert names == NAMES
    assert np.abs(back.affine - labels.affine).max() < MM
    image = node.GetSegmentation().GetSegment("Segment_1").GetRepresentation(REPRESENTATION)
    assert np.abs(mrml.LPS @ geometry(image) - labels.affine).max() < MM
    assert np.array_equal(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(labels.shape), labels.array)


def test_slicer_exports_the_same_label_map(scene: Any) -> None:
    """What Slicer's own export makes, on the grid of the source under an oblique transform, is what came in."""
    rng = np.random.default_rng(0)
    source, labels = labelled(rng)
    mrml.put_under(source, mrml.linear_transform(rng))
    node = segmentation_from_labels(labels, NAMES, "result", reference=source)
    place_beside(node, source)
    exported = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "exported")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportAllSegmentsToLabelmapNode(node, exported, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY)
    assert np.array_equal(mrml.voxels(exported), labels.array)
    assert np.abs(mrml.corners(exported) - mrml.corners(source)).max() < MM


def test_segments_share_one_label_map(scene: Any) -> None:
    _source, labels = labelled(np.random.default_rng(1), count=4)
    segmentation = segmentation_from_labels(labels, {}, "result").GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetSegment("Segment_3").GetName() == "Label 3"


@pytest.mark.parametrize(
    ("dtype", "largest"), [("float32", 2), ("bool", 1), ("uint8", 255), ("int64", 300), ("int32", 70000)]
)
def test_types_of_labels(scene: Any, dtype: str, largest: int) -> None:
    source, labels = labelled(np.random.default_rng(2), count=2)
    labels = labels.with_array((labels.array * largest).astype(dtype))
    node = segmentation_from_labels(labels, {}, "result", reference=source)
    assert list(node.GetSegmentation().GetSegmentIDs()) == [f"Segment_{largest}"]
    back, names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array, labels.array > 0)
    assert names == {1: f"Label {largest}"}


def test_a_label_without_voxels_is_an_empty_segment(scene: Any) -> None:
    source, labels = labelled(np.random.default_rng(3), count=2)
    node = segmentation_from_labels(labels, {0: "background", 1: "core", 5: "absent"}, "result", reference=source)
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["Segment_1", "Segment_5"]
    back, names = labels_from_segmentation(node, source)
    assert names == {1: "core", 2: "absent"}
    assert np.array_equal(back.array, labels.array)


def test_nothing_found_is_a_result_too(scene: Any) -> None:
    source, labels = labelled(np.random.default_rng(4))
    node = segmentation_from_labels(labels.with_array(np.zeros(labels.shape)), NAMES, "result", reference=source)
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    assert "lies in a segment" in refusal(labels_from_segmentation, node, source)


# --- what a segment is


def test_names_colours_and_codes(scene: Any, tmp_path: Path) -> None:
    source, labels = labelled(np.random.default_rng(5))
    entry = terminology_entry(
        ("SCT", "4147007", "Mass"),
        category=("SCT", "49755003", "Morphologically Altered Structure"),
        region=("SCT", "12738006", "Brain"),
    )
    node = segmentation_from_labels(
        labels, NAMES, "result", reference=source, colours={1: (0.1, 0.2, 0.3)}, terminology={1: entry}
    )
    place_beside(node, source)
    for one in (node, mrml.save_and_load(scene, tmp_path).GetFirstNodeByName("result")):
        segment = one.GetSegmentation().GetSegment("Segment_1")
        assert segment.GetName() == "core"
        assert segment.GetColor() == pytest.approx((0.1, 0.2, 0.3))
        assert segment.GetTerminology() == entry
        other = one.GetSegmentation().GetSegment("Segment_2")
        assert other.GetColor() != segment.GetColor()
        assert other.HasTerminology()  # Slicer's own: tissue
        reference = one.GetNodeReference(one.GetReferenceImageGeometryReferenceRole())
        assert reference.GetName() == "MR"
        back, names = labels_from_segmentation(one, reference)
        assert np.array_equal(back.array, labels.array)
        assert names == NAMES


def test_what_dicom_export_asks_for(scene: Any, tmp_path: Path) -> None:
    """The images that were segmented, codes of what the segments show, who made them, and voxels by the name that the
    export looks for: without it, a segment counts as empty. All of it is saved with the scene."""
    source, labels = labelled(np.random.default_rng(16))
    instances = "1.2.3.1 1.2.3.2 1.2.3.3"
    source.SetAttribute("DICOM.instanceUIDs", instances)
    entry = terminology_entry(("SCT", "5366008", "Hippocampus"))
    node = segmentation_from_labels(labels, NAMES, "result", reference=source, terminology={1: entry, 2: entry})
    place_beside(node, source)
    mark_automatic(node, "MedDiffusion implicit-ensemble " + "x" * 100)
    for one in (node, mrml.save_and_load(scene, tmp_path).GetFirstNodeByName("result")):
        reference = one.GetNodeReference(one.GetReferenceImageGeometryReferenceRole())
        assert reference.GetAttribute("DICOM.instanceUIDs") == instances
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(one.GetScene())
        item = hierarchy.GetItemByDataNode(one)
        assert hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs") == instances
        assert hierarchy.GetItemParent(item) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(reference))
        for segment in (one.GetSegmentation().GetSegment(f"Segment_{label}") for label in NAMES):
            told = [vtk.reference("") for _ in range(2)]
            assert segment.GetTag("DICOM.SegmentAlgorithmType", told[0]) and str(told[0]) == "AUTOMATIC"
            assert segment.GetTag("DICOM.SegmentAlgorithmName", told[1]) and len(str(told[1])) == 64
            found = slicer.vtkSlicerTerminologyEntry()
            logic = slicer.vtkSlicerTerminologiesModuleLogic()
            logic.DeserializeTerminologyEntry(segment.GetTerminology(), found)
            assert found.GetCategoryObject().GetCodeValue() and found.GetTypeObject().GetCodeValue() == "5366008"
            voxels = segment.GetRepresentation(REPRESENTATION).GetPointData().GetArray("ImageScalars")
            assert voxels is not None and voxels.GetValueRange()[1] > 0


def test_dicom_images_of_another_source_are_not_kept(scene: Any) -> None:
    (source, labels), (other, _) = (labelled(np.random.default_rng(17), name=name) for name in ("DICOM", "file"))
    source.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    node = segmentation_from_labels(labels, NAMES, "result", reference=source)
    place_beside(node, source)
    place_beside(node, other)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.ReferencedInstanceUIDs") == ""


def test_the_entry_is_the_one_that_slicer_writes(scene: Any) -> None:
    entry = slicer.vtkSlicerTerminologyEntry()
    entry.SetTerminologyContextName("Segmentation category and type - DICOM master list")
    entry.GetCategoryObject().SetCodingSchemeDesignator("SCT")
    entry.GetCategoryObject().SetCodeValue("123037004")
    entry.GetCategoryObject().SetCodeMeaning("Anatomical Structure")
    entry.GetTypeObject().SetCodingSchemeDesignator("SCT")
    entry.GetTypeObject().SetCodeValue("64033007")
    entry.GetTypeObject().SetCodeMeaning("Kidney")
    entry.GetTypeModifierObject().SetCodingSchemeDesignator("SCT")
    entry.GetTypeModifierObject().SetCodeValue("7771000")
    entry.GetTypeModifierObject().SetCodeMeaning("Left")
    entry.SetRegionContextName("Anatomic codes - DICOM master list")
    ours = terminology_entry(
        ("SCT", "64033007", "Kidney"),
        category=("SCT", "123037004", "Anatomical Structure"),
        modifier=("SCT", "7771000", "Left"),
    )
    assert ours == slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(entry)


def test_the_grid_of_the_source_is_the_reference_geometry(scene: Any) -> None:
    """Segment Editor and DICOM export work on the source's own grid."""
    rng = np.random.default_rng(6)
    source, labels = labelled(rng)
    mrml.put_under(source, mrml.linear_transform(rng))
    node = segmentation_from_labels(labels, NAMES, "result", reference=source)
    place_beside(node, source)
    text = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    image = slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    assert np.abs(mrml.LPS @ geometry(image) - labels.affine).max() < MM
    assert image.GetDimensions() == labels.shape[::-1]
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is source
    alone = segmentation_from_labels(labels, NAMES, "alone")
    assert alone.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is None
    own = alone.GetSegmentation().GetConversionParameter("Reference image geometry")
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(own, image, False)
    assert np.abs(mrml.LPS @ geometry(image) - labels.affine).max() < MM


def test_a_filled_node_loses_its_old_segments(scene: Any) -> None:
    rng = np.random.default_rng(7)
    source, labels = labelled(rng, name="first")
    node = segmentation_from_labels(labels, NAMES, "mine", reference=source)
    node.GetDisplayNode().SetOpacity2DFill(0.9)
    other, new = labelled(rng, (3, 3, 3), count=2, name="second")
    count = scene.GetNumberOfNodes()
    assert segmentation_from_labels(new, {1: "lesion"}, "other", reference=other, node=node) is node
    assert scene.GetNumberOfNodes() == count
    assert node.GetName() == "mine"
    assert node.GetDisplayNode().GetOpacity2DFill() == 0.9
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is other
    back, names = labels_from_segmentation(node, other)
    assert np.array_equal(back.array, new.array)
    assert names == {1: "lesion"}
    segmentation_from_labels(new, {1: "lesion"}, "other", node=node)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is None


def test_a_filled_node_that_was_shown_in_3d_still_is(scene: Any) -> None:
    mrml.know_surfaces()
    source, labels = labelled(np.random.default_rng(18))
    node = segmentation_from_labels(labels, NAMES, "mine", reference=source)
    assert not node.GetSegmentation().ContainsRepresentation(SURFACE)
    assert node.CreateClosedSurfaceRepresentation()
    segmentation_from_labels(labels.with_array(1 * (labels.array == 1)), NAMES, "mine", reference=source, node=node)
    points = [
        node.GetSegmentation().GetSegment(f"Segment_{label}").GetRepresentation(SURFACE).GetNumberOfPoints()
        for label in NAMES
    ]
    assert points[0] > 0 and points[1] == 0


# --- segmentations of others


def test_segments_in_layers_of_their_own(scene: Any) -> None:
    """Drawn by hand, each segment has its own small label map; any of them in any order can be asked for."""
    rng = np.random.default_rng(8)
    source, labels = labelled(rng, count=4)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    ijk_to_ras = mrml.LPS @ labels.affine
    ids = [add_segment(node, labels.array == value, ijk_to_ras, f"s{value}") for value in (1, 2, 3)]
    back, names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array, labels.array)
    assert names == {1: "s1", 2: "s2", 3: "s3"}
    back, names = labels_from_segmentation(node, source, [ids[2], ids[0]])
    assert np.array_equal(back.array, np.select([labels.array == 3, labels.array == 1], [1, 2]))
    assert names == {1: "s3", 2: "s1"}


def test_segments_that_are_cropped(scene: Any) -> None:
    """Slicer keeps no more of a segment than the box around it."""
    rng = np.random.default_rng(14)
    source, labels = labelled(rng, (6, 7, 8), count=2)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    mask = np.zeros(labels.shape, np.uint8)
    mask[2:4, 3:6, 1:5] = labels.array[2:4, 3:6, 1:5]
    mask[2, 3, 1] = mask[3, 5, 4] = 1
    cut = vtk.vtkExtractVOI()
    cut.SetInputData(mrml.vtk_image(mask))
    cut.SetVOI(1, 4, 3, 5, 2, 3)
    cut.Update()
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(cut.GetOutput())
    image.SetImageToWorldMatrix(mrml.matrix(mrml.LPS @ labels.affine))
    assert image.GetExtent() == (1, 4, 3, 5, 2, 3)
    node.AddSegmentFromBinaryLabelmapRepresentation(image, "box")
    assert np.array_equal(labels_from_segmentation(node, source)[0].array, mask)


def test_a_segmentation_on_another_grid(scene: Any) -> None:
    """A box drawn on a coarse grid that reaches beyond the volume, sampled at the voxels of the volume."""
    source = mrml.volume_node(np.zeros((8, 8, 8), np.float32))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    mask = np.zeros((5, 5, 5))
    mask[:, :, 1:3] = 1
    coarse = np.diag([3.0, 3, 3, 1])
    coarse[:3, 3] = -2
    add_segment(node, mask, coarse, "box")
    back, _names = labels_from_segmentation(node, source)
    # Coarse voxels 1 and 2 have their centres at R = 1 and 4, and reach from -0.5 to 5.5.
    assert np.array_equal(back.array, np.broadcast_to(np.arange(8) < 6, (8, 8, 8)))


def test_the_transforms_over_both_nodes_count(scene: Any) -> None:
    rng = np.random.default_rng(9)
    source, labels = labelled(rng)
    node = segmentation_from_labels(labels, NAMES, "result")
    shifted = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    step = np.eye(4)
    step[:3, 3] = (mrml.LPS @ labels.affine @ [1, 0, 0, 0])[:3]
    shifted.SetMatrixTransformToParent(mrml.matrix(step))
    mrml.put_under(node, shifted)
    back, _names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array[:, :, 1:], labels.array[:, :, :-1])
    mrml.put_under(source, shifted)
    assert np.array_equal(labels_from_segmentation(node, source)[0].array, labels.array)


def test_a_segmentation_under_a_warp(scene: Any) -> None:
    """Under a warp that happens to be a shift by one voxel."""
    rng = np.random.default_rng(10)
    source, labels = labelled(rng)
    node = segmentation_from_labels(labels, NAMES, "result")
    warp = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "warp")
    step = (mrml.LPS @ labels.affine @ [0, 1, 0, 0])[:3]
    image = mrml.vtk_image(np.broadcast_to(step, (3, 3, 3, 3)))
    image.SetSpacing(500, 500, 500)
    image.SetOrigin(-500, -500, -500)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(image)
    warp.SetAndObserveTransformToParent(grid)
    mrml.put_under(node, warp)
    back, _names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array[:, 1:], labels.array[:, :-1])


def test_labels_are_not_mixed_between_voxels(scene: Any) -> None:
    """Label 2 beside background is never label 1, wherever the grids meet."""
    rng = np.random.default_rng(15)
    source, labels = labelled(rng, (6, 7, 8))
    labels = labels.with_array((labels.array > 0) * 2)
    node = segmentation_from_labels(labels, {1: "absent", 2: "lesion"}, "result")
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    step = np.eye(4)
    step[:3, 3] = (mrml.LPS @ labels.affine @ [0.4, 0.4, 0.4, 0])[:3]
    shift.SetMatrixTransformToParent(mrml.matrix(step))
    mrml.put_under(node, shift)
    back, _names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array, labels.array)


def test_what_was_done_to_a_drawing_is_said(scene: Any) -> None:
    """A crop of the same grid needs no word; another grid, another transform, and segments that were left out do."""
    rng = np.random.default_rng(19)
    source, labels = labelled(rng, (6, 7, 8), count=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crop = Volume(labels.array[1:], labels.spacing, tuple((labels.affine @ [0, 0, 1, 1])[:3]), labels.direction)
        found = labels_on_grid(segmentation_from_labels(crop, {1: "core"}, "crop"), source, ["Core"])
        assert np.array_equal(found.array[1:], labels.array[1:]) and not found.array[0].any()
    half = tuple((labels.affine @ [0.5, 0, 0, 1])[:3])
    beside = Volume(labels.array, labels.spacing, half, labels.direction)
    coarse = Volume(labels.array, tuple(2 * s for s in labels.spacing), labels.origin, labels.direction)
    for other in (beside, coarse):
        for node in (
            segmentation_from_labels(other, {1: "core"}, "drawn"),
            mrml.volume_node(other.array, mrml.LPS @ other.affine, "drawn", "vtkMRMLLabelMapVolumeNode"),
        ):
            with pytest.warns(Notice, match="“drawn.*” lies on another grid than “MR”"):
                labels_on_grid(node, source)
    node = segmentation_from_labels(labels, {1: "core"}, "moved")
    mrml.put_under(node, scene.AddNewNodeByClass("vtkMRMLLinearTransformNode"))
    with pytest.warns(Notice, match="another grid"):
        labels_on_grid(node, source)
    node = segmentation_from_labels(labels, {1: "core", 2: "rest", 3: "more"}, "three")
    with pytest.warns(Notice, match="of “three”, the model does not know “rest”, “more”: left out"):
        labels_on_grid(node, source, ["core", "oedema"])
    words = refusal(labels_on_grid, node, source, ["left", "right"])
    assert "three" in words and "rename those that are meant to “left” and “right”" in words


def test_overlap_is_said_and_the_later_segment_wins(scene: Any) -> None:
    source = mrml.volume_node(np.zeros((2, 3, 4), np.float32))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    masks = np.zeros((3, 2, 3, 4), bool)
    masks[0, :, :, :3] = masks[1, :, :, 2:] = masks[2, 0, 0, 0] = True
    ids = [add_segment(node, mask, np.eye(4), f"s{index}") for index, mask in enumerate(masks)]
    with pytest.warns(Notice, match="“s0” and “s1”, “s0” and “s2”"):
        back, _names = labels_from_segmentation(node, source)
    assert np.array_equal(back.array, np.select([masks[2], masks[1], masks[0]], [3, 2, 1]))
    with pytest.warns(Notice, match="overlap"):
        back, _names = labels_from_segmentation(node, source, [ids[1], ids[0]])
    assert np.array_equal(back.array, np.select([masks[0], masks[1]], [2, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels_from_segmentation(node, source, [ids[1], ids[2]])


def test_a_segmentation_of_surfaces(scene: Any) -> None:
    """A sphere on an oblique grid is filled voxel by voxel, and its node keeps its surfaces alone."""
    mrml.know_surfaces()
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = mrml.rotation(np.random.default_rng(0)) * 0.5
    source = mrml.volume_node(np.zeros((30, 30, 30), np.float32), ijk_to_ras)
    ball = vtk.vtkSphereSource()
    ball.SetRadius(4)
    ball.SetCenter(*(ijk_to_ras @ [15, 14, 13, 1])[:3])
    ball.SetPhiResolution(90)
    ball.SetThetaResolution(90)
    ball.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "model")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball")
    back, names = labels_from_segmentation(node, source)
    assert names == {1: "ball"}
    z, y, x = np.indices(back.shape)
    assert np.array_equal(back.array, (x - 15) ** 2 + (y - 14) ** 2 + (z - 13) ** 2 < 64)
    assert not node.GetSegmentation().ContainsRepresentation(REPRESENTATION)


def test_surfaces_that_nobody_can_convert(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mrml.know_surfaces()
    ball = vtk.vtkSphereSource()
    ball.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "model")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball")
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    factory.DisableRepresentation("Closed surface")
    try:
        assert "turned into voxels" in refusal(labels_from_segmentation, node, mrml.volume_node(np.zeros((9, 9, 9))))
    finally:
        mrml.know_surfaces()


def test_the_scene_is_left_alone(scene: Any) -> None:
    source, labels = labelled(np.random.default_rng(11))
    node = segmentation_from_labels(labels, NAMES, "result", reference=source)
    before = mrml.nodes_of(scene)
    labels_from_segmentation(node, source)
    assert mrml.nodes_of(scene) == before


# --- what cannot be used


def test_segmentations_that_cannot_be_used(scene: Any) -> None:
    source, labels = labelled(np.random.default_rng(12))
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    assert "no segments" in refusal(labels_from_segmentation, empty, source)
    assert "no segmentation is chosen" in refusal(labels_from_segmentation, None, source)
    assert "not a segmentation" in refusal(labels_from_segmentation, source, source)
    node = segmentation_from_labels(labels, NAMES, "result")
    assert "no volume is chosen" in refusal(labels_from_segmentation, node, None)
    assert "Segment_9; choose of Segment_1, Segment_2" in refusal(labels_from_segmentation, node, source, ["Segment_9"])
    assert "no segment of" in refusal(labels_from_segmentation, node, source, [])


def test_labels_that_cannot_be_used(scene: Any) -> None:
    source, labels = labelled(np.random.default_rng(13))
    made = segmentation_from_labels
    assert "0.5" in refusal(made, labels.with_array(labels.array / 2), NAMES, "result")
    assert "-1" in refusal(made, labels.with_array(labels.array - 1), NAMES, "result")
    assert "-2" in refusal(made, labels, {-2: "odd"}, "result")
    assert "renumber" in refusal(made, labels.with_array(labels.array * 2.0**40), NAMES, "result")
    assert "renumber" in refusal(made, labels.with_array((labels.array * (2**31)).astype(np.uint32)), NAMES, "result")
    assert "colour of label 1" in refusal(made, labels, NAMES, "result", colours={1: (255, 0, 0)})
    assert "terminology_entry" in refusal(made, labels, NAMES, "result", terminology={1: "Mass"})
    assert "not a segmentation" in refusal(made, labels, NAMES, "result", node=source)
    assert "not a volume" in refusal(made, labels, NAMES, "result", reference=made(labels, NAMES, "other"))
