"""Diffusion Segment: what a worker is told, what becomes of its files; once with the real worker, by tiny models."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import anomalies
import numpy as np
import panels
import pytest
import segments
import vtk
from panels import cancel, children, copied_call, find, finished, press, run, scene_text, tooltip, use_fake, voxels
from segments import NAMES
from vtk.util.numpy_support import vtk_to_numpy

from meddiff.errors import Notice

MM = 1e-6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return segments.models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def known(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models, and the methods of the engine as it is."""
    panels.know(tiny, monkeypatch)


@pytest.fixture
def panel(host: Any, known: None, tmp_path: Path) -> Any:
    """The panel with a patient in the scene, and the smallest model chosen."""
    found = segments.open_panel(host, tmp_path)
    found.parameters.model = "tiny-seg"
    return found


def job_of(panel: Any) -> dict[str, Any]:
    """The job of a panel, its files read instead of named."""
    from meddiff.volume import read

    logic = panel.widget.logic
    job = logic.makeJob(logic.arguments(panel.parameters))
    try:
        return {**job, "inputs": {name: read(path) for name, path in job["inputs"].items()}}
    finally:
        logic.discard(job)


def named_of(panel: Any) -> dict[str, Any]:
    return named(panel.parameters.outputSegmentation)


def named(segmentation: Any) -> dict[str, Any]:
    found = segmentation.GetSegmentation()
    return {found.GetSegment(one).GetName(): found.GetSegment(one) for one in found.GetSegmentIDs()}


# --- what is offered


