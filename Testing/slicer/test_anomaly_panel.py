"""Diffusion Anomaly with a worker that hands out prepared results: what it is told, and what becomes of its files."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import anomalies
import numpy as np
import pytest
from panels import cancel, children, copied_call, find, press, run, scene_text, use_fake, voxels

MM = 1e-6
CSV = 1e-4  # mm, to which the worker's table is rounded


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return anomalies.models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def panel(host: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panel with a patient in the scene."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    return anomalies.open_panel(host, tmp_path)


def logic_class() -> Any:
    return sys.modules["DiffusionAnomaly"].DiffusionAnomalyLogic


def column(table: Any, name: str) -> list[Any]:
    found = table.GetTable().GetColumnByName(name)
    return [found.GetValue(row) for row in range(found.GetNumberOfTuples())]


def tooltip(panel: Any) -> str:
    button = find(panel.widget, "applyButton")
    return "" if button.enabled else button.toolTip


# --- what is offered


def test_without_a_model_the_panel_says_what_it_needs(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence on top and in the tooltip; a model that is installed meanwhile is offered when one comes back."""
    from MedDiffusionLib import catalogue

    known = catalogue.models
    monkeypatch.setattr(catalogue, "models", lambda task=None: () if task == "anomaly" else known(task))
    panel.parameters.model = ""
    panel.widget.enter()
    sentence = find(panel.widget, "requirementText").text
    assert "Install a model" in sentence and find(panel.widget, "requirement").visible and sentence in tooltip(panel)
    monkeypatch.setattr(catalogue, "models", known)
    panel.widget.enter()
    assert not find(panel.widget, "requirement").visible and tooltip(panel) == ""
    assert panel.widget._parameterNode.model == "tiny-anomaly"


def test_companions_are_not_offered_by_themselves(panel: Any) -> None:
    """The denoising autoencoder is a part of the one model; a method whose part is missing says what it needs."""
    from MedDiffusionLib import catalogue

    assert "tiny-anomaly" in {model.id for model in catalogue.models("anomaly")}
    assert not {"tiny-dae"} & {model.id for model in catalogue.models("anomaly")}
    assert "tiny-dae" in {model.id for model in catalogue.models()}  # the shelf of the hub shows it
    assert logic_class()().model(str(catalogue.model("tiny-dae").folder)) is None
    hub = sys.modules["slicer"].modules.meddiffusion.widgetRepresentation().self()
    hub.models.table.choose([entry.id for entry in hub.models.entries].index("tiny-dae"))
    assert not hub.models.useButton.enabled and "companion" in hub.models.useButton.toolTip
    methods = panel.widget.ui.method.method
    methods.setCurrentIndex(methods.findData("denoising-autoencoder"))
    assert tooltip(panel) == ""
    methods.setCurrentIndex(methods.findData("classifier-guided"))
    assert "Install the model “not-here”" in tooltip(panel)
    methods.setCurrentIndex(methods.findData("latent-healing"))
    assert "has no latent" in tooltip(panel)


def test_the_panel_says_which_method_to_take(panel: Any) -> None:
    from MedDiffusionLib.words import ANOMALY_ADVICE

    assert find(panel.widget, "advice").text == ANOMALY_ADVICE and "one pass" in ANOMALY_ADVICE


def test_contrasts_are_those_of_the_model_and_it_may_find_them(panel: Any) -> None:
    combo = find(panel.widget, "contrast")
    assert [combo.itemText(k) for k in range(combo.count)] == ["Found by the model", "FLAIR", "T1", "T2"]
    assert panel.widget.logic.arguments(panel.parameters)["contrast"] is None
    combo.setCurrentIndex(2)
    assert panel.widget.logic.arguments(panel.parameters)["contrast"] == "T1"


