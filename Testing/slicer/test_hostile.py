"""What nobody should do, and somebody will: foreign scenes, odd names, scripts with wrong arguments, full disks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import panels
import pytest
from panels import brain, children, find, finished, load, open_panel, press, run, scene_text, voxels


@pytest.fixture
def panel(host: Any) -> Any:
    """Diffusion Recon with a brain in the scene, and a worker that computes nothing."""
    return open_panel(host)


# --- a scene from elsewhere


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("samples", 1000),
        ("samples", 0),
        ("seed", -5),
        ("seed", 2**40),
        ("seed", 2**70),
        ("batch", 0),
        ("coils", 2**40),
        ("plane", "oblique"),
        ("pattern", "spiral"),
        ("preset", "ultra"),
        ("acceleration", 1e300),
        ("acceleration", float("nan")),
        ("noise", -1.0),
        ("recipeParameters", '{"steps": "many"}'),
        ("recipeParameters", '{"steps": null}'),
        ("recipeParameters", '{"steps": [1]}'),
        ("recipeParameters", '{"steps": 1e9}'),
        ("recipeParameters", '{"steps": NaN}'),
        ("recipeParameters", '{"steps": Infinity}'),
        ("recipeParameters", '{"steps": true}'),
        ("recipeParameters", '{"of-a-later-version": 1}'),
    ],
)
def test_a_setting_that_cannot_be_is_told(panel: Any, parameter: str, value: Any) -> None:
    """The panel, which can only show what lies in its ranges, does not run with something else behind it."""
    setattr(panel.parameters, parameter, value)
    panel.module.exit()
    panel.module.enter()
    button = find(panel.widget, "applyButton")
    assert not button.enabled and ("expected" in button.toolTip or "not known" in button.toolTip)
    assert not find(panel.widget, "copyPython").enabled and find(panel.widget, "cost").text == ""


def test_settings_are_shown_as_they_are(panel: Any) -> None:
    """An acceleration that is allowed, but beyond the slider's usual end."""
    panel.parameters.acceleration, panel.parameters.noise = 24.0, 0.7
    inputs = panel.widget.ui.inputs
    assert (inputs["acceleration"].value, inputs["noise"].value) == (24.0, 0.7)
    assert find(panel.widget, "applyButton").enabled


def test_json_that_never_ends(panel: Any) -> None:
    panel.parameters.recipeParameters = "[" * 100_000
    assert find(panel.widget, "applyButton").enabled


def test_a_hidden_volume_is_not_chosen(host: Any) -> None:
    brain("Hidden").SetHideFromEditors(True)
    widget = load(host).enter()
    assert widget._parameterNode.inputVolume is None
    shown = brain("Shown")
    widget.enter()
    assert widget._parameterNode.inputVolume is shown


# --- odd names