def test_without_a_model_the_panel_waits(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence on top and in the tooltip; the module tests itself nevertheless."""
    from MedDiffusionLib import catalogue

    models = catalogue.models
    monkeypatch.setattr(catalogue, "models", lambda task=None: () if task == "segment" else models(task))
    panel.parameters.model = ""
    panel.widget.enter()
    sentence = find(panel.widget, "requirementText").text
    assert "Install a model" in sentence and find(panel.widget, "requirement").visible and sentence in tooltip(panel)
    monkeypatch.setattr(catalogue, "models", models)
    panel.widget.enter()
    assert not find(panel.widget, "requirement").visible
    panel.parameters.model = "tiny-seg"
    assert tooltip(panel) == ""
    monkeypatch.setattr(catalogue, "models", lambda task=None: ())
    test = sys.modules["DiffusionSegment"].DiffusionSegmentTest()
    test.messageDelay = 0
    test.runTest()


def test_the_settings_reach_the_job(panel: Any) -> None:
    """Every control, as the engine names it; nothing is cleaned up unless asked for."""
    from MedDiffusionLib import catalogue

    options = job_of(panel)["options"]
    assert set(options) == {option.name for option in catalogue.task("segment").options}
    assert (options["fusion"], options["minimum_volume"], options["smoothing"], options["samples"]) == ("mean", 0, 0, 8)
    find(panel.widget, "fusion").setCurrentIndex(2)
    find(panel.widget, "uncertainty").setCurrentIndex(1)
    find(panel.widget, "minimumVolume").setValue(25.0)
    find(panel.widget, "smoothing").setValue(1.5)
    options = job_of(panel)["options"]
    told = [options[name] for name in ("fusion", "uncertainty", "minimum_volume", "smoothing")]
    assert told == ["staple", "variance", 25.0, 1.5] and tooltip(panel) == ""


def test_a_start_belongs_to_a_method(panel: Any) -> None:
    """Its rows come with the method; what they hold goes to the job with it alone."""
    rows, parameters = panel.widget.ui.inputs, panel.parameters

    def shown() -> list[str]:
        return [name for name in ("start", "firstSegmentation", "low", "high") if not rows[name].isHidden()]

    assert shown() == []
    parameters.method = "pd-ddpm"
    assert shown() == ["start"] and tooltip(panel) == ""
    parameters.start = "threshold"
    assert shown() == ["start", "low", "high"]
    find(panel.widget, "low").setValue(300.0)
    job = job_of(panel)
    assert (job["options"]["low"], job["options"]["high"], list(job["inputs"])) == (300.0, None, ["volume"])
    find(panel.widget, "high").setValue(200.0)
    assert "exchange them" in tooltip(panel)
    parameters.start = "segmentation"
    assert shown() == ["start", "firstSegmentation"]
    parameters.firstSegmentation = segments.drawn(panel.volume, NAMES)
    job = job_of(panel)
    assert set(job["inputs"]) == {"volume", "first"} and job["options"]["low"] is None
    parameters.method = "implicit-ensemble"
    assert set(job_of(panel)["inputs"]) == {"volume"}
    parameters.method = "medsegdiff"
    assert "Install the model “not-here”" in tooltip(panel)


def test_a_network_of_one_pass_needs_no_companion(panel: Any) -> None:
    """It is its own baseline; a start from it is another matter."""
    panel.parameters.model, panel.parameters.method = "tiny-unet-alone", "unet"
    assert tooltip(panel) == "" and job_of(panel)["model"] == "tiny-unet-alone"
    panel.parameters.method = "pd-ddpm"
    assert "“tiny-unet-alone” is a network of one pass" in tooltip(panel)


def test_a_model_of_several_channels_asks_for_them(panel: Any) -> None:
    """By their names; one under another transform is brought to where the first lies; a start needs a baseline."""
    import mrml
    from scipy import ndimage

    rows, form = panel.widget.ui.inputs, panel.widget.form
    assert rows["inputVolume2"].isHidden() and form.labelForField(rows["inputVolume"]).text == "Volume:"
    panel.parameters.model = "tiny-three"
    assert [form.labelForField(rows[name]).text for name in ("inputVolume", "inputVolume2", "inputVolume3")] == [
        "FLAIR:",
        "T1:",
        "T2:",
    ]
    assert rows["inputVolume4"].isHidden() and "Choose the input “T2”" in tooltip(panel)
    panel.parameters.inputVolume2, panel.parameters.inputVolume3 = segments.crop("T1"), segments.crop("T2")
    nudge = np.array([[0.98, -0.2, 0, 2.0], [0.2, 0.98, 0, -1.0], [0, 0, 1, 1.5], [0, 0, 0, 1]])
    anomalies.oblique(panel.parameters.inputVolume3).SetMatrixTransformToParent(mrml.matrix(nudge))
    array = voxels(panel.parameters.inputVolume3)
    whole = segments.to_world(panel.parameters.inputVolume3)
    z, y, x = np.indices(array.shape)
    array[:] = (np.stack([x, y, z, np.ones_like(x)], -1) @ whole.T)[..., 0] + 1000  # where it lies, in the world
    job = job_of(panel)
    assert list(job["inputs"]) == ["volume", "volume2", "volume3"]
    found, grid = job["inputs"]["volume3"], job["inputs"]["volume"]
    assert found.shape == grid.shape and np.abs(found.affine - grid.affine).max() < MM
    own = np.stack([x, y, z, np.ones_like(x)], -1) @ anomalies.matrix_of(panel.volume).T
    there = mrml.to_world(panel.volume, own[..., :3].reshape(-1, 3))[:, 0].reshape(z.shape) + 1000
    seen = ndimage.binary_erosion(found.array > 0, iterations=2)  # beyond the rim, its value is repeated
    assert seen.sum() > 500 and np.abs(found.array - there)[seen].max() < 1e-2
    panel.parameters.method = "pd-ddpm"
    assert "has no baseline" in tooltip(panel)
    with pytest.raises(ValueError, match="Leave out “T1”"):
        panel.widget.logic.process(panel.volume, inputVolume2=panel.parameters.inputVolume2, model="tiny-seg")


# --- what comes out


def test_apply_gives_segments_and_how_sure_they_are(panel: Any) -> None:
    import slicer

    from MedDiffusionLib.hierarchy import provenance, source

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    panel.host.open_views()
    find(panel.widget, "want_outputEach").click()
    run(panel)
    parameters = panel.parameters
    assert find(panel.widget, "problemText").text == ""
    assert "Foretold Dice 0.87." in find(panel.widget, "statusText").text
    made = [getattr(parameters, role.parameter) for role in panel.widget.logic.outputs()]
    what = ("segmentation", "probability", "uncertainty", "segment table", "probability of each")
    assert [node.GetName() for node in made] == [f"Patient {each}" for each in what]
    assert all(source(node) is panel.volume and provenance(node) for node in made)

    segmentation, found = parameters.outputSegmentation, named(parameters.outputSegmentation)
    assert list(found) == list(NAMES)
    assert np.allclose([one.GetColor() for one in found.values()], [(0.933, 0.4, 0.467), (0.267, 0.467, 0.667)])
    for one in found.values():
        assert "SCT^123037004^Anatomical Structure~SCT^5366008^Hippocampus" in one.GetTerminology()
    reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    assert reference is panel.volume  # what DICOM SEG export asks for, as it does for who made the segments
    told = vtk.reference("")
    for one in found.values():
        assert one.GetTag("DICOM.SegmentAlgorithmType", told) and str(told) == "AUTOMATIC"
        assert one.GetTag("DICOM.SegmentAlgorithmName", told) and str(told) == "MedDiffusion implicit-ensemble"
    for value in (1, 2):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, f"Segment_{value}", panel.volume)
        assert np.array_equal(mask > 0, panel.made.labels == value)

    # maps in perceptually uniform colours, nothing of them where there is nothing, the less sure in front
    probability, spread = parameters.outputProbability.GetDisplayNode(), parameters.outputUncertainty.GetDisplayNode()
    assert probability.GetColorNode().GetName() == "Magma" and spread.GetColorNode().GetName() == "Viridis"
    assert (probability.GetWindowLevelMin(), probability.GetWindowLevelMax()) == (0, 1)
    assert probability.GetApplyThreshold() and spread.GetApplyThreshold()
    assert view.GetBackgroundVolumeID() == panel.volume.GetID()
    assert view.GetForegroundVolumeID() == parameters.outputUncertainty.GetID()

    table = parameters.outputTable.GetTable()
    rows = [[table.GetValue(row, column).ToString() for column in range(5)] for row in range(2)]
    assert [row[:2] for row in rows] == [[NAMES[0], "1"], [NAMES[1], "2"]]
    assert np.allclose(slicer.util.arrayFromTableColumn(parameters.outputTable, "volume_mm3"), panel.made.sizes)

    each = parameters.outputEach
    assert [each.GetNthIndexValue(k) for k in range(2)] == list(NAMES) and each.GetIndexName() == "segment"
    for k in range(2):
        assert np.array_equal(voxels(each.GetNthDataNode(k)), panel.made.each[k])


def test_segments_are_shown_in_3d_until_they_are_not(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 3D views look at what is new in them, and stay where they are when it is computed again."""
    from MedDiffusionLib.segmentations import SURFACE

    looked: list[int] = []
    manager, box = panel.host.open_views(), find(panel.widget, "show3D")
    monkeypatch.setattr(type(manager), "resetThreeDViews", lambda _: looked.append(1))

    def surfaces() -> bool:
        return panel.parameters.outputSegmentation.GetSegmentation().ContainsRepresentation(SURFACE)

    assert box.checked
    box.click()  # there is nothing yet
    run(panel)
    assert not surfaces() and not looked
    box.click()
    assert surfaces() and len(looked) == 1
    assert panel.parameters.outputSegmentation.GetDisplayNode().GetVisibility3D()
    run(panel)
    points = [one.GetRepresentation(SURFACE).GetNumberOfPoints() for one in named_of(panel).values()]
    assert min(points) > 50 and len(looked) == 1
    box.click()
    assert not surfaces()
    panel.parameters.outputSegmentation = None
    panel.parameters.show3D = True
    run(panel)
    assert surfaces() and len(looked) == 2
    panel.host.close_views()
    panel.parameters.outputSegmentation = None
    run(panel)
    assert not surfaces(), "without a window nobody looks"


def test_everything_lies_where_the_input_lies(panel: Any) -> None:
    """Under an oblique transform, to 1e-6: maps by their corners, segments by their centres."""
    import mrml

    from MedDiffusionLib.segmentations import place_of_segment

    transform = anomalies.oblique(panel.volume)
    run(panel)
    parameters = panel.parameters
    for node in (parameters.outputProbability, parameters.outputUncertainty):
        assert np.abs(mrml.corners(node) - mrml.corners(panel.volume)).max() < MM
        assert node.GetTransformNodeID() == transform.GetID()
    segmentation = parameters.outputSegmentation
    assert segmentation.GetTransformNodeID() == transform.GetID()
    for value in (1, 2):
        z, y, x = np.nonzero(panel.made.labels == value)
        expected = segments.to_world(panel.volume) @ [x.mean(), y.mean(), z.mean(), 1]
        assert np.abs(np.array(place_of_segment(segmentation, f"Segment_{value}")) - expected).max() < MM


def test_nothing_is_an_answer_too(panel: Any) -> None:
    """The segments of the model, empty, and a sentence; the next run fills the same node."""
    from meddiff.volume import write
    from MedDiffusionLib.nodes import volume_from_node

    folder, grid = panel.made.folder, volume_from_node(panel.volume)
    kept = {name: (folder / name).read_bytes() for name in ("labels.nrrd", "segments.csv", "figures.json")}
    write(grid.with_array(np.zeros_like(panel.made.labels)), folder / "labels.nrrd")
    segments.write_table(folder, [(name, k, 0.0, 0.1, "") for k, name in enumerate(NAMES, start=1)])
    (folder / "figures.json").write_text('{"network_calls": 64}')
    run(panel)
    assert "Nothing was found" in find(panel.widget, "statusText").text
    segmentation = panel.parameters.outputSegmentation
    assert list(named(segmentation)) == list(NAMES) and find(panel.widget, "problemText").text == ""
    write(grid.with_array((panel.made.labels == 1).astype(np.uint8)), folder / "labels.nrrd")
    run(panel)
    assert "Not found: Posterior hippocampus." in find(panel.widget, "statusText").text
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    run(panel)
    assert panel.parameters.outputSegmentation is segmentation
    assert find(panel.widget, "statusText").text.endswith("Foretold Dice 0.87.")


def test_a_reference_is_compared_with(host: Any, known: None, tmp_path: Path) -> None:
    """It is exported by the names of its segments; Dice and HD95 are told."""
    panel = segments.open_panel(host, tmp_path, figures={"dice": 0.71, "hd95_mm": 1.25, "predicted_dice": 0.8})
    panel.parameters.model, panel.parameters.samples = "tiny-seg", 1
    panel.parameters.referenceSegmentation = segments.drawn(panel.volume, (NAMES[1].upper(), NAMES[0]))
    with pytest.warns(Notice, match="another grid"):
        found = job_of(panel)["inputs"]["reference"]
    assert np.mean(found.array == panel.made.labels) > 0.99
    run(panel)
    assert "Against the reference: Dice 0.71, HD95 1.2 mm." in find(panel.widget, "statusText").text


@pytest.mark.parametrize("gone", ["outputSegmentation", "inputVolume"])
def test_a_node_that_is_removed_meanwhile(panel: Any, gone: str) -> None:
    """A result without its node gets a new one; a result without its source lies where that lay."""
    import slicer

    transform = anomalies.oblique(panel.volume)
    run(panel)
    use_fake(panel.widget.logic, "ok", 1.0, str(panel.made.folder))
    press(panel.widget, "applyButton")
    slicer.mrmlScene.RemoveNode(getattr(panel.parameters, gone))
    panel.host.wait(finished(panel.widget), 20)
    segmentation = panel.parameters.outputSegmentation
    assert find(panel.widget, "problemText").text == "" and list(named(segmentation)) == list(NAMES)
    assert segmentation.GetTransformNodeID() == transform.GetID()
    reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    assert reference is (panel.volume if gone == "outputSegmentation" else None)


def test_a_volume_that_is_renamed_and_moved_meanwhile(panel: Any) -> None:
    """New results bear its new name, and lie where it now lies."""
    import mrml

    use_fake(panel.widget.logic, "ok", 1.0, str(panel.made.folder))
    press(panel.widget, "applyButton")
    panel.volume.SetName("Somebody else")
    anomalies.oblique(panel.volume)
    panel.host.wait(finished(panel.widget), 20)
    assert panel.parameters.outputSegmentation.GetName() == "Somebody else segmentation"
    assert np.abs(mrml.corners(panel.parameters.outputProbability) - mrml.corners(panel.volume)).max() < MM


def test_a_frame_of_a_sequence_is_a_volume(panel: Any) -> None:
    """The one that is shown is segmented; the sequence itself is refused in words."""
    import slicer

    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.sequences import sequence_from_volumes

    frames = [volume_from_node(panel.volume)] * 3
    sequence = sequence_from_volumes(frames, "4D")
    shown = slicer.util.getFirstNodeByClassByName("vtkMRMLScalarVolumeNode", "4D")
    panel.parameters.inputVolume = shown
    run(panel)
    assert find(panel.widget, "problemText").text == "" and list(named_of(panel)) == list(NAMES)
    with pytest.raises(ValueError, match="“4D” is not a volume"):
        panel.widget.logic.process(sequence, model="tiny-seg")


@pytest.mark.parametrize("broken", ["labels.nrrd", "segments.csv"])
def test_a_broken_file_leaves_the_scene_as_it_was(panel: Any, broken: str) -> None:
    (panel.made.folder / broken).write_text("segment,label\n1\n")
    before = scene_text()
    run(panel)
    assert find(panel.widget, "problemText").text and scene_text() == before


def test_cancel_leaves_the_scene_as_it_was(panel: Any) -> None:
    cancel(panel)
    assert "Cancelled" in find(panel.widget, "statusText").text


# --- a first segmentation


def test_a_first_segmentation_is_taken_from_anywhere(panel: Any) -> None:
    """On a grid of its own, the volume under a transform; by the names of its segments, or in their order."""
    anomalies.oblique(panel.volume)
    parameters, labels = panel.parameters, panel.made.labels
    parameters.method, parameters.start = "pd-ddpm", "segmentation"
    assert tooltip(panel) == ""  # without one, the model's own network makes it
    for names, expected in (
        ((NAMES[1], NAMES[0]), labels),
        (("b", "a"), np.array([0, 2, 1])[labels]),
        (("rest", NAMES[0].lower()), 1 * (labels == 1)),
    ):
        parameters.firstSegmentation = segments.drawn(panel.volume, names)
        with pytest.warns(Notice, match="“drawn.*” lies on another grid than “Patient”"):
            given = job_of(panel)["inputs"]["first"]
        assert given.shape == labels.shape and (given.array != expected).mean() < 0.01, names


def test_what_was_done_to_a_first_segmentation_is_told(panel: Any) -> None:
    parameters = panel.parameters
    parameters.method, parameters.start = "pd-ddpm", "segmentation"
    parameters.firstSegmentation = segments.drawn(panel.volume, ("Brain stem", NAMES[0]))
    run(panel)
    log = find(panel.widget, "log").toPlainText()
    assert "lies on another grid than “Patient”" in log and "does not know “Brain stem”: left out" in log
    assert find(panel.widget, "problemText").text == ""


def test_more_segments_than_the_model_knows(panel: Any) -> None:
    """None of them called as one of the model's: nobody can tell which are meant."""
    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.segmentations import segmentation_from_labels

    grid = volume_from_node(panel.volume)
    labels = panel.made.labels.copy()
    labels[0, 0, 0] = 3
    parameters = panel.parameters
    parameters.method, parameters.start = "pd-ddpm", "segmentation"
    parameters.firstSegmentation = segmentation_from_labels(grid.with_array(labels), {}, "many")
    press(panel.widget, "applyButton")
    words = find(panel.widget, "problemText").text
    assert "“many” has 3 segments" in words and f"rename those that are meant to “{NAMES[0]}”" in words
    parameters.firstSegmentation.GetSegmentation().GetSegment("Segment_2").SetName(NAMES[1])
    assert np.array_equal(job_of(panel)["inputs"]["first"].array, 2 * (labels == 2))


def test_a_first_segmentation_elsewhere_is_refused_in_words(panel: Any) -> None:
    parameters = panel.parameters
    parameters.method, parameters.start = "pd-ddpm", "segmentation"
    parameters.firstSegmentation = segments.drawn(panel.volume, NAMES, shift=500.0)
    before = scene_text()
    press(panel.widget, "applyButton")
    assert "both lie at the same place" in find(panel.widget, "problemText").text
    assert scene_text() == before and panel.widget.job is None
    parameters.firstSegmentation = panel.volume
    assert "label map or a segmentation" in tooltip(panel)
    with pytest.raises(ValueError, match="Leave out the first segmentation"):
        panel.widget.logic.process(panel.volume, low=100.0, model="tiny-seg", method="unet")


# --- what cannot be used, or not well


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda array: array - 1000, "is it CT"),
        (lambda array: (array > 500).astype(np.float32), "label map"),
        (lambda array: np.zeros((12, 20, 50), np.float32) + np.arange(50), "much larger"),
        (lambda array: array[:5], "shows much less"),
    ],
)
def test_an_image_of_another_kind_is_warned_of(panel: Any, change: Any, words: str) -> None:
    import slicer

    assert not find(panel.widget, "domainWarning").visible
    slicer.util.updateVolumeFromArray(panel.volume, change(voxels(panel.volume).copy()))
    panel.widget.refresh()
    assert words in find(panel.widget, "domainWarningText").text and tooltip(panel) == ""