def test_the_settings_reach_the_job(panel: Any) -> None:
    """Every control, as the engine names it; a level goes with a fixed threshold alone."""
    from MedDiffusionLib import catalogue

    widget, logic = panel.widget, panel.widget.logic
    known = {option.name for option in catalogue.task("anomaly").options}
    job = logic.makeJob(logic.arguments(panel.parameters))
    logic.discard(job)
    assert set(job["options"]) == known
    assert job["options"]["level"] is None and job["options"]["smoothing"] is None
    assert widget.detection.level.isHidden()
    for name, index in (("polarity", 2), ("threshold", 2), ("plane", 0)):
        find(widget, name).setCurrentIndex(index)
    section = widget.detection.form.parentWidget()
    section.collapsed = False
    assert not widget.detection.level.isHidden()
    section.collapsed = True
    for name, value in (("level", 0.4), ("minimumVolume", 25.0), ("smoothing", 1.5), ("structural", 0.5)):
        find(widget, name).setValue(value)
    options = logic.options(logic.arguments(panel.parameters))
    assert (options["polarity"], options["threshold"], options["level"]) == ("darker", "fixed", 0.4)
    assert (options["minimum_volume"], options["smoothing"], options["structural"]) == (25.0, 1.5, 0.5)
    find(widget, "threshold").setCurrentIndex(1)
    assert logic.options(logic.arguments(panel.parameters))["level"] is None
    assert tooltip(panel) == ""


# --- what comes out


def test_apply_gives_maps_lesions_and_a_table(panel: Any) -> None:
    import slicer

    from MedDiffusionLib.hierarchy import provenance, source

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    panel.host.open_views()
    run(panel)
    parameters = panel.parameters
    assert find(panel.widget, "problemText").text == ""
    assert "2 lesions of 1.23 ml together." in find(panel.widget, "statusText").text
    anomaly, lesions, table = parameters.outputAnomaly, parameters.outputLesions, parameters.outputTable
    assert np.array_equal(voxels(anomaly), panel.made.score.astype(np.float32))
    made = [parameters.outputHealthy, anomaly, lesions, table, parameters.outputUncertainty]
    assert [node.GetName() for node in made] == [
        f"Patient {what}" for what in ("healthy image", "anomaly map", "lesions", "lesion table", "uncertainty")
    ]
    assert all(source(node) is panel.volume and provenance(node) for node in made)
    assert parameters.outputFigures is None  # nothing to compare with

    # the map in perceptually uniform colours, nothing of it where there is nothing, over the volume
    display = anomaly.GetDisplayNode()
    assert display.GetColorNode().GetName() == "Inferno" and display.GetApplyThreshold()
    assert display.GetLowerThreshold() == 0.125  # half of what makes a lesion: healthy tissue stays as it is
    assert display.GetWindowLevelMin() == 0 and abs(display.GetWindowLevelMax() - 0.52) < 0.03
    uncertain = parameters.outputUncertainty.GetDisplayNode()
    assert uncertain.GetColorNode().GetName() == "Viridis" and uncertain.GetLowerThreshold() < 0.01
    assert view.GetBackgroundVolumeID() == panel.volume.GetID() and view.GetForegroundVolumeID() == anomaly.GetID()

    # lesions by their outline, so that the map is seen, each with its meaning
    segmentation = lesions.GetSegmentation()
    assert [segmentation.GetSegment(id).GetName() for id in segmentation.GetSegmentIDs()] == ["Lesion 1", "Lesion 2"]
    assert not lesions.GetDisplayNode().GetVisibility2DFill() and lesions.GetDisplayNode().GetVisibility2DOutline()
    entry = segmentation.GetNthSegment(0).GetTerminology()
    assert "SCT^52988006^Lesion" in entry and "SCT^12738006^Brain" in entry
    assert segmentation.GetNthSegment(0).GetColor() == segmentation.GetNthSegment(1).GetColor()
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(lesions, "Segment_2", panel.volume)
    assert np.array_equal(mask > 0, panel.made.labels == 2)

    # the table: numbers for scripts, and one line for each segment
    assert column(table, "lesion") == [1, 2] and column(table, "peak") == [0.52, 0.32]
    assert column(table, "volume_mm3") == [row[1] for row in panel.made.rows]
    assert np.allclose(slicer.util.arrayFromTableColumn(table, "a_mm"), panel.made.centres[:, 1], atol=CSV)
    assert table.GetLocked()


