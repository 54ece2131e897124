"""Diffusion Register: what a worker is told, what becomes of its files; once with the real worker, by tiny models."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import anomalies
import mrml
import numpy as np
import panels
import pytest
import registers
from panels import cancel, children, copied_call, find, finished, press, run, scene_text, tooltip, use_fake, voxels
from scipy import ndimage

from meddiff.errors import Notice

MM = 1e-6
LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registers.models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def known(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models, and the methods of the engine as it is."""
    panels.know(tiny, monkeypatch)


@pytest.fixture
def panel(host: Any, known: None, tmp_path: Path) -> Any:
    """The panel with two crops chosen, and the smallest model."""
    return registers.open_panel(host, tmp_path)


def job_of(panel: Any) -> dict[str, Any]:
    """The job of a panel, its files read instead of named; the initial transform as a matrix."""
    from meddiff.vectors import read_linear
    from meddiff.volume import read

    logic = panel.widget.logic
    job = logic.makeJob(logic.arguments(panel.parameters))
    try:
        files = {n: read_linear(path) if n == "initial" else read(path) for n, path in job["inputs"].items()}
        return {**job, "inputs": files}
    finally:
        logic.discard(job)


def linear(seed: int, name: str, shift: float = 4.0) -> Any:
    """A transform that turns, stretches and shifts a little."""
    import slicer

    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(np.eye(3) + 0.15 * rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.sign(np.diag(turn)) @ np.diag(rng.uniform(0.9, 1.1, 3))
    matrix[:3, 3] = rng.uniform(-shift, shift, 3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(mrml.matrix(matrix))
    return node


def bent(name: str = "bent") -> Any:
    made = mrml.grid_transform(np.random.default_rng(0), name)
    made.SetName(name)
    return made


def whole(transform: Any) -> Any:
    """A transform with those above it, to the world."""
    import vtk

    general = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(general)
    return general


def flatten(*nodes: Any) -> None:
    import slicer

    for node in nodes:
        slicer.util.updateVolumeFromArray(node, voxels(node)[:1].copy())


def put(node: Any, *transforms: Any) -> None:
    """A node under transforms, the first one next to it."""
    for transform in transforms:
        node.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
        node = transform


def world(node: Any, lps: np.ndarray) -> np.ndarray:
    """Where places (LPS mm, own coordinates) of a node are seen, RAS."""
    return mrml.to_world(node, lps * LPS)


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def seen_through(transform: Any, moving: Any, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of `moving`, lying under `transform` alone, at places (N, 3) of the world, and which of these it has;
    by MRML and scipy, without the code under test."""
    import slicer
    import vtk

    moving.SetAndObserveTransformNodeID(transform.GetID())
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, moving.GetParentTransformNode(), general)
    own = np.array([general.TransformPoint(*place) for place in places])
    index = grid_index(moving, own)[:, ::-1]
    array = voxels(moving).astype(float)
    inside = ((index >= 0) & (index <= np.array(array.shape) - 1)).all(-1)
    return ndimage.map_coordinates(array, index.T, order=1), inside


def through(transform: Any, places: np.ndarray) -> np.ndarray:
    return np.array([transform.TransformPoint(*place) for place in places])


def grid_place(node: Any, index: np.ndarray) -> np.ndarray:
    """Own RAS of a voxel (i, j, k)."""
    return (anomalies.matrix_of(node) @ [*index, 1])[:3]


def grid_index(node: Any, own: np.ndarray) -> np.ndarray:
    """(i, j, k) of places (N, 3), own RAS."""
    return moved(np.linalg.inv(anomalies.matrix_of(node)), own)


def places_of(node: Any) -> np.ndarray:
    """Where the voxels of a volume node are seen, RAS (N, 3), the last axis fastest."""
    z, y, x = np.indices(voxels(node).shape)
    own = np.stack([x, y, z, np.ones_like(x)], -1).reshape(-1, 4) @ anomalies.matrix_of(node).T
    return mrml.to_world(node, own[:, :3])


# --- what is offered, and what the worker is told


def test_without_a_model_the_panel_waits(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence on top and in the tooltip; the module tests itself nevertheless."""
    from MedDiffusionLib import catalogue

    monkeypatch.setattr(catalogue, "models", lambda task=None: ())
    panel.parameters.model = ""
    panel.widget.enter()
    sentence = find(panel.widget, "requirementText").text
    assert "Install a model" in sentence and sentence in tooltip(panel)
    test = sys.modules["DiffusionRegister"].DiffusionRegisterTest()
    test.messageDelay = 0
    test.runTest()


def test_the_settings_reach_the_job(panel: Any) -> None:
    """Every control, as the engine names it, and no setting that other tasks have."""
    from MedDiffusionLib import catalogue

    job = job_of(panel)
    assert set(job["options"]) == {option.name for option in catalogue.task("register").options}
    assert set(job["options"].values()) == {"balanced", "auto", "diffeomorphic"}
    assert list(job["inputs"]) == ["volume", "fixed"]
    for name, node in (("volume", panel.moving), ("fixed", panel.fixed)):
        assert np.array_equal(job["inputs"][name].array, voxels(node))
    for name, index in (("align", 2), ("deformation", 1), ("similarity", 2)):
        find(panel.widget, name).setCurrentIndex(index)
    panel.widget.ui.method.presets["best"].click()
    panel.widget.editors.editors["refine"].setValue(7)
    panel.widget.editors.editors["frames"].setValue(5)
    job = job_of(panel)
    assert job["options"] == {"preset": "best", "align": "rigid", "deformation": "free", "similarity": "mind"}
    assert job["parameters"] == {"refine": 7, "frames": 5} and tooltip(panel) == ""
    assert find(panel.widget, "samples").isHidden() and find(panel.widget, "batch").isHidden()


def test_figures_of_the_advice_are_measured(panel: Any) -> None:
    """Every number with a point in it stands in the benchmark, rounded as it is told, as such or in percent."""
    from MedDiffusionLib.words import REGISTER_ADVICE

    assert find(panel.widget, "advice").text == REGISTER_ADVICE
    told = re.findall(r"\d+\.\d+", REGISTER_ADVICE)
    path = panels.ROOT / "docs" / "benchmarks" / "register.json"
    text = path.read_text(encoding="utf-8") if told else ""
    measured = [scale * float(number) for number in re.findall(r"-?\d+\.\d+", text) for scale in (1, 100)]
    for number in told:
        decimals = len(number.partition(".")[2])
        assert any(f"{value:.{decimals}f}" == number for value in measured), number


def test_refinement_costs_time(panel: Any) -> None:
    from MedDiffusionLib.registering import STEP_SECONDS

    logic = panel.widget.logic
    arguments = logic.arguments(panel.parameters)
    quick, slow = (logic.cost({**arguments, "parameters": {"refine": n}}) for n in (0, 100))
    assert slow.seconds - quick.seconds == pytest.approx(100 * STEP_SECONDS * 12 * 18 * 22 / 1e6, rel=0.2)
    assert "network calls" in find(panel.widget, "cost").text


def test_a_baseline_is_needed_by_one_method_alone(panel: Any) -> None:
    panel.parameters.model, panel.parameters.method = "tiny-alone", "voxelmorph"
    assert "Install the model “not-here”" in tooltip(panel)
    panel.parameters.method = "diffusemorph"
    assert tooltip(panel) == ""
    panel.parameters.model, panel.parameters.method = "tiny-voxelmorph", "voxelmorph"
    assert tooltip(panel) == ""


# --- where it starts


@pytest.mark.parametrize("over", ["none", "one", "both", "chain"])
def test_the_start_is_what_is_seen(panel: Any, over: str) -> None:
    """A place of the fixed volume and that of the moving one that the job names are seen at one place in the world; a
    given transform, under another itself or not, counts on top of what lies over the moving volume."""
    over_moving = {"none": [None], "chain": [linear(1, "a"), linear(2, "b")]}.get(over, [linear(3, "c")])
    over_fixed = [linear(4, "d")] if over in ("both", "chain") else [None]
    put(panel.moving, *over_moving)
    put(panel.fixed, *over_fixed)
    points = np.random.default_rng(0).uniform(-20, 20, (6, 3))
    for initial in (None, linear(5, "given"), linear(6, "lower")):
        if initial is not None and initial.GetName() == "lower":
            put(initial, linear(7, "upper"))
        panel.parameters.initialTransform = initial
        job = job_of(panel)
        if over == "none" and initial is None:
            assert "initial" not in job["inputs"] and job["options"]["align"] == "auto"
            continue
        assert job["options"]["align"] == ("affine" if initial is None else "auto")
        there = world(panel.moving, moved(job["inputs"]["initial"], points))
        there = there if initial is None else through(whole(initial), there)
        assert np.abs(there - world(panel.fixed, points)).max() < 1e-4, "mm"


def test_both_under_one_transform_need_no_start(panel: Any) -> None:
    parent = linear(1, "both")
    put(panel.moving, parent)
    put(panel.fixed, parent)
    job = job_of(panel)
    assert "initial" not in job["inputs"] and job["options"]["align"] == "auto"


def test_volumes_that_are_apart_start_on_each_other(panel: Any) -> None:
    """As the engine does where it sees it; here only the transforms tell. Not where nothing may be aligned."""
    far = linear(2, "far", 1.0)
    far.SetMatrixTransformToParent(mrml.matrix(np.array([[1, 0, 0, 300.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])))
    put(panel.moving, far)
    panel.widget.refresh()
    assert "no room in common: their centres" in find(panel.widget, "domainWarningText").text
    with pytest.warns(Notice, match="their centres were put on each other"):
        start = job_of(panel)["inputs"]["initial"]
    centres = [places_of(node).mean(0) for node in (panel.fixed, panel.moving)]
    there = world(panel.moving, moved(start, centres[0][None] * LPS))[0]
    assert np.abs(there - centres[1]).max() < 1e-3
    panel.parameters.align = "none"
    start = job_of(panel)["inputs"]["initial"]
    assert np.abs(world(panel.moving, moved(start, np.zeros((1, 3))))).max() < 1e-3
    panel.parameters.align, panel.parameters.method = "auto", "ddm-4d"
    assert job_of(panel)["options"]["align"] == "auto"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: setattr(p.parameters, "fixedVolume", None), "Choose the input “Fixed”"),
        (lambda p: setattr(p.parameters, "movingVolume", p.fixed), "“Fixed” is chosen as the fixed and as the moving"),
        (lambda p: put(p.moving, bent()), "“Moving” lies under “bent”, which is not linear: harden it"),
        (lambda p: put(p.fixed, linear(0, "a"), bent()), "“Fixed” lies under “a”, which is not linear"),
        (lambda p: setattr(p.parameters, "initialTransform", bent()), "“bent” is not linear; choose a rigid or affine"),
        (lambda p: setattr(p.parameters, "fixedLabels", registers.blocks(p.fixed)), "Choose labels of the moving"),
        (lambda p: setattr(p.parameters, "movingLabels", p.fixed), "Choose a label map or a segmentation"),
        (lambda p: flatten(p.moving), "not a single slice: “Moving”; take"),
        (lambda p: flatten(p.fixed, p.moving), "not a single slice: “Moving” and “Fixed”"),
        (lambda p: setattr(p.parameters, "outputVolume", p.moving), "another node for the output “Warped”"),
        (lambda p: p.moving.SetSpacing(0.1, 1.0, 1.0), "4 or more along each axis"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_in_words(panel: Any, change: Any, words: str) -> None:
    change(panel)
    panel.widget.refresh()
    assert words in tooltip(panel)


def test_an_initial_transform_counts_once(panel: Any) -> None:
    """One that lies over the moving volume already is no start beside it."""
    mine, upper = linear(3, "mine"), linear(4, "upper")
    put(panel.moving, mine, upper)
    for transform in (mine, upper):
        panel.parameters.initialTransform = transform
        assert f"“{transform.GetName()}” lies over the moving volume and counts already" in tooltip(panel)
    panel.parameters.initialTransform, panel.parameters.align = linear(5, "other"), "centres"
    assert "another alignment than the centres" in tooltip(panel)
    panel.parameters.align = "rigid"
    assert tooltip(panel) == "" and job_of(panel)["options"]["align"] == "rigid"


# --- labels


def test_labels_of_both_go_by_name(panel: Any) -> None:
    """Each on the grid of its own volume; what has one name in both has one number."""
    put(panel.moving, linear(1, "over"))
    panel.parameters.movingLabels = registers.blocks(panel.moving)
    panel.parameters.fixedLabels = registers.blocks(panel.fixed, ("Back", "Front"))
    found = job_of(panel)["inputs"]
    assert np.array_equal(found["moving_labels"].array, registers.block_labels(panel.moving))
    assert np.array_equal(found["fixed_labels"].array, np.array([0, 2, 1])[registers.block_labels(panel.fixed)])
    panel.parameters.fixedLabels.GetSegmentation().GetSegment("Segment_1").SetName("Other")
    with pytest.warns(Notice, match="“Moving blocks” does not know “Other”: left out"):
        found = job_of(panel)["inputs"]
    assert set(np.unique(found["fixed_labels"].array)) == {0, 1}


# --- two frames of a sequence


@pytest.fixture
def series(panel: Any) -> Any:
    """Four phases, of which every one is brighter than the one before."""
    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.sequences import sequence_from_volumes

    volume = volume_from_node(panel.fixed)
    frames = [volume.with_array(volume.array + 10 * k) for k in range(4)]
    panel.sequence = sequence_from_volumes(frames, "4D", "time", "ms", [0, 20, 40, 60])
    panel.parameters.sequence, panel.parameters.pairKind = panel.sequence, "frames"
    panel.parameters.method = "ddm-4d"
    return panel


def test_two_frames_of_a_sequence(series: Any) -> None:
    """Their rows take the place of those of volumes; the job has the frames, the first one moving."""
    rows = series.widget.ui.inputs
    assert {name for name, row in rows.items() if not row.isHidden()} == {"sequence", "firstFrame", "lastFrame"}
    assert tooltip(series) == ""
    base = voxels(series.fixed)
    found = job_of(series)["inputs"]
    assert list(found) == ["volume", "fixed"]
    assert np.allclose(found["volume"].array, base) and np.allclose(found["fixed"].array, base + 30)
    find(series.widget, "firstFrame").setValue(3)
    find(series.widget, "lastFrame").setValue(2)
    found = job_of(series)["inputs"]
    assert np.allclose(found["volume"].array, base + 20) and np.allclose(found["fixed"].array, base + 10)
    find(series.widget, "lastFrame").setValue(3)
    assert "Frame 3 of “4D” is chosen twice" in tooltip(series)
    find(series.widget, "lastFrame").setValue(5)
    assert "“4D” has 4 frames; choose two of them" in tooltip(series)
    with pytest.raises(ValueError, match="or a sequence, not both"):
        series.widget.logic.process(series.fixed, sequence=series.sequence, model="tiny-morph")


def test_what_lies_between_two_frames_plays(series: Any) -> None:
    """Results lie where the sequence is shown, are named after it, and the path goes on in its time."""
    from MedDiffusionLib.hierarchy import proxy

    parent = linear(6, "over the series")
    put(proxy(series.sequence), parent)
    run(series)
    assert find(series.widget, "problemText").text == ""
    warped, path = series.parameters.outputVolume, series.parameters.outputFrames
    assert (warped.GetName(), path.GetName()) == ("4D warped", "4D path")
    assert warped.GetParentTransformNode() is proxy(path).GetParentTransformNode() is parent
    assert series.parameters.outputTransform.GetParentTransformNode() is parent
    assert [find(series.widget, "compareView").itemData(k) for k in range(2)] == ["path", None]
    times = [float(path.GetNthIndexValue(k)) for k in range(path.GetNumberOfDataNodes())]
    assert np.allclose(times, np.linspace(0, 60, registers.FRAMES)) and path.GetIndexName() == "time"
    assert path.GetIndexUnit() == "ms" and np.array_equal(voxels(path.GetNthDataNode(3)), series.made.frames[3])


# --- what comes out


def test_apply_gives_a_transform_and_the_way(panel: Any) -> None:
    from MedDiffusionLib import tables
    from MedDiffusionLib.hierarchy import provenance, proxy, source
    from MedDiffusionLib.hub import jobs
    from MedDiffusionLib.sequences import browser_of

    over_fixed, over_moving = linear(1, "over fixed"), linear(2, "over moving")
    put(panel.fixed, over_fixed)
    put(panel.moving, over_moving)
    for name in ("outputInverse", "outputPathTable"):
        find(panel.widget, f"want_{name}").click()
    run(panel)
    parameters = panel.parameters
    assert find(panel.widget, "problemText").text == ""
    status = find(panel.widget, "statusText").text
    assert "Similarity 0.31 before, 0.62 after." in status and "0.021 mm astray" in status and "Dice" not in status
    assert (
        "“Moving” lies under “over moving”: it starts from where it is seen" in find(panel.widget, "log").toPlainText()
    )
    made = {role.name: getattr(parameters, role.parameter) for role in panel.widget.logic.outputs()}
    assert made.pop("labels") is None
    what = ("warped", "transform", "inverse transform", "jacobian", "registration table", "path", "path table")
    assert [node.GetName() for node in made.values()] == [f"Moving {each}" for each in what]
    for name, node in made.items():
        mine = panel.moving if name == "inverse" else panel.fixed
        assert source(node) is mine and provenance(node)
        if name in ("warped", "displacement", "inverse", "jacobian"):
            assert node.GetParentTransformNode() is mine.GetParentTransformNode(), name
    for name in ("warped", "jacobian"):
        assert np.abs(mrml.corners(made[name]) - mrml.corners(panel.fixed)).max() < MM
    seen, inside = seen_through(made["displacement"], panel.moving, places_of(panel.fixed))
    assert inside.sum() > 500 and np.abs(seen - voxels(made["warped"]).ravel())[inside].max() < 1
    assert tables.read(made["registration"])["folds_percent"] == [0.0]
    (record,) = jobs.records()
    assert record.module == "DiffusionRegister" and "is not linear" in jobs.hindrance(record)
    put(panel.moving, over_moving)
    assert jobs.hindrance(record) == ""

    path, browser = made["frames"], browser_of(made["frames"])
    etas = [float(path.GetNthIndexValue(k)) for k in range(path.GetNumberOfDataNodes())]
    assert np.allclose(etas, np.linspace(0, 1, registers.FRAMES)) and path.GetIndexName() == "eta"
    assert np.allclose(tables.read(made["path"])["eta"], etas, atol=1e-5)
    for k, frame in enumerate(panel.made.frames):
        browser.SetSelectedItemNumber(k)
        assert np.array_equal(voxels(proxy(path)), frame)
    assert proxy(path).GetParentTransformNode() is over_fixed and browser.GetPlaybackRateFps() == 5
    before = browser.GetSelectedItemNumber()
    browser.SetPlaybackActive(True)
    panel.host.wait(lambda: browser.GetSelectedItemNumber() != before, 5)
    browser.SetPlaybackActive(False)


def test_a_comparison_of_textures_is_told(panel: Any) -> None:
    from MedDiffusionLib.hierarchy import set_provenance
    from MedDiffusionLib.registering import remark

    for similarity, words in (("mind", "Textures (MIND) were compared."), ("correlation", "")):
        set_provenance(panel.fixed, {"settings": {"similarity": similarity}})
        assert remark({"warped": panel.fixed}, {}) == words


def test_labels_are_brought_along_as_they_were_drawn(host: Any, known: None, tmp_path: Path) -> None:
    panel = registers.open_panel(host, tmp_path, labels=True)
    drawn = registers.blocks(panel.moving)
    entry = "Segmentation category and type - DICOM master list~SCT^85756007^Tissue~SCT^1^Mine~^^~Anatomic codes~^^~^^"
    drawn.GetSegmentation().GetSegment("Segment_2").SetTerminology(entry)
    panel.parameters.movingLabels, panel.parameters.fixedLabels = drawn, registers.blocks(panel.fixed)
    run(panel)
    assert "Dice 0.52 before, 0.78 after." in find(panel.widget, "statusText").text
    found = panel.parameters.outputLabels.GetSegmentation()
    made = [found.GetSegment(one) for one in found.GetSegmentIDs()]
    assert [one.GetName() for one in made] == ["Front", "Back"] and made[1].GetTerminology() == entry
    assert np.allclose([one.GetColor() for one in made], [(0.2, 0.6, 0.4), (0.9, 0.5, 0.1)])
    role = panel.parameters.outputLabels.GetReferenceImageGeometryReferenceRole()
    assert panel.parameters.outputLabels.GetNodeReference(role) is panel.fixed


@pytest.mark.parametrize("gone", ["outputTransform", "fixedVolume", "movingVolume"])
def test_a_node_that_is_removed_meanwhile(panel: Any, gone: str) -> None:
    """A result without its node gets a new one; without its volume it lies where that lay."""
    import slicer

    over = {"fixedVolume": linear(1, "over fixed"), "movingVolume": linear(2, "over moving")}
    for name, transform in over.items():
        put(getattr(panel.parameters, name), transform)
    find(panel.widget, "want_outputInverse").click()
    run(panel)
    use_fake(panel.widget.logic, "ok", 1.0, str(panel.made.folder))
    press(panel.widget, "applyButton")
    slicer.mrmlScene.RemoveNode(getattr(panel.parameters, gone))
    panel.host.wait(finished(panel.widget), 20)
    assert find(panel.widget, "problemText").text == ""
    assert panel.parameters.outputTransform.GetParentTransformNode() is over["fixedVolume"]
    assert panel.parameters.outputInverse.GetParentTransformNode() is over["movingVolume"]


@pytest.mark.parametrize("broken", ["displacement.nrrd", "frame-2.nrrd", "registration.csv"])
def test_a_broken_file_leaves_the_scene_as_it_was(panel: Any, broken: str) -> None:
    (panel.made.folder / broken).write_text("a,b\n1\n")
    before = scene_text()
    run(panel)
    assert find(panel.widget, "problemText").text and scene_text() == before


def test_cancel_leaves_the_scene_as_it_was(panel: Any) -> None:
    cancel(panel)


def test_a_saved_scene_has_the_same_transform(panel: Any, tmp_path: Path) -> None:
    """Between voxels, too."""
    import slicer

    run(panel)
    places = np.random.default_rng(0).uniform(-5, 5, (20, 3))

    def there(node: Any) -> np.ndarray:
        return np.array([node.GetTransformFromParent().TransformPoint(*place) for place in places])

    before = there(panel.parameters.outputTransform)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    panel.host.clear_scene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert np.abs(there(slicer.util.getNode("Moving transform")) - before).max() < 1e-3
    path = slicer.util.getFirstNodeByClassByName("vtkMRMLSequenceNode", "Moving path")
    assert path.GetNumberOfDataNodes() == registers.FRAMES


# --- compared


def test_ways_to_compare(panel: Any) -> None:
    """Blended at once; in turn, as a checkerboard and on the path by choice; the transform as a grid."""
    import slicer

    from MedDiffusionLib.hierarchy import proxy

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    panel.host.open_views()
    section, combo = find(panel.widget, "compareSection"), find(panel.widget, "compareView")
    assert not section.visible
    run(panel)
    warped, path = panel.parameters.outputVolume, panel.parameters.outputFrames

    def layers() -> tuple[Any, Any, float]:
        ids = view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()
        return (*(slicer.mrmlScene.GetNodeByID(each or "") for each in ids), round(view.GetForegroundOpacity(), 3))

    assert section.visible and layers() == (panel.fixed, warped, 0.5)
    find(panel.widget, "compareOpacity").setValue(0.8)
    assert layers() == (panel.fixed, warped, 0.8)
    combo.setCurrentIndex(combo.findData("flicker"))
    told = set()
    panel.host.wait(lambda: told.add(layers()[2]) or {0.0, 1.0} <= told, 10)
    combo.setCurrentIndex(combo.findData("board"))
    board, front, _opacity = layers()
    fixed, moved_array = voxels(panel.fixed), voxels(warped)
    of_fixed = np.isclose(voxels(board), fixed)
    assert front is None and 0.4 < of_fixed.mean() < 0.6 and of_fixed[:2, :2, :2].all()
    assert np.corrcoef(voxels(board)[~of_fixed], moved_array[~of_fixed])[0, 1] > 0.999
    panel.widget.refresh()
    assert combo.itemData(combo.currentIndex) == "board" and layers()[0] is board
    combo.setCurrentIndex(combo.findData("path"))
    assert layers() == (panel.fixed, proxy(path), 0.8)
    find(panel.widget, "compareGrid").click()
    display = panel.parameters.outputTransform.GetDisplayNode()
    assert display.GetVisibility2D() and display.GetVisualizationMode() == display.VIS_MODE_GRID
    find(panel.widget, "compareGrid").click()
    assert not display.GetVisibility2D()
    combo.setCurrentIndex(combo.findData("board"))
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    run(panel)
    assert combo.itemData(combo.currentIndex) == "blend" and layers()[:2] == (panel.fixed, warped)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count


# --- as text


def test_the_job_as_text(panel: Any) -> None:
    import slicer

    put(panel.moving, linear(1, "over"))
    panel.parameters.movingLabels = registers.blocks(panel.moving)
    panel.parameters.initialTransform, panel.parameters.similarity = linear(2, "start"), "mind"
    press(panel.widget, "copyCommand")
    text = slicer.app.clipboard().text()
    assert "# First harden the transforms over “Moving”" in text and "“start” (File > Save) as start.tfm" in text
    assert "label map on the grid of “Moving”" in text and "harden the transforms over “Fixed”" not in text
    words = shlex.split(text.splitlines()[-1])
    assert words[:3] == ["meddiff", "register", "Moving.nrrd"]
    told = dict(zip(words[3::2], words[4::2], strict=True))
    files = {"--fixed": "Fixed.nrrd", "--moving-labels": "Moving-blocks.nrrd", "--initial": "start.tfm"}
    assert told.items() >= {**files, "--similarity": "mind", "--align": "auto", "--model": "tiny-morph"}.items()
    assert copied_call(panel.widget) == panel.widget.logic.arguments(panel.parameters) | {"parameters": None}


def test_the_frames_as_text(series: Any) -> None:
    import slicer

    press(series.widget, "copyCommand")
    assert "# First save frame 4 of “4D” as 4D-4.nrrd" in slicer.app.clipboard().text()
    assert copied_call(series.widget) == series.widget.logic.arguments(series.parameters) | {"parameters": None}


def test_the_code_of_the_tutorial_runs(
    host: Any, known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Block after block, as somebody would paste it, with the run from the panel where the text has it."""
    import slicer

    from MedDiffusionLib.samples import loadPhantom

    fixed, moving = loadPhantom("Hippocampus"), loadPhantom("HippocampusOther")
    made = registers.results(moving, fixed, tmp_path, labels=True)
    panel = panels.open_prepared(host, "DiffusionRegister", fixed, made)
    parameters, logic = panel.parameters, type(panel.widget.logic)
    monkeypatch.setattr(logic, "makeWorker", staticmethod(panel.widget.logic.makeWorker))
    text = (panels.ROOT / "docs" / "tutorial-registration.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    there: dict[str, Any] = {"slicer": slicer}
    exec(first, there)  # noqa: S102 - that is what the tutorial tells people to do
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    parameters.fixedLabels, parameters.movingLabels = map(slicer.util.getNode, ("Truth of fixed", "Truth of moving"))
    truth = [np.unique(job_of(panel)["inputs"][name].array).tolist() for name in ("fixed_labels", "moving_labels")]
    assert truth == [[0, 1, 2], [0, 1, 2]]
    run(panel)
    exec(others[0], there)  # noqa: S102
    panel.widget.enter()  # back from the module Data
    assert moving.GetParentTransformNode() is parameters.outputTransform and "is not linear" in tooltip(panel)
    loadPhantom("HippocampusOther").SetName("crop")
    for block in others[1:]:
        exec(block, there)  # noqa: S102
    panel.widget.enter()
    assert tooltip(panel) == "" and there["other"].GetName() == "crop"
    assert capsys.readouterr().out.splitlines()[-2].endswith("0.000 % of the voxels fold")


# --- with the real worker


def test_from_the_panel_to_a_transform_with_the_real_worker(host: Any, known: None) -> None:
    """Both oblique, of other grids, each under a transform of its own: the moving volume under the transform that came
    out shows the warped voxels, to a grey level in 99 of 100; there is a way back; the same job, the same voxels."""
    import slicer

    (moving, fixed), processes = registers.crops(), children()
    put(moving, linear(3, "over moving", 2.0))
    put(fixed, linear(8, "over fixed", 2.0))
    widget = panels.load(host, "DiffusionRegister").enter()
    parameters = widget._parameterNode
    labels = registers.blocks(moving), registers.blocks(fixed)
    told = {"model": "tiny-morph", "method": "diffusemorph", "preset": "fast"}
    more = {"fixedVolume": fixed, "movingVolume": moving, "movingLabels": labels[0], "fixedLabels": labels[1]}
    for name, value in (told | more | {"keepWarm": False, "recipeParameters": '{"frames": 4}'}).items():
        setattr(parameters, name, value)
    find(widget, "want_outputInverse").click()
    press(widget, "applyButton")
    host.wait(finished(widget), 240)
    assert find(widget, "problemText").text == "" and children() <= processes
    warped, places = parameters.outputVolume, places_of(fixed)
    assert np.abs(mrml.corners(warped) - mrml.corners(fixed)).max() < MM
    seen, inside = seen_through(parameters.outputTransform, moving, places)
    off = np.abs(seen - voxels(warped).ravel())
    assert inside.mean() > 0.3 and (off[inside] < 1).mean() >= 0.99
    way, back = (getattr(parameters, name).GetTransformFromParent() for name in ("outputTransform", "outputInverse"))
    own = np.array([grid_place(fixed, index) for index in np.argwhere(np.ones(voxels(fixed).shape))[::11, ::-1]])
    there = through(way, own)
    ours, depth = grid_index(moving, there), 2
    inside = ((ours >= depth) & (ours <= np.array(voxels(moving).shape[::-1]) - 1 - depth)).all(1)
    assert inside.sum() > 20 and np.abs(through(back, there) - own)[inside].mean() < 0.5, "mm, there and back"
    fit = np.c_[own, np.ones(len(own))]
    bends = there - fit @ np.linalg.lstsq(fit, there, rcond=None)[0]
    assert np.abs(bends).max() > 0.1, "mm: it is more than an affine map"
    found = parameters.outputLabels.GetSegmentation()
    assert [found.GetSegment(one).GetName() for one in found.GetSegmentIDs()] == ["Front", "Back"]
    assert 0 <= slicer.util.arrayFromTableColumn(parameters.outputTable, "dice_after")[0] <= 1

    put(moving, slicer.util.getNode("over moving"))
    how = {name: more[name] for name in ("movingLabels", "fixedLabels")}
    made = type(widget.logic)().process(fixed, moving, parameters={"frames": 4}, wanted=["displacement"], **how, **told)
    assert np.array_equal(voxels(made["warped"]), voxels(warped)) and set(made) == {"warped", "displacement"}
    array = slicer.util.arrayFromGridTransform
    assert np.array_equal(array(made["displacement"]), array(parameters.outputTransform))

    parameters.recipeParameters = '{"refine": 500, "frames": 64}'
    before = scene_text()
    press(widget, "applyButton")
    host.wait(lambda: find(widget, "progress").maximum > 0, 120)
    press(widget, "applyButton")
    host.wait(finished(widget), 10)
    assert scene_text() == before and children() <= processes