def test_another_spacing_is_resampled_and_told_and_a_tiny_crop_refused(panel: Any) -> None:
    cost = find(panel.widget, "cost").text
    assert "network calls." in cost and "slices" not in cost
    panel.volume.SetSpacing(2.0, 2.0, 2.0)
    panel.widget.refresh()
    assert "resampled to 1 × 1 × 1 mm" in find(panel.widget, "domainWarningText").text and tooltip(panel) == ""
    panel.volume.SetSpacing(0.1, 1.0, 1.0)
    panel.widget.refresh()
    assert "choose one of 4 or more along each axis" in tooltip(panel)


# --- as text, and many at a time


def test_the_job_as_text(panel: Any) -> None:
    import slicer

    panel.parameters.model, panel.parameters.fusion, panel.parameters.smoothing = "tiny-three", "vote", 1.5
    panel.parameters.inputVolume2, panel.parameters.inputVolume3 = segments.crop("T1"), segments.crop("T2")
    press(panel.widget, "copyCommand")
    words = shlex.split(slicer.app.clipboard().text().splitlines()[-1])
    assert words[:3] == ["meddiff", "segment", "Patient.nrrd"]
    assert [words[k + 1] for k, word in enumerate(words) if word == "--channel"] == ["T1.nrrd", "T2.nrrd"]
    assert "vote" in words and "1.5" in words and "--low" not in words
    assert copied_call(panel.widget) == panel.widget.logic.arguments(panel.parameters) | {"parameters": None}