def test_everything_lies_where_the_input_lies(panel: Any) -> None:
    """Under an oblique transform: the same grids to 1e-6; the table tells places in the world, as Slicer does."""
    import mrml
    import slicer

    from MedDiffusionLib.segmentations import place_of_segment

    transform = anomalies.oblique(panel.volume)
    run(panel)
    parameters = panel.parameters
    for node in (parameters.outputHealthy, parameters.outputAnomaly, parameters.outputUncertainty):
        assert np.abs(anomalies.matrix_of(node) - anomalies.matrix_of(panel.volume)).max() < MM
        assert np.abs(mrml.corners(node) - mrml.corners(panel.volume)).max() < MM
        assert node.GetTransformNodeID() == transform.GetID()
    lesions, table = parameters.outputLesions, parameters.outputTable
    assert lesions.GetTransformNodeID() == transform.GetID()
    expected = mrml.to_world(panel.volume, panel.made.centres)
    found = np.array([column(table, name) for name in ("r_mm", "a_mm", "s_mm")]).T
    assert np.abs(found - expected).max() < 2 * CSV
    for number, place in enumerate(expected, start=1):
        assert np.abs(np.array(place_of_segment(lesions, f"Segment_{number}")) - place).max() < MM
        box = np.array(lesions.GetSegmentCenterRAS(f"Segment_{number}"))
        assert np.abs(box - place).max() < 5  # MRML's own, of the bounding box, to half a voxel
    assert place_of_segment(lesions, "Segment_9") is None and place_of_segment(None, "Segment_1") is None
    labels = slicer.util.arrayFromSegmentBinaryLabelmap(lesions, "Segment_1", panel.volume)
    assert np.array_equal(labels > 0, panel.made.labels == 1)


def test_a_line_of_the_table_brings_the_views_to_the_lesion(panel: Any) -> None:
    """By a click, by the arrow keys, and again after the patient was moved or the lesion was edited away."""
    import mrml

    from MedDiffusionLib.tables import to_world

    transform = anomalies.oblique(panel.volume)
    views = panel.host.open_views()
    run(panel)
    rows, table = panel.widget.lesions.rows, panel.parameters.outputTable
    assert panel.widget.lesions.widget.visible and rows.widget.rowCount == 2

    def off(place: Any) -> float:
        """How far the three views are from a place, mm."""
        nodes = [views.sliceWidget(name).mrmlSliceNode() for name in views.sliceViewNames()]
        planes = [np.linalg.inv(mrml.array_of(node.GetSliceToRAS())) for node in nodes]
        return max(abs((plane @ [*place, 1])[2]) for plane in planes)

    rows.choose(1)
    assert off(to_world(panel.made.centres[1], transform)) < 1e-3
    rows.choose(0)
    first = np.array(to_world(panel.made.centres[0], transform))
    assert off(first) < 1e-3
    views.sliceWidget("Red").sliceLogic().SetSliceOffset(0.0)
    rows.widget.cellClicked.emit(0, 1)  # the same line again: the views have gone elsewhere meanwhile
    assert off(first) < 1e-3
    rows.widget.cellDoubleClicked.emit(0, 1)
    centre = np.array([views.sliceWidget("Red").mrmlSliceNode().GetSliceToRAS().GetElement(k, 3) for k in range(3)])
    assert np.abs(centre - first).max() < 1e-3

    transform.SetMatrixTransformToParent(None)  # moved: the table still says where it was
    rows.widget.cellClicked.emit(0, 1)
    assert off(panel.made.centres[0]) < 1e-3
    panel.parameters.outputLesions.GetSegmentation().RemoveSegment("Segment_1")
    rows.widget.cellClicked.emit(0, 1)
    told = [column(table, name)[0] for name in ("r_mm", "a_mm", "s_mm")]
    assert off(told) < 1e-3


def test_no_lesion_is_an_answer_too(panel: Any) -> None:
    """An empty label map and an empty table: an empty segmentation, and a sentence; the next run fills them."""
    from meddiff.volume import write
    from MedDiffusionLib.nodes import volume_from_node

    files, kept = panel.made.folder, {}
    for name in ("lesions.nrrd", "table.csv", "figures.json"):
        kept[name] = (files / name).read_bytes()
    write(volume_from_node(panel.volume).with_array(np.zeros_like(panel.made.labels)), files / "lesions.nrrd")
    anomalies.write_table(files / "table.csv", [])
    (files / "figures.json").write_text(json.dumps({"lesions": 0.0, "lesion_volume_mm3": 0.0, "threshold": 1.0}))
    run(panel)
    assert find(panel.widget, "problemText").text == "" and "No lesion" in find(panel.widget, "statusText").text
    lesions, table = panel.parameters.outputLesions, panel.parameters.outputTable
    assert lesions.GetSegmentation().GetNumberOfSegments() == 0 and table.GetNumberOfRows() == 0
    assert panel.widget.lesions.rows.widget.rowCount == 0
    for name, content in kept.items():
        (files / name).write_bytes(content)
    run(panel)
    assert panel.parameters.outputLesions is lesions and lesions.GetSegmentation().GetNumberOfSegments() == 2
    assert panel.widget.lesions.rows.widget.rowCount == 2