NAMES = [
    "T1 [1]",
    "a*b?",
    'it\'s "q"',
    "two\nlines; touch x",
    "😀",
    "-dash",
    "a/b",
    "x" * 300,
    "{0} %s %d",
    "$(id) `id`",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_carried_through(panel: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are named after it; the copied call finds the node; the copied command is one line and one comment."""
    import slicer

    panel.volume.SetName(name)
    run(panel)
    assert find(panel.widget, "problemText").text == ""
    assert panel.parameters.outputReconstruction.GetName() == f"{name} reconstruction"
    press(panel.widget, "copyPython")
    called: dict[str, Any] = {}
    logic = sys.modules["DiffusionRecon"].DiffusionReconLogic
    monkeypatch.setattr(logic, "run", lambda self, arguments, **_: called.update(arguments))
    exec(slicer.app.clipboard().text(), {"slicer": slicer})  # noqa: S102 - that is what the clipboard is for
    assert called["inputVolume"] is panel.volume
    press(panel.widget, "copyCommand")
    comment, command, *more = slicer.app.clipboard().text().splitlines()
    assert comment.startswith("# ") and not more
    words = shlex.split(command)
    assert words[:2] == ["meddiff", "reconstruct"] and words[3] == "--output"
    assert not words[2].startswith("-") and Path(words[2]).name == words[2] and len(words[2].encode()) < 256
    assert comment.endswith(words[2])


def test_words_of_errors_are_no_html(panel: Any) -> None:
    import qt

    panel.widget.ui.run.fail("<b>Brain</b> <urlopen error>")
    label = find(panel.widget, "problemText")
    assert label.textFormat == qt.Qt.PlainText


# --- the clipboard before the panel is filled in


def test_nothing_is_copied_that_cannot_run(panel: Any) -> None:
    """Without an input, or with one that cannot be used; the logic says why in a sentence."""
    from meddiff.errors import BadInput

    widget = panel.widget
    widget.ui.inputs["inputVolume"].setCurrentNode(None)
    assert not find(widget, "copyCommand").enabled and not find(widget, "copyPython").enabled
    with pytest.raises(BadInput, match="Choose a volume"):
        widget.logic.command(widget.arguments())
    widget.kinds["kspace"].click()
    widget.ui.inputs["kspaceFile"].setCurrentPath(__file__)
    widget._parameterNode.voxelSize = "a b c"
    with pytest.raises(BadInput, match="three numbers"):
        widget.logic.command(widget.arguments())
    with pytest.raises(BadInput, match="does not exist"):
        widget.logic.command(widget.arguments() | {"kspaceFile": "/" + "x" * 400})


# --- scripts


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"inputVolume": "Brain"}, "not a node"),
        ({"referenceVolume": 7}, "not a node"),
        ({"model": None}, "not installed"),
        ({"method": None}, "not known"),
        ({"preset": None}, "Preset"),
        ({"parameters": 3}, "names and values"),
        ({"parameters": {"steps": "3"}}, "Steps is '3'"),
        ({"acceleration": "4"}, "Acceleration is '4'"),
        ({"coils": 2.5}, "whole number"),
        ({"seed": None}, "Seed"),
        ({"seed": -1}, "Seed"),
        ({"wanted": ("residuals",)}, "no output “residuals”"),
        ({"wanted": "residuals"}, "no output “residuals”"),
        ({"outputUncertainty": "new"}, "output “Uncertainty”"),
        ({"inputVolume": None, "kspaceFile": __file__, "voxelSize": (1.0, 2.0)}, "three numbers"),
        ({"inputVolume": None, "kspaceFile": __file__, "voxelSize": 5}, "three numbers"),
    ],
)
def test_wrong_arguments_get_a_sentence_at_once(panel: Any, given: dict[str, Any], words: str) -> None:
    """Before a worker is started: no process, no file, no node."""
    import slicer

    from meddiff.errors import BadInput

    before, processes = scene_text(), children()
    with pytest.raises(BadInput, match=words):
        panel.widget.logic.process(**{"inputVolume": panel.volume, **given})
    assert scene_text() == before and children() == processes
    assert not list(Path(slicer.app.temporaryPath).glob("MedDiffusion-*"))


def test_an_output_of_another_kind_is_refused_before_an_hour_of_computing(panel: Any) -> None:
    import slicer

    from meddiff.errors import BadInput

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    with pytest.raises(BadInput, match="output “Residual”"):
        panel.widget.logic.process(panel.volume, outputResidual=node)


def test_numbers_of_numpy_and_paths_are_taken(panel: Any) -> None:
    from MedDiffusionLib import catalogue
    from MedDiffusionLib.hierarchy import provenance

    given = {
        "samples": np.int64(2),
        "seed": np.uint8(7),
        "acceleration": np.float32(3),
        "parameters": {"steps": np.int32(4)},
    }
    made = panel.widget.logic.process(panel.volume, model=catalogue.model("brain-mr").folder, **given)
    job = provenance(made["reconstruction"])["job"]
    assert (job["seed"], job["options"]["samples"], job["options"]["acceleration"]) == (7, 2, 3.0)
    assert job["parameters"] == {"steps": 4} and job["model"].endswith("brain-mr")


# --- a disk that cannot be written


def test_a_folder_that_cannot_be_written_is_named(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    from meddiff.errors import BadInput

    monkeypatch.setattr(type(slicer.app), "temporaryPath", "/nowhere/at/all", raising=False)
    press(panel.widget, "applyButton")
    assert "/nowhere/at/all, cannot be written" in find(panel.widget, "problemText").text
    assert panel.widget.job is None and find(panel.widget, "applyButton").text == "Apply"
    with pytest.raises(BadInput, match="cannot be written"):
        panel.widget.logic.process(panel.volume)


def test_run_again_survives_a_full_disk(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tab Jobs comes back to life, whatever kept the job from starting."""
    from MedDiffusionLib.hub.jobstab import JobsTab
    from MedDiffusionLib.logic import DiffusionLogic

    run(panel)
    tab = JobsTab()

    def full(self: Any, arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DiffusionLogic, "makeJob", full)
    tab.onAgain()
    assert tab.job is None and tab.againButton.text == "Run again" and "No space left" in tab.failed.label.text
    tab.close()


# --- meanwhile


def test_the_input_is_removed_from_under_a_transform(panel: Any) -> None:
    """The result lies where the input lay."""
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    panel.volume.SetAndObserveTransformNodeID(transform.GetID())
    press(panel.widget, "applyButton")
    slicer.mrmlScene.RemoveNode(panel.volume)
    panel.host.wait(finished(panel.widget), 20)
    assert panel.parameters.outputReconstruction.GetParentTransformNode() is transform


@pytest.mark.parametrize(
    "told",
    [
        '{"job": {"inputs": [1]}}',
        '{"slicer": {"arguments": {"inputVolume": {"name": 5}}}}',
        '{"slicer": {"module": ["x"], "arguments": {"wanted": 5}}, "finished": {}}',
        "[" * 100_000,
    ],
)
def test_any_record_can_be_shown(panel: Any, told: str) -> None:
    from MedDiffusionLib.hub.jobstab import JobsTab

    panel.volume.SetAttribute("MedDiffusion.provenance", told)
    tab = JobsTab()
    assert not tab.againButton.enabled and tab.againButton.toolTip


def test_a_scene_that_is_saved_and_loaded_while_a_job_runs(panel: Any, tmp_path: Path) -> None:
    """What is saved is the scene as it was; what is loaded does not stop the job."""
    import slicer

    panels.use_fake(panel.widget.logic, "ok", 1.0)
    press(panel.widget, "applyButton")
    panel.host.process_events(0.2)
    assert slicer.util.saveScene(str(tmp_path / "meanwhile.mrb"))
    slicer.util.loadScene(str(tmp_path / "meanwhile.mrb"))
    panel.host.wait(finished(panel.widget), 20)
    assert find(panel.widget, "problemText").text == ""
    found = panel.widget._parameterNode.outputReconstruction
    assert np.array_equal(voxels(found), voxels(panel.volume))
    job = json.loads(found.GetAttribute("MedDiffusion.provenance"))
    assert job["slicer"]["arguments"]["inputVolume"]["name"] == "Brain"


def test_the_host_leaves_no_folder_behind(tmp_path: Path) -> None:
    """These tests are run on the computers of others."""
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "import host; host.start(); import slicer; print(slicer.app.temporaryPath)"]
    done = subprocess.run(command, env=place, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout and not list(tmp_path.glob("slicer-host-*"))
