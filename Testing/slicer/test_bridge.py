"""The bridge in the application: its modules watch the scene, its colours are there, its files are written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrml
import numpy as np
import pytest
import slicer

from MedDiffusionLib import display, hierarchy
from MedDiffusionLib.labels import labels_from_segmentation
from MedDiffusionLib.nodes import node_from_volume, to_file, volume_from_node
from MedDiffusionLib.segmentations import segmentation_from_labels
from MedDiffusionLib.sequences import browser_of, sequence_from_volumes, volumes_from_sequence
from MedDiffusionLib.transforms import displacement_from_transform, transform_from_displacement

MAPS = {"uncertainty": "Viridis", "residual": "Magma", "anomaly": "Inferno"}


@pytest.fixture
def source(host: Any) -> Any:
    """An oblique, right-handed volume under a warp, in a folder of the application's scene."""
    rng = np.random.default_rng(0)
    ijk_to_ras = mrml.affine(rng)
    ijk_to_ras[:3, 0] *= np.sign(np.linalg.det(ijk_to_ras))
    node = mrml.volume_node(rng.uniform(0, 100, (4, 5, 6)).astype(np.float32), ijk_to_ras, "source")
    mrml.put_under(node, mrml.parent(rng, "chain"))
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    tree.SetItemParent(tree.GetItemByDataNode(node), tree.CreateFolderItem(tree.GetSceneItemID(), "Folder"))
    return node


def folder_of(node: Any) -> str:
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node)))


def make_all(source: Any) -> dict[str, Any]:
    """One result of every kind, beside its source."""
    volume = volume_from_node(source)
    labels = volume.with_array(np.arange(volume.array.size).reshape(volume.shape) % 3)
    made = {role: node_from_volume(volume, role) for role in ("image", *MAPS)}
    made["labelmap"] = node_from_volume(labels, "labelmap", kind="labelmap")
    made["segmentation"] = segmentation_from_labels(labels, {1: "a", 2: "b"}, "segmentation", reference=source)
    for name, node in made.items():
        display.show(node, name if name in ("image", *MAPS) else "labels", like=source)
    field = np.stack([volume.array / 50, -volume.array / 40, volume.array / 30], -1)
    made["warp"] = transform_from_displacement(field, volume, "warp")
    made["sequence"] = sequence_from_volumes([volume, volume.with_array(-volume.array)], "sequence", "step")
    for node in made.values():
        hierarchy.place_beside(node, source)
        hierarchy.set_provenance(node, {"seed": 7, "quote": '"; é'})
    return made


def test_results_of_every_kind_survive_a_saved_scene(source: Any, tmp_path: Path) -> None:
    volume, corners = volume_from_node(source), mrml.corners(source)
    make_all(source)
    field = displacement_from_transform(slicer.util.getNode("warp"), volume)
    path = str(tmp_path / "all.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    mrml.give_cache(slicer.mrmlScene, tmp_path)
    assert slicer.util.getNodes("source", useLists=True) == {}
    slicer.util.loadScene(path)
    source = slicer.util.getNode("source")
    assert np.abs(mrml.corners(source) - corners).max() < 1e-4
    names = ("image", *MAPS, "labelmap", "segmentation", "warp")
    nodes = {name: slicer.util.getNode(name) for name in names}
    nodes["sequence"] = slicer.mrmlScene.GetNthNodeByClass(0, "vtkMRMLSequenceNode")
    for node in nodes.values():
        assert folder_of(node) == "Folder"
        assert hierarchy.source(node) is source
        assert hierarchy.provenance(node) == {"seed": 7, "quote": '"; é'}
        assert hierarchy.parent_transform(node).GetName() == "lower"
    for name in ("image", *MAPS, "labelmap"):
        assert np.abs(mrml.corners(nodes[name]) - mrml.corners(source)).max() < 1e-6
    assert all(nodes[name].GetDisplayNode().GetColorNode().GetName() == colours for name, colours in MAPS.items())
    labels, segments = labels_from_segmentation(nodes["segmentation"], source)
    assert np.array_equal(labels.array, mrml.voxels(nodes["labelmap"]))
    assert segments == {1: "a", 2: "b"}
    assert np.abs(displacement_from_transform(nodes["warp"], volume) - field).max() < 1e-5
    first, second = volumes_from_sequence(nodes["sequence"])
    assert np.array_equal(first.array, -second.array)
    assert browser_of(nodes["sequence"]).GetSelectedItemNumber() == 0


def test_the_application_notices_nothing_odd(host: Any, source: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """No warning of VTK or MRML, no exception in an observer, and no node but the results and what they need."""
    capfd.readouterr()
    before = {kind for kind, _name in mrml.nodes_of(slicer.mrmlScene)}
    make_all(source)
    host.process_events(0.05)
    told = capfd.readouterr()
    assert told.err + told.out == ""
    assert not host.slot_errors
    new = {kind for kind, _name in mrml.nodes_of(slicer.mrmlScene)} - before
    helpers = {kind for kind in new if "Display" in kind or "Storage" in kind or "Color" in kind}
    assert {kind.removeprefix("vtkMRML").removesuffix("Node") for kind in new - helpers} == {
        "LabelMapVolume",
        "Segmentation",
        "Sequence",
        "SequenceBrowser",
    }


def test_the_colours_of_the_application_are_used(source: Any) -> None:
    """Where Slicer's colour files are there, nothing is added to the scene."""
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorNode")
    for role in MAPS:
        node = node_from_volume(volume_from_node(source), role)
        display.show(node, role)
        assert "File" in node.GetDisplayNode().GetColorNodeID()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorNode") == count


def test_a_sequence_is_browsed_by_its_module(host: Any, source: Any) -> None:
    """The module Sequences follows the browser without being asked, as it does when one moves the slider."""
    volume = volume_from_node(source)
    node = sequence_from_volumes([volume, volume.with_array(-volume.array)], "cine")
    browser_of(node).SetSelectedItemNumber(1)
    host.process_events(0.05)
    assert np.array_equal(mrml.voxels(hierarchy.proxy(node)), -volume.array)


def test_a_volume_that_slicer_loaded(host: Any, source: Any, tmp_path: Path) -> None:
    """A file that the bridge wrote is, loaded by Slicer, the node that it came from."""
    loaded = slicer.util.loadVolume(str(to_file(source, tmp_path / "source.nrrd")))
    mrml.put_under(loaded, source.GetParentTransformNode())
    assert np.array_equal(mrml.voxels(loaded), mrml.voxels(source))
    assert np.abs(mrml.corners(loaded) - mrml.corners(source)).max() < 1e-6