def test_a_reference_gives_figures(host: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    told = {"dice": 0.71, "auprc": 0.66, "auroc": 0.98, "lesion_recall": 0.5, "false_positives": 1.0}
    panel = anomalies.open_panel(host, tmp_path, figures=told)
    run(panel)
    table = panel.parameters.outputFigures
    assert dict(zip(column(table, "Measure"), column(table, "value"), strict=True)) == {
        "Dice": 0.71,
        "AUPRC": 0.66,
        "AUROC": 0.98,
        "Lesions found": 0.5,
        "False positives": 1.0,
    }
    assert "Against the reference: Dice 0.71, AUPRC 0.66" in find(panel.widget, "statusText").text


def test_a_scene_keeps_the_lesions(panel: Any, tmp_path: Path) -> None:
    """Saved, closed, loaded: the panel shows the lesions, and a line still leads to its lesion."""
    import slicer

    panel.widget.detection.minimumVolume.setValue(33.0)
    run(panel)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    panel.host.clear_scene()
    assert not panel.widget.lesions.widget.visible
    slicer.util.loadScene(path)
    panel.host.process_events()
    parameters = panel.widget._parameterNode
    assert parameters.minimumVolume == 33.0 and column(parameters.outputTable, "lesion") == [1, 2]
    assert panel.widget.lesions.rows.widget.rowCount == 2
    assert np.abs(np.array(panel.widget.lesions.place(1)) - panel.made.centres[1]).max() < 1e-3


@pytest.mark.parametrize("what", ["table", "lesions"])
def test_a_broken_file_leaves_the_scene_as_it_was(panel: Any, what: str) -> None:
    broken = {"table": "table.csv", "lesions": "lesions.nrrd"}[what]
    (panel.made.folder / broken).write_text("lesion,volume_mm3\n1\n")
    before = scene_text()
    run(panel)
    assert (
        "cannot be read" in find(panel.widget, "problemText").text or "cells" in find(panel.widget, "problemText").text
    )
    assert scene_text() == before


def test_cancel_leaves_the_scene_as_it_was(panel: Any) -> None:
    run(panel)
    cancel(panel)
    assert "Cancelled" in find(panel.widget, "statusText").text
    assert panel.widget.lesions.rows.widget.rowCount == 2


# --- masks


def other_grid(node: Any, inside: Any, kind: str) -> Any:
    """A label map or a segmentation, on a coarser grid of its own, of where `inside(x, y, z)` of the world is true."""
    import mrml
    import slicer

    size, step = (40, 40, 40), 5.0
    matrix = np.diag([step, step, step, 1.0])
    matrix[:3, 3] = -step * (np.array(size) - 1) / 2
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    places = (np.stack([i, j, k, np.ones_like(i)], -1) @ matrix.T)[..., :3]
    array = inside(*np.moveaxis(places, -1, 0)).astype(np.uint8)
    labels = mrml.volume_node(array, matrix, "mask", "vtkMRMLLabelMapVolumeNode")
    if kind == "labelmap":
        return labels
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    segmentation.CreateDefaultDisplayNodes()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, segmentation)
    return segmentation


@pytest.mark.parametrize("kind", ["labelmap", "segmentation"])
def test_a_mask_is_exported_on_the_grid_of_the_input(panel: Any, kind: str) -> None:
    """Drawn on another grid, in the world, while the volume lies under a transform."""
    import mrml

    from meddiff.volume import read

    anomalies.oblique(panel.volume)
    mask = other_grid(panel.volume, lambda r, a, s: r**2 + a**2 + (s - 30) ** 2 < 50**2, kind)
    panel.widget.ui.inputs["brainMask"].setCurrentNode(mask)
    logic = panel.widget.logic
    job = logic.makeJob(logic.arguments(panel.parameters))
    image, given = read(job["inputs"]["volume"]), read(job["inputs"]["mask"])
    logic.discard(job)
    assert given.shape == image.shape and np.abs(given.affine - image.affine).max() < MM
    z, y, x = np.nonzero(np.ones(image.shape, bool))
    own = (np.stack([x, y, z, np.ones_like(x)], -1) @ anomalies.matrix_of(panel.volume).T)[:, :3]
    radius = np.linalg.norm(mrml.to_world(panel.volume, own) - [0, 0, 30], axis=1)
    marked = given.array.ravel() > 0
    assert marked[radius < 45].all() and not marked[radius > 55].any() and marked.any()


