"""Diffusion Recon with the real worker and the starter model: one job, the same voxels wherever it is started."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import ROOT, brain, children, find, finished, load, press, voxels

SMALL = {"method": "pnp", "parameters": {"steps": 3}, "samples": 2, "seed": 5, "acceleration": 3.0, "contrast": "T1"}


@pytest.fixture
def recon(host: Any) -> Any:
    """The panel, set to a job of a few seconds."""
    brain(shape=(3, 48, 40))
    widget = load(host).enter()
    parameters = widget._parameterNode
    parameters.recipeParameters = json.dumps(SMALL["parameters"])
    parameters.samples, parameters.seed, parameters.contrast = SMALL["samples"], SMALL["seed"], SMALL["contrast"]
    parameters.acceleration, parameters.keepWarm = SMALL["acceleration"], False
    return widget


def apply(host: Any, widget: Any) -> float:
    """Press Apply, wait for the end, and return the longest turn of the window's thread."""
    press(widget, "applyButton")
    job = widget.job
    host.wait(finished(widget), 60)
    assert find(widget, "problemText").text == ""
    return job.longest


def test_panel_logic_command_and_run_give_the_same_voxels(host: Any, recon: Any, tmp_path: Path) -> None:
    """The panel; `process`; the copied command, run in a shell on the saved volume; `run(job)` in this process."""
    import slicer

    from MedDiffusionLib.hierarchy import provenance
    from MedDiffusionLib.nodes import to_file

    processes = children()
    assert apply(host, recon) < 0.1
    parameters = recon._parameterNode
    expected = {name: voxels(getattr(parameters, f"output{name}")).copy() for name in ("Reconstruction", "Uncertainty")}
    assert expected["Reconstruction"].std() > 10 and expected["Uncertainty"].max() > 0
    assert parameters.outputResidual is not None and parameters.outputFigures.GetNumberOfRows() == 3
    assert children() <= processes

    made = type(recon.logic)().process(parameters.inputVolume, **SMALL)
    assert np.array_equal(voxels(made["reconstruction"]), expected["Reconstruction"])
    assert np.array_equal(voxels(made["uncertainty"]), expected["Uncertainty"])
    assert provenance(made["reconstruction"])["job"]["seed"] == 5

    to_file(parameters.inputVolume, tmp_path / "Brain.nrrd")
    press(recon, "copyCommand")
    words = shlex.split(slicer.app.clipboard().text().splitlines()[-1])
    command = [sys.executable, "-m", "meddiff", *words[1:]]
    path = str(ROOT / "MedDiffusion")
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = slicer.util.arrayFromVolume(_loaded(tmp_path / "Brain-results" / "reconstruction.nrrd"))
    assert np.array_equal(written, expected["Reconstruction"])

    from meddiff.job import Job, run
    from meddiff.volume import read

    job = {**provenance(parameters.outputReconstruction)["job"], "output": str(tmp_path / "again")}
    assert job["inputs"] == {"volume": "volume.nrrd"}, "folders, in which people's names stand, are not for scenes"
    job["inputs"] = {"volume": str(tmp_path / "Brain.nrrd")}
    again = run(Job.from_json(json.dumps(job)))
    assert np.array_equal(read(again.outputs["reconstruction"]).array, expected["Reconstruction"])


def _loaded(path: Path) -> Any:
    from MedDiffusionLib.nodes import from_file, node_from_volume

    return node_from_volume(from_file(path), path.stem)


def test_results_lie_where_the_input_lies(host: Any, recon: Any) -> None:
    """An oblique input: the same grid, to a hair; the next run, in the warm worker, needs no new process."""
    import slicer
    import vtk

    recon._parameterNode.keepWarm = True
    others = children()  # of tests before this one
    apply(host, recon)
    first, volume = children() - others, recon._parameterNode.inputVolume
    assert len(first) == 1
    one, other = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(one)
    recon._parameterNode.outputReconstruction.GetIJKToRASMatrix(other)
    difference = slicer.util.arrayFromVTKMatrix(one) - slicer.util.arrayFromVTKMatrix(other)
    assert np.abs(difference).max() < 1e-6
    window = recon._parameterNode.outputReconstruction.GetDisplayNode()
    assert window.GetWindow() == volume.GetDisplayNode().GetWindow()
    apply(host, recon)
    assert children() - others == first
    recon.cleanup()
    host.wait(lambda: not children() & first, 2)
    recon.setup()


def test_what_the_model_does_not_know_is_refused_in_words(host: Any, recon: Any) -> None:
    recon._parameterNode.inputVolume.SetSpacing(5.0, 5.0, 5.0)
    press(recon, "applyButton")
    host.wait(finished(recon), 60)
    assert "spacing of 5 x 5 mm" in find(recon, "problemText").text


def test_raw_kspace_with_a_reference(host: Any, recon: Any, tmp_path: Path) -> None:
    """Two coils, two slices, fully sampled, undersampled by us: an image, a table, and nodes named after the file."""
    from MedDiffusionLib.nodes import volume_from_node

    volume = recon._parameterNode.inputVolume
    image = volume_from_node(volume).array[:2].astype(np.complex64)
    ramp = np.linspace(0.4, 1.0, image.shape[2], dtype=np.float32)
    maps = np.broadcast_to(np.stack([ramp, ramp[::-1] * np.exp(0.5j)])[:, None], (2, *image.shape[1:]))
    shifted = np.fft.ifftshift(maps * image[:, None], (-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), (-2, -1)).astype(np.complex64)
    np.savez(tmp_path / "scan.npz", kspace=kspace, sensitivities=maps)
    recon.kinds["kspace"].click()
    recon.ui.inputs["kspaceFile"].setCurrentPath(str(tmp_path / "scan.npz"))
    recon.ui.inputs["undersample"].click()
    size = recon.ui.inputs["voxelSize"]
    size.setText("one two three")
    size.editingFinished.emit()
    assert "not three numbers" in find(recon, "applyButton").toolTip
    size.setText("1.1 1.1 1.1")
    size.editingFinished.emit()
    recon.ui.inputs["acceleration"].setValue(2.0)
    apply(host, recon)
    parameters = recon._parameterNode
    result = parameters.outputReconstruction
    assert result.GetName() == "scan reconstruction" and voxels(result).shape == image.shape
    assert np.allclose(result.GetSpacing(), 1.1)
    table = parameters.outputFigures.GetTable()
    psnr = {table.GetColumnName(k): table.GetValue(0, k).ToDouble() for k in (1, 2)}
    assert psnr["reconstruction"] > psnr["zero-filled"]


def test_the_module_tests_itself(host: Any) -> None:
    """`DiffusionReconTest`, as Slicer runs it, on Sample Data."""
    load(host)
    host.startup_completed()
    test = sys.modules["DiffusionRecon"].DiffusionReconTest()
    test.messageDelay = 0
    test.runTest()
