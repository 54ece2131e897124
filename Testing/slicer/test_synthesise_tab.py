"""The tab Synthesise with the real worker and tiny models: what is asked for is what comes out, in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anomalies
import makings
import numpy as np
import panels
import pytest
from panels import children, voxels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return makings.models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def tab(host: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tab, set to a job of a moment."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    opened = makings.open_tab(host, "Synthesise")
    makings.set_up(opened, model="tiny-classes", samples=3)
    return opened


def engine(tiny: Path, model: str, **asked: Any) -> Any:
    """What the engine makes of the same request."""
    from meddiff.models import load
    from meddiff.sampling import drain
    from meddiff.synthesis import synthesise

    return drain(synthesise(load(tiny / model, "cpu"), preset="fast", **asked))


def test_a_class_becomes_a_stack_and_every_image_a_button(tab: Any, tiny: Path) -> None:
    parameters, processes = tab.parameters, children()
    parameters.label = "Hand"
    makings.apply(tab)
    assert children() <= processes
    volume = parameters.outputVolume
    truth = engine(tiny, "tiny-classes", label="Hand", samples=3, seed=5).stack
    assert np.array_equal(voxels(volume), truth.array)
    assert len(tab.widget.sheet.buttons) == 3 and tab.widget.sheet.widget.visible
    assert volume.GetName().startswith("Tiny classes Hand")


def test_frames_along_a_covariate_stand_at_its_values(tab: Any, tiny: Path) -> None:
    from MedDiffusionLib.sequences import browser_of, volumes_from_sequence

    parameters = tab.parameters
    parameters.model = "tiny-ages"
    tab.widget.onEdited("model")
    parameters.covariates, parameters.way = json.dumps({"age": 50.0, "volume": 0.25}), "covariate"
    parameters.along, parameters.alongTo = "age", 70.0
    makings.apply(tab)
    sequence = parameters.outputSequence
    assert [sequence.GetNthIndexValue(k) for k in range(3)] == ["50", "60", "70"]
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("age", "years") and browser_of(sequence) is not None
    asked = {"covariates": {"age": 50.0, "volume": 0.25}, "covariates_to": {"age": 70.0, "volume": 0.25}}
    truth = engine(tiny, "tiny-ages", samples=3, seed=5, **asked).images
    frames = volumes_from_sequence(sequence)
    assert len(frames) == 3 and all(
        np.allclose(a.array, b.array, rtol=1e-4, atol=0.05) for a, b in zip(frames, truth, strict=True)
    )
    assert parameters.outputVolume is None and len(tab.widget.sheet.buttons) == 3


def test_a_click_on_an_image_shows_it(tab: Any) -> None:
    """A slice of a stack, where the volume lies; a frame of a sequence."""
    import mrml
    import vtk

    from MedDiffusionLib.sequences import browser_of

    views = tab.host.open_views()
    makings.apply(tab)
    volume = tab.parameters.outputVolume
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(ijk_to_ras)
    anomalies.oblique(volume)
    middle = mrml.array_of(ijk_to_ras) @ [(makings.SIDE - 1) / 2, (makings.SIDE - 1) / 2, 2, 1]
    place = mrml.to_world(volume, middle[None, :3])[0]
    tab.widget.sheet.buttons[2].click()
    red = views.sliceWidget("Red")
    assert abs((np.linalg.inv(mrml.array_of(red.mrmlSliceNode().GetSliceToRAS())) @ [*place, 1])[2]) < 1e-3
    assert red.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()

    tab.parameters.way, tab.parameters.otherSeed = "seeds", 9
    makings.apply(tab)
    browser = browser_of(tab.parameters.outputSequence)
    for number in (2, 1):
        tab.widget.sheet.buttons[number].click()
        assert browser.GetSelectedItemNumber() == number
    shown = red.mrmlSliceCompositeNode().GetBackgroundVolumeID()
    assert shown == browser.GetProxyNode(tab.parameters.outputSequence).GetID()


def test_the_ends_of_a_way_are_what_both_seeds_make(tab: Any, tiny: Path) -> None:
    from MedDiffusionLib.sequences import volumes_from_sequence

    tab.parameters.way, tab.parameters.otherSeed = "seeds", 9
    makings.apply(tab)
    first, _middle, last = volumes_from_sequence(tab.parameters.outputSequence)
    for frame, seed in ((first, 5), (last, 9)):
        assert np.allclose(frame.array, engine(tiny, "tiny-classes", samples=1, seed=seed).images[0].array, atol=1e-3)


def test_the_image_of_a_label_map_lies_where_that_does(tab: Any) -> None:
    """Under an oblique transform, to 1e-6 mm."""
    import anomalies
    import mrml

    from meddiff.volume import Volume
    from MedDiffusionLib.nodes import node_from_volume

    array = np.zeros((9, 13, 17), np.uint8)
    array[2:6, 3:9, 4:10], array[2:6, 9:12, 4:10] = 1, 2
    direction = tuple(mrml.rotation(np.random.default_rng(3)).ravel())
    labels = node_from_volume(Volume(array, (1.0, 1.0, 1.0), (5.0, -8.0, 13.0), direction), "drawn", kind="labelmap")
    transform = anomalies.oblique(labels)
    parameters = tab.parameters
    parameters.model, parameters.inputLabels, parameters.samples = "tiny-shapes", labels, 1
    tab.widget.onEdited("model")
    makings.apply(tab)
    made = parameters.outputVolume
    assert made.GetTransformNodeID() == transform.GetID()
    apart = np.linalg.norm(mrml.corners(made)[:, None] - mrml.corners(labels)[None], axis=2)
    assert apart.min(0).max() < 1e-6  # the same box, whichever way its axes run
    assert sorted(made.GetImageData().GetDimensions()) == sorted(labels.GetImageData().GetDimensions())


def test_a_segmentation_is_as_good_as_a_label_map(tab: Any) -> None:
    """Its segments go by their names, in whatever order they were drawn; others are left out."""
    import mrml

    from meddiff.volume import IDENTITY, Volume
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.segmentations import segmentation_from_labels

    array = np.zeros((9, 13, 17), np.uint8)
    array[2:6, 3:9, 4:10], array[2:6, 9:12, 4:10], array[7, 1:3, 1:3] = 1, 2, 3
    grid = Volume(array, (1.0, 1.0, 1.0), (5.0, -8.0, 13.0), IDENTITY)
    anterior, posterior = makings.SEGMENTS
    drawn = segmentation_from_labels(grid, {1: posterior, 2: anterior, 3: "cyst"}, "drawn")
    numbers = np.array([0, 2, 1, 0], np.uint8)
    labels = node_from_volume(grid.with_array(numbers[array]), "labels", kind="labelmap")
    made = []
    for node in (labels, drawn):
        makings.set_up(tab, model="tiny-shapes", inputLabels=node, samples=1, outputVolume=None)
        makings.apply(tab)
        made.append(tab.parameters.outputVolume)
    assert np.array_equal(*map(voxels, made))
    assert np.abs(mrml.corners(made[0]) - mrml.corners(made[1])).max() < 1e-6


def test_the_console_and_the_command_line_give_the_same_voxels(tab: Any, tiny: Path, tmp_path: Path) -> None:
    from meddiff.volume import read

    tab.parameters.label = "Head"
    makings.apply(tab)
    made = voxels(tab.parameters.outputVolume).copy()
    asked = panels.copied_call(tab.widget)
    again = type(tab.widget.logic)().process(**{**asked, "outputVolume": None})["image"]
    assert np.array_equal(voxels(again), made)
    makings.run_as_command(tab, tiny, tmp_path)
    (file,) = tmp_path.rglob("samples.nrrd")
    assert np.array_equal(read(file).array, made)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model": "tiny-ages", "covariates": '{"age": 99}'}, "Age is 99; expected a number from 40 to 80"),
        ({"model": "tiny-ages", "way": "covariate", "along": "age", "samples": 1}, "two frames or more"),
        ({"sizeX": 2000}, "The size is"),
        ({"label": "Foot"}, "does not know “Foot”"),
        ({"state": "healthy"}, "does not know “healthy”"),
    ],
)
def test_what_cannot_be_made_is_said_and_apply_is_grey(tab: Any, values: dict[str, Any], sentence: str) -> None:
    for name, value in values.items():
        setattr(tab.parameters, name, value)
    tab.widget.refresh()
    assert sentence in panels.tooltip(tab)


@pytest.mark.parametrize("covariates", ["", "{", "[1]", '{"weight": 3}', "[" * 5000])
def test_a_damaged_scene_does_no_harm(tab: Any, covariates: str) -> None:
    tab.parameters.model, tab.parameters.covariates = "tiny-ages", covariates
    tab.widget.refresh()
    assert tab.widget.arguments()["covariates"] == {} and panels.tooltip(tab) == ""


def test_cancel_leaves_the_scene_as_it_was(tab: Any) -> None:
    panels.cancel(tab)
