"""Diffusion Anomaly with the real worker, on a small phantom with a lesion, by a tiny model: all is in its place."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import anomalies
import numpy as np
import panels
import pytest
from panels import children, find, finished, load, press, voxels

from meddiff.errors import BadInput

DAE = {"method": "denoising-autoencoder", "contrast": "FLAIR", "threshold": "otsu", "samples": 2, "seed": 5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return anomalies.models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def panel(host: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panel, set to a job of a few seconds."""
    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    anomalies.brain()
    widget = load(host, "DiffusionAnomaly").enter()
    parameters = widget._parameterNode
    for name, value in {**DAE, "keepWarm": False}.items():
        setattr(parameters, name, value)
    return widget


def apply(host: Any, widget: Any) -> None:
    """Press Apply and wait for the end."""
    press(widget, "applyButton")
    host.wait(finished(widget), 120)
    assert find(widget, "problemText").text == ""


def truth_of(volume: Any) -> Any:
    """A label map node with the lesion of the phantom, on the grid of a volume."""
    from MedDiffusionLib.nodes import node_from_volume, volume_from_node
    from MedDiffusionLib.phantom import TISSUES, phantom_labels

    labels = phantom_labels(anomalies.SHAPE, spacing=(anomalies.SPACING, anomalies.SPACING, 8.0), lesion=True)
    lesion = np.isin(labels.array, [TISSUES.index(name) + 1 for name in ("oedema", "lesion")])
    assert lesion.any()
    made = node_from_volume(volume_from_node(volume).with_array(lesion.astype(np.uint8)), "truth", kind="labelmap")
    made.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return made


def test_from_the_panel_to_lesions_and_the_same_from_everywhere(host: Any, panel: Any, tmp_path: Path) -> None:
    """Under an oblique transform, with a mask and a reference: places to 1e-6; `process` and the command agree."""
    import mrml
    import slicer

    from meddiff.volume import read, write
    from MedDiffusionLib.labels import labels_on_grid
    from MedDiffusionLib.nodes import node_from_volume, to_file, volume_from_node
    from MedDiffusionLib.segmentations import place_of_segment

    processes, parameters = children(), panel._parameterNode
    volume = parameters.inputVolume
    transform = anomalies.oblique(volume)
    brain = volume_from_node(volume)
    mask = node_from_volume(brain.with_array((brain.array > 100).astype(np.uint8)), "mask", kind="labelmap")
    mask.SetAndObserveTransformNodeID(transform.GetID())
    parameters.brainMask, parameters.referenceLesions = mask, truth_of(volume)
    apply(host, panel)
    assert children() <= processes
    healthy, anomaly, spread = parameters.outputHealthy, parameters.outputAnomaly, parameters.outputUncertainty
    for node in (healthy, anomaly, spread):
        assert np.abs(mrml.corners(node) - mrml.corners(volume)).max() < 1e-6
    outside = voxels(mask) == 0
    assert not voxels(anomaly)[outside].any() and voxels(anomaly).max() > 0
    assert np.array_equal(voxels(healthy)[outside], voxels(volume)[outside])  # the twin is one of the brain alone
    assert voxels(spread)[~outside].max() > 0

    table, lesions = parameters.outputTable, parameters.outputLesions
    count = table.GetNumberOfRows()
    assert count > 0 and lesions.GetSegmentation().GetNumberOfSegments() == count
    place = np.stack([slicer.util.arrayFromTableColumn(table, name) for name in ("r_mm", "a_mm", "s_mm")], -1)
    labels = labels_on_grid(lesions, volume).array
    size = float(np.prod(volume.GetSpacing()))
    for number in range(1, count + 1):
        centre = np.array(place_of_segment(lesions, f"Segment_{number}"))
        assert np.abs(place[number - 1] - centre).max() < 1e-3
        z, y, x = np.nonzero(labels == number)
        own = (anomalies.matrix_of(volume) @ [x.mean(), y.mean(), z.mean(), 1])[:3]
        assert np.abs(mrml.to_world(volume, own[None])[0] - centre).max() < 1e-6
        assert abs(slicer.util.arrayFromTableColumn(table, "volume_mm3")[number - 1] - z.size * size) < 0.01 * size
        peak = voxels(anomaly)[labels == number].max()
        assert abs(slicer.util.arrayFromTableColumn(table, "peak")[number - 1] - peak) < 1e-3
    figures = parameters.outputFigures
    rows = range(figures.GetNumberOfRows())
    named = {figures.GetCellText(row, 0): float(figures.GetCellText(row, 1)) for row in rows}
    assert {"Dice", "AUPRC", "AUROC", "Lesions found", "False positives"} == set(named)
    assert all(0 <= named[name] <= 1 for name in ("Dice", "AUPRC", "AUROC"))
    assert "Against the reference" in find(panel, "statusText").text

    logic = type(panel.logic)()
    made = logic.process(volume, brainMask=mask, **DAE)
    assert np.array_equal(voxels(made["anomaly"]), voxels(anomaly)) and "figures" not in made

    to_file(volume, tmp_path / "Patient.nrrd")
    for node in (mask, parameters.referenceLesions):
        write(labels_on_grid(node, volume), tmp_path / f"{node.GetName()}.nrrd")
    press(panel, "copyCommand")
    words = shlex.split(slicer.app.clipboard().text().splitlines()[-1])
    assert words[:3] == ["meddiff", "anomaly", "Patient.nrrd"]
    environment = {**os.environ, "PYTHONPATH": str(panels.ROOT / "MedDiffusion")}
    command = [sys.executable, "-m", "meddiff", *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read(tmp_path / "Patient-results" / "anomaly.nrrd").array, voxels(anomaly))


