"""A result lies beside its input, knows where it comes from, and still does after the scene was saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer
from test_nodes import refusal

from MedDiffusionLib import display, hierarchy
from MedDiffusionLib.hierarchy import place_beside, provenance, set_provenance
from MedDiffusionLib.nodes import node_from_volume, volume_from_node
from MedDiffusionLib.segmentations import segmentation_from_labels
from MedDiffusionLib.sequences import sequence_from_volumes

# Whatever a name, a path or a quotation can hold: MRML keeps attributes in XML, separated by ; and :
AWKWARD = "quo\"te 'single' <tag> & ; : % %3A %25 {} [] \\ / é ü 漢 🧠 \t tab \n line"


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    with mrml.own_scene() as made:
        yield made


@pytest.fixture
def tree(scene: Any) -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def image(name: str = "MR", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return mrml.volume_node(rng.uniform(0, 100, (3, 4, 5)).astype(np.float32), mrml.affine(rng), name)


@pytest.mark.parametrize("place", ["scene", "folder", "study", "nested"])
def test_same_place_in_the_tree(scene: Any, tree: Any, place: str) -> None:
    source, result = image("source"), image("result")
    root = tree.GetSceneItemID()
    patient = tree.CreateSubjectItem(root, "Patient")
    study = tree.CreateStudyItem(patient, "Study")
    folder = tree.CreateFolderItem(root, "Folder")
    nested = tree.CreateFolderItem(study, "Nested")
    parent = {"scene": root, "folder": folder, "study": study, "nested": nested}[place]
    tree.CreateItem(parent, source)
    place_beside(result, source)
    assert tree.GetItemParent(tree.GetItemByDataNode(result)) == parent
    assert tree.GetItemParent(tree.GetItemByDataNode(source)) == parent
    count = tree.GetNumberOfItems()
    place_beside(result, source)
    assert tree.GetNumberOfItems() == count


def test_a_result_moves_along_when_it_is_made_again(scene: Any, tree: Any) -> None:
    first, second, result = image("first"), image("second"), image("result")
    folders = [tree.CreateFolderItem(tree.GetSceneItemID(), name) for name in "AB"]
    tree.CreateItem(folders[0], first)
    tree.CreateItem(folders[1], second)
    mrml.put_under(first, mrml.linear_transform(np.random.default_rng(1)))
    place_beside(result, first)
    place_beside(result, second)
    assert tree.GetItemParent(tree.GetItemByDataNode(result)) == folders[1]
    assert result.GetParentTransformNode() is None
    assert hierarchy.source(result) is second


@pytest.mark.parametrize("above", ["none", "linear", "grid", "chain"])
def test_same_transform(scene: Any, above: str) -> None:
    source, result = image("source"), image("result")
    transform = mrml.parent(np.random.default_rng(2), above)
    mrml.put_under(source, transform)
    place_beside(result, source)
    assert result.GetParentTransformNode() is transform
    assert hierarchy.source(result) is source
    assert hierarchy.source(source) is None


def test_a_transform_beside_its_volume(scene: Any) -> None:
    rng = np.random.default_rng(3)
    fixed, result, above = image("fixed"), mrml.linear_transform(rng, "result"), mrml.grid_transform(rng)
    mrml.put_under(fixed, above)
    place_beside(result, fixed)
    assert result.GetParentTransformNode() is above


def test_sequences_on_both_sides(scene: Any, tree: Any) -> None:
    frames = [volume_from_node(image(seed=seed)) for seed in range(3)]
    source = sequence_from_volumes(frames, "source")
    transform = mrml.linear_transform(np.random.default_rng(4))
    mrml.put_under(hierarchy.proxy(source), transform)
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), "Folder")
    tree.SetItemParent(tree.CreateItem(folder, source), folder)
    result, single = sequence_from_volumes(frames, "result"), image("single")
    place_beside(result, source)
    place_beside(single, source)
    assert hierarchy.proxy(result).GetParentTransformNode() is transform
    assert single.GetParentTransformNode() is transform
    assert tree.GetItemParent(tree.GetItemByDataNode(result)) == folder
    assert hierarchy.proxy(single) is None


def test_a_table_has_no_transform(scene: Any, tree: Any) -> None:
    source, table = image("source"), scene.AddNewNodeByClass("vtkMRMLTableNode", "figures")
    mrml.put_under(source, mrml.linear_transform(np.random.default_rng(5)))
    place_beside(table, source)
    assert hierarchy.source(table) is source


def test_places_that_cannot_be(scene: Any) -> None:
    rng = np.random.default_rng(6)
    source = image("source")
    upper, lower = mrml.linear_transform(rng, "upper"), mrml.linear_transform(rng, "lower")
    mrml.put_under(lower, upper)
    mrml.put_under(source, lower)
    for transform in (lower, upper):
        assert "lies under the transform" in refusal(place_beside, transform, source)
    assert lower.GetParentTransformNode() is upper
    assert upper.GetParentTransformNode() is None
    assert hierarchy.source(lower) is None
    assert "beside itself" in refusal(place_beside, source, source)
    gone = image("gone")
    scene.RemoveNode(gone)
    assert "“gone” is not in the scene" in refusal(place_beside, gone, source)
    assert "“gone” is not in the scene" in refusal(place_beside, source, gone)
    assert "NoneType" in refusal(place_beside, source, None)


def test_a_source_that_is_deleted(scene: Any) -> None:
    source, result = image("source"), image("result")
    place_beside(result, source)
    scene.RemoveNode(source)
    assert hierarchy.source(result) is None


# --- provenance


def test_provenance_is_json(scene: Any) -> None:
    node = image()
    assert provenance(node) is None
    given = {"model": {"id": "brain-mr", "sha256": "ab" * 32}, "seed": 7, "text": AWKWARD, "none": None, "list": [1.5]}
    set_provenance(node, given)
    assert provenance(node) == given
    set_provenance(node, {"path": Path("a/b"), "shape": np.array([1, 2]), "value": np.float32(0.5), "n": np.int64(3)})
    assert provenance(node) == {"path": str(Path("a/b")), "shape": [1, 2], "value": 0.5, "n": 3}
    for foreign in ("{", "[1]", "", "3"):
        node.SetAttribute(hierarchy.PROVENANCE, foreign)
        assert provenance(node) is None


def test_a_saved_scene_tells_all(scene: Any, tree: Any, tmp_path: Path) -> None:
    """Provenance, references, places, transforms, colours, windows and thresholds after a .mrb."""
    rng = np.random.default_rng(7)
    source = image("source")
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), "Folder")
    tree.CreateItem(folder, source)
    mrml.put_under(source, mrml.parent(rng, "chain"))
    volume = volume_from_node(source)
    made = {role: node_from_volume(volume, role) for role in ("image", "uncertainty", "residual", "anomaly")}
    made["labels"] = segmentation_from_labels(
        volume.with_array(rng.integers(0, 3, volume.shape)), {1: "a", 2: "b"}, "labels", reference=source
    )
    looks = {}
    for role, node in made.items():
        place_beside(node, source)
        set_provenance(node, {"role": role, "text": AWKWARD})
        display.show(node, role, like=source)
        looks[role] = look(node)
    corners = mrml.corners(made["image"])
    loaded = mrml.save_and_load(scene, tmp_path)
    again = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(loaded)
    for role in made:
        node = loaded.GetFirstNodeByName(role)
        assert provenance(node) == {"role": role, "text": AWKWARD}
        assert hierarchy.source(node).GetName() == "source"
        assert node.GetParentTransformNode().GetName() == "lower"
        assert again.GetItemName(again.GetItemParent(again.GetItemByDataNode(node))) == "Folder"
        assert look(node) == pytest.approx(looks[role])
    # Slicer turns the slices of a left-handed volume around when it reads it, so the order of the corners may change.
    after = mrml.corners(loaded.GetFirstNodeByName("image"))
    assert np.linalg.norm(after[:, None] - corners, axis=-1).min(axis=1).max() < 1e-4


def look(node: Any) -> list[float]:
    """Window, level, threshold, and some colours of a volume; opacity of a segmentation."""
    shown = node.GetDisplayNode()
    if shown.IsA("vtkMRMLSegmentationDisplayNode"):
        return [shown.GetOpacity2DFill()]
    found = [shown.GetWindow(), shown.GetLevel(), shown.GetApplyThreshold(), shown.GetLowerThreshold()]
    for index in (0, 100, 255):
        colour = [0.0] * 4
        shown.GetColorNode().GetColor(index, colour)
        found += colour
    return found