def test_a_mask_on_the_same_grid_is_taken_as_it_is(panel: Any) -> None:
    import mrml

    from meddiff.volume import read

    array = (voxels(panel.volume) > 100).astype(np.int16) * 3
    mask = mrml.volume_node(array, anomalies.matrix_of(panel.volume), "mask", "vtkMRMLLabelMapVolumeNode")
    panel.parameters.brainMask = panel.parameters.referenceLesions = mask
    logic = panel.widget.logic
    job = logic.makeJob(logic.arguments(panel.parameters))
    assert all(np.array_equal(read(job["inputs"][name]).array, array) for name in ("mask", "reference"))
    logic.discard(job)


def test_a_mask_elsewhere_is_refused_in_words(panel: Any) -> None:
    mask = other_grid(panel.volume, lambda r, a, s: (r > 90) & (a > 90) & (s > 90), "labelmap")
    panel.widget.ui.inputs["brainMask"].setCurrentNode(mask)
    before = scene_text()
    press(panel.widget, "applyButton")
    assert "both lie at the same place" in find(panel.widget, "problemText").text
    assert scene_text() == before and panel.widget.job is None
    panel.parameters.brainMask = panel.volume
    assert "label map or a segmentation" in tooltip(panel)


# --- what cannot be used


def change(panel: Any, array: Any) -> None:
    import slicer

    slicer.util.updateVolumeFromArray(panel.volume, array)
    panel.widget.refresh()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda a: a - 1000, "CT in Hounsfield units"),
        (lambda a: np.where(a > 500, 2, np.where(a > 50, 1, 0)).astype(np.int16), "as a label map does"),
        (lambda a: np.where(np.arange(a.size).reshape(a.shape) % 977 == 0, a + 1, 0), "no brain is in view"),
        (lambda a: np.zeros_like(a), "no voxel above 0"),
        (lambda a: a - a.mean(), "before its mean was taken off"),
    ],
    ids=["CT", "segmentation", "no brain", "empty", "z-score"],
)
def test_what_is_no_brain_is_refused_before_apply(panel: Any, damage: Any, words: str) -> None:
    """Apply is grey, its tooltip says why, and so does the warning; a brain in its place makes both go."""
    whole = voxels(panel.volume).copy()
    change(panel, damage(whole))
    assert words.lower() in tooltip(panel).lower()
    assert words.lower() in find(panel.widget, "domainWarningText").text.lower()
    change(panel, whole)
    assert tooltip(panel) == "" and not find(panel.widget, "domainWarning").visible


def test_a_skull_is_told_and_a_mask_is_offered(panel: Any) -> None:
    """A bright scalp around a dark bone around the brain; with a mask of the brain nothing is said any more."""
    import mrml
    from scipy import ndimage

    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    volume = phantom("T1", (9, 200, 176), spacing=(1.0, 1.0, 8.0))
    brain = ndimage.binary_fill_holes(volume.array.max(0) > 100)
    distance = ndimage.distance_transform_edt(~brain)
    head = np.where((distance > 8) & (distance <= 15), 1500, np.where((distance > 0) & (distance <= 8), 100, 0))
    inside = volume.array > 50
    node = node_from_volume(volume.with_array(np.where(inside, volume.array, head[None]).astype(np.float32)), "Head")
    panel.parameters.model = "brain-mr"  # of the same spacing; only the volume is looked at here
    panel.parameters.inputVolume = node
    assert "skull" in find(panel.widget, "domainWarningText").text
    assert "brain mask" in find(panel.widget, "domainWarningText").text
    mask = mrml.volume_node(inside.astype(np.uint8), anomalies.matrix_of(node), "mask", "vtkMRMLLabelMapVolumeNode")
    panel.parameters.brainMask = mask
    assert "skull" not in find(panel.widget, "domainWarningText").text
    panel.parameters.brainMask = None
    panel.parameters.inputVolume = node_from_volume(volume, "Stripped")
    assert "skull" not in find(panel.widget, "domainWarningText").text