def test_a_diffusion_method_finds_the_contrast_and_can_be_cancelled(host: Any, panel: Any) -> None:
    """A few steps of AnoDDPM; what the engine has to say reaches the log; a longer run is stopped without a trace."""
    parameters = panel._parameterNode
    parameters.method, parameters.contrast, parameters.threshold = "anoddpm", "", "fixed"
    parameters.level, parameters.recipeParameters = 9.5, '{"steps": 2}'
    apply(host, panel)
    assert "takes the image for" in find(panel, "log").plainText
    assert "No lesion" in find(panel, "statusText").text
    assert parameters.outputTable.GetNumberOfRows() == 0
    parameters.recipeParameters, parameters.samples = '{"steps": 500}', 20
    before, processes = panels.scene_text(), children()
    press(panel, "applyButton")
    host.wait(lambda: find(panel, "progress").maximum > 0, 60)
    press(panel, "applyButton")
    host.wait(finished(panel), 5)
    assert panels.scene_text() == before and children() <= processes


def test_one_slice_and_many_volumes_without_a_window(panel: Any) -> None:
    """`processMany`: one slice is enough; a CT is left out with a sentence; a wrong name is refused at once."""
    import slicer

    from MedDiffusionLib.nodes import node_from_volume, volume_from_node

    whole = volume_from_node(panel._parameterNode.inputVolume)
    alone = node_from_volume(type(whole)(whole.array[3:4], whole.spacing, whole.origin, whole.direction), "One slice")
    scan = node_from_volume(whole.with_array(whole.array - 1000), "CT")
    logic = type(panel.logic)()
    found = logic.processMany([alone, scan, panel._parameterNode.inputVolume], **DAE)
    assert [bool(done.problem) for done in found] == [False, True, False]
    assert found[0].nodes["lesions"].GetName() == "One slice lesions"
    assert found[0].nodes["anomaly"].GetImageData().GetDimensions() == alone.GetImageData().GetDimensions()
    count = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(BadInput, match="did you mean|not known"):
        logic.process(alone, method="denoising-autoencodr")
    assert slicer.mrmlScene.GetNumberOfNodes() == count


@pytest.mark.parametrize("installed", [True, False])
def test_the_module_tests_itself(
    host: Any, tiny: Path, installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`DiffusionAnomalyTest`, as Slicer runs it, on Sample Data; without a model it says that there is none."""
    from MedDiffusionLib import catalogue

    monkeypatch.setenv("MEDDIFF_MODELS", str(tiny))
    if not installed:
        monkeypatch.setattr(catalogue, "models", lambda task=None: ())
    load(host, "DiffusionAnomaly")
    host.startup_completed()
    test = sys.modules["DiffusionAnomaly"].DiffusionAnomalyTest()
    test.messageDelay = 0
    test.runTest()
