"""The tab Inpaint with the real worker and tiny models: what was drawn is painted over, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anomalies
import makings
import mrml
import numpy as np
import panels
import pytest
from panels import voxels

BALL, CUBE = (slice(1, 3), slice(20, 32), slice(12, 30)), (slice(3, 4), slice(40, 44), slice(30, 36))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return makings.models(tmp_path_factory.mktemp("models"))


def drawn(volume: Any, name: str = "Drawn") -> Any:
    """A segmentation with two segments on the grid of a volume."""
    from MedDiffusionLib.nodes import volume_from_node
    from MedDiffusionLib.segmentations import segmentation_from_labels

    grid = volume_from_node(volume)
    labels = np.zeros(grid.shape, np.uint8)
    labels[BALL], labels[CUBE] = 1, 2
    names = {1: "lesion", 2: "cyst"}
    return segmentation_from_labels(grid.with_array(labels), names, name, reference=volume)


@pytest.fixture
def tab(host: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The tab, with a volume and what was drawn on it."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    volume = panels.brain("Anna T1", (5, 60, 52))
    segmentation = drawn(volume)
    opened = makings.open_tab(host, "Inpaint")
    makings.set_up(opened, model="tiny-health", inputSegments=segmentation, put="healthy")
    opened.volume, opened.drawn = volume, segmentation
    return opened


def mask(*parts: Any) -> np.ndarray:
    found = np.zeros((5, 60, 52), bool)
    for part in parts:
        found[part] = True
    return found


def engine(tiny: Path, tab: Any, inside: np.ndarray, model: str = "tiny-health", **asked: Any) -> Any:
    """What the engine makes of the same request."""
    from meddiff.inpainting import inpaint
    from meddiff.models import load
    from meddiff.sampling import drain
    from MedDiffusionLib.nodes import volume_from_node

    volume = volume_from_node(tab.volume)
    what = volume.with_array(inside.astype(np.uint8))
    return drain(inpaint(volume, what, load(tiny / model, "cpu"), preset="fast", seed=5, **asked))


def test_what_was_drawn_is_painted_and_nothing_else(tab: Any, tiny: Path) -> None:
    """Volume and drawing lie under an oblique transform: the result does, too, to 1e-6 mm."""
    transform = anomalies.oblique(tab.volume)
    tab.drawn.SetAndObserveTransformNodeID(transform.GetID())
    assert (tab.parameters.contrast, panels.tooltip(tab)) == ("T1", "")
    makings.apply(tab)
    made, before, inside = tab.parameters.outputVolume, voxels(tab.volume), mask(BALL, CUBE)
    assert np.array_equal(voxels(made)[~inside], before[~inside].astype(np.float32))
    assert np.abs(voxels(made)[inside] - before[inside]).mean() > 1
    truth = engine(tiny, tab, inside, contrast="T1", put="healthy").images[0]
    assert np.allclose(voxels(made), truth.array, rtol=1e-4, atol=1e-2)
    assert made.GetTransformNodeID() == transform.GetID() and made.GetName() == "Anna T1 healthy"
    assert np.abs(mrml.corners(made) - mrml.corners(tab.volume)).max() < 1e-6
    display = tab.drawn.GetDisplayNode()  # of the drawing the outline alone is left, so that the result can be seen
    assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()


def test_one_segment_of_several(tab: Any, tiny: Path) -> None:
    cyst = tab.drawn.GetSegmentation().GetSegmentIdBySegmentName("cyst")
    makings.set_up(tab, segment=cyst, put="lesion")
    makings.apply(tab)
    made, before = voxels(tab.parameters.outputVolume), voxels(tab.volume)
    assert np.array_equal(made[~mask(CUBE)], before[~mask(CUBE)].astype(np.float32)) and (made != before).any()
    truth = engine(tiny, tab, mask(CUBE), contrast="T1", put="lesion").images[0]
    assert np.allclose(made, truth.array, rtol=1e-4, atol=1e-2)
    assert tab.parameters.outputVolume.GetName() == "Anna T1 with a lesion"


def test_several_answers_are_a_sequence_with_a_spread(tab: Any, tiny: Path) -> None:
    from MedDiffusionLib.sequences import browser_of, volumes_from_sequence

    makings.set_up(tab, samples=2)
    makings.apply(tab)
    parameters, truth = tab.parameters, engine(tiny, tab, mask(BALL, CUBE), contrast="T1", samples=2)
    answers = volumes_from_sequence(parameters.outputSequence)
    assert [parameters.outputSequence.GetNthIndexValue(k) for k in range(2)] == ["1", "2"]
    for answer, volume in zip(answers, truth.images, strict=True):
        assert np.allclose(answer.array, volume.array, rtol=1e-4, atol=1e-2)
    assert np.array_equal(voxels(parameters.outputVolume), answers[0].array)
    spread = voxels(parameters.outputUncertainty)
    assert browser_of(parameters.outputSequence) is not None
    assert spread[mask(BALL, CUBE)].mean() > 0 and not spread[~mask(BALL, CUBE)].any()


def test_a_model_that_was_told_nothing_paints_anything(tab: Any, tiny: Path) -> None:
    makings.set_up(tab, model="tiny-anything")
    assert tab.parameters.put == "anything" and panels.tooltip(tab) == ""
    rows = tab.widget.ui.inputs
    assert rows["contrast"].isHidden() and rows["put"].count == 1
    makings.apply(tab)
    truth = engine(tiny, tab, mask(BALL, CUBE), "tiny-anything", put="anything").images[0]
    assert np.allclose(voxels(tab.parameters.outputVolume), truth.array, rtol=1e-4, atol=1e-2)


def test_guidance_has_a_slider_of_its_own(tab: Any) -> None:
    import json

    slider = tab.widget.guidance.slider
    assert slider.isHidden()
    makings.set_up(tab, method="guided-repaint")
    assert not slider.isHidden() and slider.value == 3.0
    slider.setValue(5.0)
    assert json.loads(tab.parameters.recipeParameters) == {"guidance": 5.0}
    assert tab.widget.arguments()["parameters"] == {"guidance": 5.0}


@pytest.mark.parametrize("kind", ["segmentation", "label map"])
def test_the_estimate_knows_how_much_the_network_will_see(tab: Any, tiny: Path, kind: str) -> None:
    from meddiff.inpainting import window
    from meddiff.models import load
    from meddiff.placing import Placed
    from MedDiffusionLib.hub import inpainting
    from MedDiffusionLib.nodes import grid_from_node, node_from_volume, volume_from_node

    node, inside = tab.drawn, mask(BALL)
    if kind == "label map":
        labels = volume_from_node(tab.volume).with_array(inside.astype(np.uint8))
        node = node_from_volume(labels, "drawn", kind="labelmap")
    segment = tab.drawn.GetSegmentation().GetSegmentIdBySegmentName("lesion") if node is tab.drawn else ""
    makings.set_up(tab, inputSegments=node, segment=segment)
    arguments = tab.widget.arguments()
    model, grid = tab.widget.logic.model("tiny-health"), grid_from_node(tab.volume)
    size = inpainting.seen(model, grid, inpainting.box(arguments))
    placed = Placed.of((volume_from_node(tab.volume),), load(tiny / "tiny-health", "cpu"))
    rows = [part.stop - part.start for part in window(inside, placed)]
    assert size is not None and size[0] == 2 and np.abs(np.subtract(size[1:], rows)).max() <= 1
    place, middle = inpainting.centre(arguments), [(part.start + part.stop - 1) / 2 for part in BALL[::-1]]
    assert np.allclose(place, (anomalies.matrix_of(tab.volume) @ (*middle, 1.0))[:3], atol=1e-3)
    assert "for each of 2 slices" in tab.widget.ui.run.cost.text


def test_the_console_and_the_command_line_give_the_same_voxels(tab: Any, tiny: Path, tmp_path: Path) -> None:
    import slicer

    from meddiff.volume import read, write
    from MedDiffusionLib.labels import labels_on_grid

    makings.apply(tab)
    made = voxels(tab.parameters.outputVolume).copy()
    asked = {**panels.copied_call(tab.widget), "outputVolume": None}
    assert np.array_equal(voxels(type(tab.widget.logic)().process(**asked)["image"]), made)
    assert slicer.util.saveNode(tab.volume, str(tmp_path / "Anna-T1.nrrd"))
    write(labels_on_grid(tab.drawn, tab.volume), tmp_path / "Drawn.nrrd")
    makings.run_as_command(tab, tiny, tmp_path)
    (file,) = tmp_path.rglob("inpainted.nrrd")
    assert np.array_equal(read(file).array, made)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"inputSegments": None}, "Choose the input “Paint over”"),
        ({"contrast": ""}, "choose its contrast"),
        ({"contrast": "PD"}, "does not know the contrast “PD”"),
        ({"put": "rubbish"}, "cannot be asked for “rubbish”"),
        ({"model": "tiny-anything"}, "cannot be asked for “healthy”"),
    ],
)
def test_what_cannot_be_painted_is_said_and_apply_is_grey(tab: Any, values: dict[str, Any], sentence: str) -> None:
    for name, value in values.items():
        setattr(tab.parameters, name, value)
    tab.widget.refresh()
    assert sentence in panels.tooltip(tab)


def test_an_empty_segmentation_is_no_hole(tab: Any) -> None:
    import slicer

    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing")
    makings.set_up(tab, inputSegments=empty)
    assert "Nothing is drawn in “Nothing”" in panels.tooltip(tab)
    empty.GetSegmentation().AddEmptySegment("lesion")
    tab.widget.refresh()
    before = panels.scene_text()
    panels.press(tab.widget, "applyButton")
    tab.host.wait(panels.finished(tab.widget), 20)
    assert "draw one" in panels.find(tab.widget, "problemText").text and panels.scene_text() == before


def test_a_segment_that_was_removed_is_not_all_of_them(tab: Any) -> None:
    segmentation = tab.drawn.GetSegmentation()
    cyst = segmentation.GetSegmentIdBySegmentName("cyst")
    makings.set_up(tab, segment=cyst)
    segmentation.RemoveSegment(cyst)
    tab.widget.refresh()
    assert f"There is no segment “{cyst}”" in panels.tooltip(tab)


def test_cancel_leaves_the_scene_as_it_was(tab: Any) -> None:
    panels.cancel(tab)