def test_one_slice_and_no_input(panel: Any) -> None:
    """A single slice is as good as any; without an input, or with one without voxels, Apply says what is missing."""
    import slicer

    from MedDiffusionLib.nodes import node_from_volume, volume_from_node

    volume = volume_from_node(panel.volume)
    alone = type(volume)(volume.array[3:4], volume.spacing, volume.origin, volume.direction)
    panel.parameters.inputVolume = node_from_volume(alone, "One slice")
    assert tooltip(panel) == ""
    panel.parameters.inputVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    assert "Nothing" in tooltip(panel) and "no voxels" in tooltip(panel)
    panel.parameters.inputVolume = None
    assert "Choose the input “Volume”" in tooltip(panel) and not find(panel.widget, "domainWarning").visible


def test_looking_at_a_volume_takes_a_moment_and_only_once(panel: Any) -> None:
    import time

    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import phantom

    node = node_from_volume(phantom("FLAIR"), "Whole")
    began = time.thread_time()
    panel.parameters.inputVolume = node
    first = time.thread_time() - began
    began = time.thread_time()
    panel.parameters.seed = 3
    again = time.thread_time() - began
    assert first < 2.0 and again < 0.1


# --- as text, and many at a time


def test_copy_as_python_is_the_same_job(panel: Any) -> None:

    panel.parameters.contrast, panel.parameters.threshold, panel.parameters.level = "FLAIR", "fixed", 0.5
    panel.parameters.smoothing = 2.0
    assert copied_call(panel.widget) == panel.widget.logic.arguments(panel.parameters) | {"parameters": None}


def test_copy_as_command_tells_what_to_save_first(panel: Any) -> None:
    import slicer

    panel.parameters.brainMask = other_grid(panel.volume, lambda r, a, s: r**2 + a**2 + s**2 < 60**2, "segmentation")
    panel.parameters.threshold, panel.parameters.level = "fixed", 0.5
    press(panel.widget, "copyCommand")
    save, export, command = slicer.app.clipboard().text().splitlines()
    assert save == "# First save “Patient” as Patient.nrrd"
    assert export.startswith("# First export “mask”") and "grid of “Patient”" in export and "mask.nrrd" in export
    words = shlex.split(command)
    assert words[:3] == ["meddiff", "anomaly", "Patient.nrrd"]
    told = dict(zip(words[3::2], words[4::2], strict=True))
    assert told["--mask"] == "mask.nrrd" and told["--threshold"] == "0.5" and "--level" not in told


def three(panel: Any) -> list[Any]:
    return [panel.volume, anomalies.brain("Second"), anomalies.brain("Third")]


def test_many_volumes_one_after_the_other(panel: Any) -> None:
    """Named after their volume, in one worker; what is wrong with one does not keep the others from it."""
    import slicer

    volumes, processes, told = three(panel), children(), []
    slicer.util.updateVolumeFromArray(volumes[1], voxels(volumes[1]) - 1000)
    found = panel.widget.logic.processMany(volumes, contrast="FLAIR", samples=1, onDone=told.append)
    assert [done.source for done in found] == volumes and told == found
    assert [bool(done.problem) for done in found] == [False, True, False] and "CT" in found[1].problem
    assert [done.nodes["lesions"].GetName() for done in (found[0], found[2])] == ["Patient lesions", "Third lesions"]
    assert found[2].nodes["table"].GetNumberOfRows() == 2 and not found[1].nodes
    assert children() <= processes
    assert not list(Path(slicer.app.temporaryPath).glob("MedDiffusion-*"))


def test_a_batch_stops_between_volumes_and_within_one(panel: Any) -> None:
    volumes, done = three(panel), []
    found = panel.widget.logic.processMany(volumes, onDone=done.append, shouldStop=lambda: bool(done))
    assert [one.source for one in found] == volumes[:1] and found[0].nodes["anomaly"]
    use_fake(panel.widget.logic, "ok", 30, str(panel.made.folder))
    steps: list[Any] = []
    before, processes = scene_text(), children()
    found = panel.widget.logic.processMany(
        volumes, onEvent=lambda event: steps.append(event["event"]), shouldStop=lambda: "preview" in steps
    )
    assert found == [] and scene_text() == before and children() <= processes


def test_a_batch_knows_its_arguments(panel: Any) -> None:
    logic, volumes = panel.widget.logic, three(panel)
    with pytest.raises(TypeError):
        logic.processMany(volumes, colour="red")
    with pytest.raises(TypeError, match="outputLesions"):
        logic.processMany(volumes, outputLesions=None)
    with pytest.raises(ValueError, match="2 masks or references came for 3 volumes"):
        logic.processMany(volumes, brainMasks=[None, None])
    assert logic.processMany([]) == []
