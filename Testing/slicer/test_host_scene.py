"""The scene behind the widgets: node combo boxes, subject hierarchy, colours, files, a clean slate between tests."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def volumes(host):
    """A combo box as a panel has it for an input: volumes only, no actions, no "None"."""
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.addEnabled = box.removeEnabled = False
    return box


def add(kind, name):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def test_a_combo_box_follows_the_scene(host, volumes):
    import slicer

    heard = []
    volumes.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    assert not volumes.enabled
    volumes.setMRMLScene(slicer.mrmlScene)
    assert volumes.enabled and volumes.currentNode() is None and volumes.nodeCount() == 0

    first, second = add("vtkMRMLScalarVolumeNode", "A"), add("vtkMRMLScalarVolumeNode", "B")
    add("vtkMRMLModelNode", "M")
    assert volumes.nodeCount() == 2 and volumes.currentNode() is first  # the first is chosen by itself
    volumes.setCurrentNode(second)
    assert volumes.currentNodeID == second.GetID()
    volumes.setCurrentNodeID(first.GetID())
    slicer.mrmlScene.RemoveNode(first)
    assert volumes.currentNode() is second
    slicer.mrmlScene.RemoveNode(second)
    assert volumes.currentNode() is None and volumes.currentNodeID == ""
    assert heard == [first, second, first, second, None]


def test_with_none_nothing_is_chosen_but_a_removed_node_hands_over(host, volumes):
    """As in Slicer: when the current node goes, its neighbour becomes current, even where "None" is offered."""
    import slicer

    one, two = add("vtkMRMLScalarVolumeNode", "A"), add("vtkMRMLScalarVolumeNode", "B")
    volumes.noneEnabled = True
    volumes.setMRMLScene(slicer.mrmlScene)
    assert volumes.currentNode() is None
    volumes.setCurrentNode(one)
    slicer.mrmlScene.RemoveNode(one)
    assert volumes.currentNode() is two
    volumes.setCurrentNode(None)
    assert volumes.currentNode() is None


def test_with_actions_a_later_node_is_not_chosen_by_itself(host, volumes):
    import slicer

    volumes.addEnabled = True
    volumes.setMRMLScene(slicer.mrmlScene)
    add("vtkMRMLScalarVolumeNode", "A")
    assert volumes.currentNode() is None and volumes.nodeCount() == 1


def test_filters_of_types_and_attributes(host):
    import slicer

    box = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError):
        box.baseName = "too early"
    with pytest.raises(AttributeError):
        box.addAttribute("vtkMRMLScalarVolumeNode", "kind", "mask")
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    scalar, label = add("vtkMRMLScalarVolumeNode", "S"), add("vtkMRMLLabelMapVolumeNode", "L")
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(True)
    slicer.mrmlScene.AddNode(hidden)
    assert {box.nodeFromIndex(0), box.nodeFromIndex(1)} == {scalar, label} and box.nodeCount() == 2
    box.showChildNodeTypes = False
    assert box.nodeCount() == 1 and box.nodeFromIndex(0) is scalar
    box.showHidden = True
    assert box.nodeCount() == 2
    box.addAttribute("vtkMRMLScalarVolumeNode", "kind", "mask")
    assert box.nodeCount() == 0
    scalar.SetAttribute("kind", "mask")
    box.showHidden = False
    assert box.nodeCount() == 1


def test_a_node_made_in_the_box_has_its_name_and_attributes(host, volumes):
    import slicer

    volumes.baseName = "Result"
    volumes.addAttribute("vtkMRMLScalarVolumeNode", "kind", "mask")
    volumes.setMRMLScene(slicer.mrmlScene)
    heard = []
    volumes.connect("nodeAddedByUser(vtkMRMLNode*)", heard.append)
    node = volumes.addNode()
    assert (node.GetName(), node.GetAttribute("kind")) == ("Result", "mask")
    assert volumes.currentNode() is node and heard == [node]
    assert volumes.addNode().GetName() == "Result_1"
    assert node.GetReferenceCount() < 10


def test_a_renamed_current_node_is_told_as_changed(host, volumes):
    import slicer

    node = add("vtkMRMLScalarVolumeNode", "A")
    volumes.setMRMLScene(slicer.mrmlScene)
    heard = []
    volumes.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    node.SetName("B")
    node.Modified()
    assert heard == [node]


def test_a_node_asked_for_before_the_scene_is_kept(host, volumes):
    import slicer

    add("vtkMRMLScalarVolumeNode", "A")
    wanted = add("vtkMRMLScalarVolumeNode", "B")
    volumes.setCurrentNode(wanted)
    assert volumes.currentNode() is None
    volumes.setMRMLScene(slicer.mrmlScene)
    assert volumes.currentNode() is wanted


def test_closing_the_scene_empties_the_box(host, volumes):
    import slicer

    volumes.setMRMLScene(slicer.mrmlScene)
    add("vtkMRMLScalarVolumeNode", "A")
    host.clear_scene()
    assert volumes.nodeCount() == 0 and volumes.currentNode() is None


def test_a_deleted_box_stops_following(host, volumes):
    import slicer

    volumes.setMRMLScene(slicer.mrmlScene)
    volumes.delete()
    add("vtkMRMLScalarVolumeNode", "A")


def test_nodes_get_items_in_the_subject_hierarchy(host):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volume, parameters = add("vtkMRMLScalarVolumeNode", "A"), add("vtkMRMLScriptedModuleNode", "P")
    item = hierarchy.GetItemByDataNode(volume)
    assert item and hierarchy.GetItemName(item) == "A"
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    assert not hierarchy.GetItemByDataNode(parameters)

    box, heard = slicer.qMRMLSubjectHierarchyComboBox(), []
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.connect("currentItemChanged(vtkIdType)", heard.append)
    box.setMRMLScene(slicer.mrmlScene)
    assert box.currentItem() == item
    slicer.mrmlScene.RemoveNode(volume)
    assert not hierarchy.GetItemByDataNode(volume) and box.currentItem() == 0
    assert heard == [item, 0]


def test_segments_can_be_selected(host):
    import slicer

    node = add("vtkMRMLSegmentationNode", "S")
    names = [node.GetSegmentation().AddEmptySegment("", name) for name in ("liver", "tumour")]
    box, heard = slicer.qMRMLSegmentSelectorWidget(), []
    box.connect("currentSegmentChanged(QString)", heard.append)
    box.setMRMLScene(slicer.mrmlScene)
    box.setCurrentNode(node)
    assert box.segmentIDs() == tuple(names) and box.currentSegmentID() == names[0]
    box.setCurrentSegmentID(names[1])
    node.GetSegmentation().RemoveSegment(names[1])
    assert heard == [names[0], names[1], names[0]]


def test_a_table_view_shows_its_node(host):
    import slicer

    node = add("vtkMRMLTableNode", "T")
    slicer.util.updateTableFromArray(node, (np.array([31.5, 30.25]), np.array([0.9, 0.8])), ["PSNR", "SSIM"])
    view = slicer.qMRMLTableView()
    view.setMRMLScene(slicer.mrmlScene)
    view.setMRMLTableNode(node)
    model = view.tableModel()
    assert (model.rowCount(), model.columnCount()) == (3, 2) and model.item(0, 0).text() == "PSNR"
    view.firstRowLocked = True
    assert model.rowCount() == 2 and model.item(0, 0).text().startswith("31.5")
    node.SetCellText(0, 0, "40")
    assert model.item(0, 0).text().startswith("40")


def test_colour_tables_of_the_application_are_there(host):
    import slicer

    for _ in range(2):
        for name in ("Grey", "Viridis", "Inferno", "Magma", "Plasma"):
            assert slicer.util.getFirstNodeByClassByName("vtkMRMLColorTableNode", name), name
        host.clear_scene()
    viridis = slicer.mrmlScene.GetNodeByID("vtkMRMLColorTableNodeFileViridis.txt")
    assert viridis.GetNumberOfColors() == 256
    colour = [0.0] * 4
    viridis.GetColor(255, colour)
    assert np.allclose(colour[:3], [0.993, 0.906, 0.144], atol=0.01)


def test_a_scene_is_found_again_in_a_bundle(host, tmp_path):
    import slicer

    volume = slicer.util.addVolumeFromArray(np.arange(24.0).reshape(2, 3, 4), name="brain")
    volume.SetSpacing(1, 2, 3)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Results")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), folder)
    table = add("vtkMRMLTableNode", "figures")
    slicer.util.updateTableFromArray(table, np.eye(2))

    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.clear_scene()
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = slicer.util.getNode("brain")
    assert np.array_equal(slicer.util.arrayFromVolume(again), np.arange(24.0).reshape(2, 3, 4))
    assert again.GetSpacing() == (1, 2, 3)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(again))
    assert hierarchy.GetItemName(parent) == "Results"
    assert hierarchy.GetItemByDataNode(slicer.util.getNode("figures"))


def test_nodes_are_read_and_written_by_file_type(host, tmp_path):
    import slicer

    volume = slicer.util.addVolumeFromArray(np.ones((2, 3, 4), np.int16), name="v")
    assert slicer.util.saveNode(volume, str(tmp_path / "v.nrrd"))
    read = slicer.util.loadVolume(str(tmp_path / "v.nrrd"))
    assert read.GetImageData().GetDimensions() == (4, 3, 2) and read.GetName() == "v_1"
    labels = slicer.util.loadLabelVolume(str(tmp_path / "v.nrrd"))
    assert labels.IsA("vtkMRMLLabelMapVolumeNode")
    assert slicer.util.exportNode(volume, str(tmp_path / "copy.nii.gz"))
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(str(tmp_path / "none.nrrd"))

    transform = add("vtkMRMLLinearTransformNode", "t")
    assert slicer.util.saveNode(transform, str(tmp_path / "t.h5"))
    assert slicer.util.loadTransform(str(tmp_path / "t.h5")).IsA("vtkMRMLTransformNode")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert slicer.util.loadTable(str(tmp_path / "t.csv")).GetNumberOfColumns() == 2


def test_a_reset_leaves_nothing_behind(host):
    import slicer

    def nodes():
        count = slicer.mrmlScene.GetNumberOfNodes()
        found = {slicer.mrmlScene.GetNthNode(index).GetID() for index in range(count)}
        return {one for one in found if "Storage" not in one}

    before = nodes()
    singleton = slicer.vtkMRMLScriptedModuleNode()
    singleton.SetSingletonTag("Anything")
    slicer.mrmlScene.AddNode(singleton)
    add("vtkMRMLScalarVolumeNode", "A").CreateDefaultDisplayNodes()
    slicer.app.settings().setValue("key", 1)
    assert nodes() - before
    host.reset()
    assert nodes() == before and not slicer.app.settings().contains("key")


def test_views_can_be_opened_and_take_layers(host):
    import slicer

    assert slicer.app.layoutManager() is None
    volume = slicer.util.addVolumeFromArray(np.ones((4, 20, 30)), name="v")
    manager = host.open_views()
    assert manager.sliceViewNames() == ("Red", "Green", "Yellow") and manager.threeDViewCount == 0
    slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
    red = manager.sliceWidget("Red")
    assert red.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    width, height, _ = red.mrmlSliceNode().GetFieldOfView()
    assert min(width, height) == pytest.approx(30, rel=0.5)
    host.close_views()
    assert slicer.app.layoutManager() is None