def test_many_volumes_one_after_the_other(panel: Any) -> None:
    """What is wrong with one does not keep the others from it; each has its own first segmentation."""
    volumes, processes = [panel.volume, segments.crop("Small", (2, 20, 18)), segments.crop("Third")], children()
    first = segments.drawn(panel.volume, NAMES)
    how = {"model": "tiny-seg", "method": "pd-ddpm", "samples": 1}
    found = panel.widget.logic.processMany(volumes, firstSegmentations=[first, first, None], **how)
    assert [bool(done.problem) for done in found] == [False, True, False] and "4 or more" in found[1].problem
    assert [done.nodes["labels"].GetName() for done in (found[0], found[2])] == [
        "Patient segmentation",
        "Third segmentation",
    ]
    assert children() <= processes
    with pytest.raises(ValueError, match="came for 3 volumes"):
        panel.widget.logic.processMany(volumes, firstSegmentations=[first])
    with pytest.raises(TypeError, match="outputTable"):
        panel.widget.logic.processMany(volumes, outputTable=None)


def test_the_code_of_the_tutorial_runs(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as somebody would paste it; the truth of the phantom serves as a reference."""
    import slicer

    from MedDiffusionLib.samples import loadPhantom

    logic = type(panel.widget.logic)
    use_fake(panel.widget.logic, "ok", 0.1, str(panel.made.folder))
    monkeypatch.setattr(logic, "makeWorker", staticmethod(panel.widget.logic.makeWorker))
    volume, crop = loadPhantom("Hippocampus"), loadPhantom("Hippocampus")
    crop.SetName("crop")
    text = (panels.ROOT / "docs" / "tutorial-segmentation.md").read_text(encoding="utf-8")
    there: dict[str, Any] = {"slicer": slicer}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, there)  # noqa: S102 - that is what the tutorial tells people to do
    assert there["done"].source is crop and there["done"].problem == ""
    truth = slicer.util.getNode("Truth")
    assert list(named(truth)) == list(NAMES)
    panel.parameters.inputVolume, panel.parameters.referenceSegmentation = volume, truth
    assert set(np.unique(job_of(panel)["inputs"]["reference"].array)) == {0, 1, 2}


# --- with the real worker


def _is_of(segmentation: Any, volume: Any) -> None:
    """Colours, codes and origin of the segments are those of the model; voxels and surfaces lie in the volume."""
    from MedDiffusionLib import catalogue
    from MedDiffusionLib.segmentations import LABELMAP, SURFACE

    known = catalogue.model("tiny-seg").segments
    assert segmentation.CreateClosedSurfaceRepresentation()
    for one, about in zip(named(segmentation).values(), known, strict=True):
        assert (one.GetName(), np.abs(np.subtract(one.GetColor(), about.colour)).max() < MM) == (about.name, True)
        assert "^".join(about.code) in one.GetTerminology()
        told = vtk.reference("")
        assert one.GetTag("DICOM.SegmentAlgorithmName", told) and str(told) == "MedDiffusion pd-ddpm tiny-seg 1.0.0"
        image, matrix = one.GetRepresentation(LABELMAP), vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        there = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
        assert np.abs(np.array(there) - anomalies.matrix_of(volume)).max() < MM
        scalars = image.GetPointData().GetScalars()
        z, y, x = np.nonzero(vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]) == one.GetLabelValue())
        own = np.stack([x, y, z, np.ones_like(x)], -1) @ anomalies.matrix_of(volume).T
        surface = vtk_to_numpy(one.GetRepresentation(SURFACE).GetPoints().GetData()).astype(float)
        assert np.abs(surface.mean(0) - own[:, :3].mean(0)).max() < 1.5, "mm, of a surface and what is in it"
    assert segmentation.GetTransformNodeID() == volume.GetTransformNodeID() is not None
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is volume


def test_from_the_panel_to_segments_with_the_real_worker(host: Any, known: None) -> None:
    """Under an oblique transform, from a drawn segmentation; `process` gives the same voxels; a long run is stopped."""
    import mrml

    from MedDiffusionLib.labels import labels_on_grid

    volume, processes = segments.crop(), children()
    anomalies.oblique(volume)
    widget = panels.load(host, "DiffusionSegment").enter()
    parameters = widget._parameterNode
    first = segments.drawn(volume, (NAMES[1], NAMES[0]))
    told = {"model": "tiny-seg", "method": "pd-ddpm", "samples": 2, "seed": 5, "preset": "fast"}
    more = {"start": "segmentation", "firstSegmentation": first, "referenceSegmentation": first, "keepWarm": False}
    for name, value in {**told, **more}.items():
        setattr(parameters, name, value)
    press(widget, "applyButton")
    host.wait(finished(widget), 240)
    assert find(widget, "problemText").text == ""
    assert list(named(parameters.outputSegmentation)) == list(NAMES) and children() <= processes
    _is_of(parameters.outputSegmentation, volume)
    probability = parameters.outputProbability
    for node in (probability, parameters.outputUncertainty):
        assert np.abs(mrml.corners(node) - mrml.corners(volume)).max() < MM
    assert 0 <= voxels(probability).min() <= voxels(probability).max() <= 1.001
    table = parameters.outputTable.GetTable()
    names = [table.GetColumnName(k) for k in range(table.GetNumberOfColumns())]
    assert names[:4] == ["segment", "label", "volume_mm3", "expected_volume_mm3"] and "dice" in names
    if "Nothing was found" not in find(widget, "statusText").text:
        labels = labels_on_grid(parameters.outputSegmentation, volume).array
        volumes = [float(table.GetColumnByName("volume_mm3").GetValue(k)) for k in range(2)]
        size = float(np.prod(volume.GetSpacing()))
        assert np.allclose([(labels == k).sum() * size for k in (1, 2)], volumes, rtol=1e-4)

    made = type(widget.logic)().process(volume, firstSegmentation=first, **told)
    assert np.array_equal(voxels(made["probability"]), voxels(probability)) and "each" not in made

    parameters.method, parameters.recipeParameters, parameters.samples = "implicit-ensemble", '{"steps": 900}', 16
    before = scene_text()
    press(widget, "applyButton")
    host.wait(lambda: find(widget, "progress").maximum > 0, 120)
    press(widget, "applyButton")
    host.wait(finished(widget), 10)
    assert scene_text() == before and children() <= processes


def test_lesions_in_slices_of_three_contrasts_with_the_real_worker(host: Any, known: None) -> None:
    """The panel asks for all contrasts; the segment of the model lies where they lie, under their transform."""
    import mrml

    flair, t1, t2 = (segments.crop(name) for name in ("FLAIR", "T1", "T2"))
    anomalies.oblique(flair)
    for other in (t1, t2):
        other.SetAndObserveTransformNodeID(flair.GetTransformNodeID())
    widget = panels.load(host, "DiffusionSegment").enter()
    parameters, told = widget._parameterNode, {"samples": 2, "method": "pd-ddpm", "preset": "fast", "keepWarm": False}
    for name, value in {"inputVolume": flair, "model": "tiny-slices", **told}.items():
        setattr(parameters, name, value)
    assert "Choose the input “T1”" in find(widget, "applyButton").toolTip
    parameters.inputVolume2, parameters.inputVolume3 = t1, t2
    assert f"for each of {segments.SHAPE[0]} slices" in find(widget, "cost").text
    press(widget, "applyButton")
    host.wait(finished(widget), 240)
    assert find(widget, "problemText").text == ""
    (name, segment), *others = named(parameters.outputSegmentation).items()
    assert (name, others) == ("MS lesion", []) and "SCT^52988006^Lesion" in segment.GetTerminology()
    assert parameters.outputSegmentation.GetTransformNodeID() == flair.GetTransformNodeID()
    assert np.abs(mrml.corners(parameters.outputProbability) - mrml.corners(flair)).max() < MM
