"""Apply and Cancel, with a worker that computes nothing and fails in every way: nothing is left of what was stopped."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from panels import brain, children, find, finished, load, open_panel, press, run, scene_text, use_fake, voxels


@pytest.fixture
def panel(host: Any) -> Any:
    """Diffusion Recon with a brain in the scene, and a worker that computes nothing."""
    return open_panel(host)


# --- Apply


def test_apply_gives_the_outputs(panel: Any) -> None:
    """One press, a picture and a word on the way, and the nodes are there, named, placed, chosen, with their story."""
    import slicer

    from MedDiffusionLib.hierarchy import provenance

    widget, seen = panel.widget, []
    area = widget.ui.run
    show = area.onEvent
    area.onEvent = lambda event: (seen.append(event["event"]), show(event))
    press(widget, "applyButton")
    button = find(widget, "applyButton")
    assert button.text == "Cancel" and button.enabled and find(widget, "progress").visible
    panel.host.wait(lambda: area.preview.widget.visible, 10)
    assert not area.preview.widget.pixmap.isNull()
    panel.host.wait(finished(widget), 10)
    assert button.text == "Apply" and not find(widget, "progress").visible and not area.preview.widget.visible
    assert {"progress", "preview", "warning"} <= set(seen)
    image = panel.parameters.outputReconstruction
    assert image.GetName() == "Brain reconstruction" and np.array_equal(voxels(image), voxels(panel.volume))
    assert panel.parameters.outputResidual is None  # the worker had none
    assert panel.parameters.outputZeroFilled is None  # it was not wanted
    table = panel.parameters.outputFigures
    assert table.GetNumberOfRows() == 2 and table.GetTable().GetColumnName(1) == "zero-filled"
    told = provenance(image)
    assert told["slicer"]["module"] == "DiffusionRecon"
    assert told["slicer"]["arguments"]["inputVolume"] == {"id": panel.volume.GetID(), "name": "Brain"}
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parent = tree.GetItemParent(tree.GetItemByDataNode(panel.volume))
    assert tree.GetItemParent(tree.GetItemByDataNode(image)) == parent
    assert "30.0 dB" in find(widget, "statusText").text and "a word from the worker" in find(widget, "log").plainText
    assert not list(Path(slicer.app.temporaryPath).glob("MedDiffusion-*"))


def test_the_next_run_fills_the_same_nodes(panel: Any) -> None:
    """The outputs stay chosen; “Create new” makes new ones, with names of their own."""
    import slicer

    run(panel)
    first, count = panel.parameters.outputReconstruction, slicer.mrmlScene.GetNumberOfNodes()
    run(panel)
    assert panel.parameters.outputReconstruction is first and slicer.mrmlScene.GetNumberOfNodes() == count
    panel.widget.ui.outputs["reconstruction"].setCurrentNode(None)
    run(panel)
    assert panel.parameters.outputReconstruction is not first
    assert panel.parameters.outputReconstruction.GetName() != first.GetName()


def test_what_is_unticked_is_not_made(panel: Any) -> None:
    for name in ("want_outputUncertainty", "want_outputFigures", "want_outputZeroFilled"):
        find(panel.widget, name).click()
    run(panel)
    parameters = panel.parameters
    assert parameters.outputUncertainty is None and parameters.outputFigures is None
    assert parameters.outputZeroFilled is not None


def test_results_keep_the_transform_of_the_input(panel: Any) -> None:
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    panel.volume.SetAndObserveTransformNodeID(transform.GetID())
    run(panel)
    assert panel.parameters.outputUncertainty.GetTransformNodeID() == transform.GetID()


def test_results_are_shown_where_there_are_views(panel: Any) -> None:
    """The reconstruction behind, its uncertainty half transparent in front; the view stays where it was."""
    import slicer

    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    slicer.app.setLayoutManager(SimpleNamespace())  # a window, of which only the views' nodes matter
    run(panel)
    assert view.GetBackgroundVolumeID() == panel.parameters.outputReconstruction.GetID()
    assert view.GetForegroundVolumeID() == panel.parameters.outputUncertainty.GetID()
    assert view.GetForegroundOpacity() == 0.5


def test_a_removed_output_and_a_removed_input_do_not_matter(panel: Any) -> None:
    """Nodes that vanish while the job runs: the output is made anew, the place of the input is no more."""
    import slicer

    run(panel)
    press(panel.widget, "applyButton")
    slicer.mrmlScene.RemoveNode(panel.parameters.outputReconstruction)
    slicer.mrmlScene.RemoveNode(panel.volume)
    panel.host.wait(finished(panel.widget), 10)
    assert find(panel.widget, "problemText").text == ""
    assert panel.parameters.outputReconstruction.GetImageData() is not None
    assert not find(panel.widget, "applyButton").enabled  # nothing to reconstruct any more


def test_the_tooltip_lists_all_that_is_missing(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedDiffusionLib import install

    missing = install.Status(False, "The set-up is not complete: PyTorch must be installed.", ("torch>=2.4",))
    monkeypatch.setattr(install, "status", lambda: missing)
    widget = load(host).enter()
    widget._parameterNode.model = "of-another-machine"
    widget._parameterNode.method = "of-another-version"
    button = find(widget, "applyButton")
    lines = button.toolTip.splitlines()
    assert not button.enabled and len(lines) == 4
    assert lines[0] == missing.sentence and "volume" in lines[1] and "of-another-machine" in lines[2]
    assert "of-another-machine" in find(widget, "modelSelector").currentText  # it is not replaced in silence
    assert find(widget, "setUp").visible


def test_set_up_from_the_panel(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedDiffusionLib import install

    state = [install.Status(False, "PyTorch must be installed.", ("torch",))]
    monkeypatch.setattr(install, "status", lambda: state[0])

    def installing(confirm: bool, progress: Any) -> Any:
        progress("Installing PyTorch.")
        state[0] = install.Status(True, "All is there.")
        return state[0]

    monkeypatch.setattr(install, "install", installing)
    monkeypatch.setattr(install, "check", lambda tick: ["Fake GPU computes."])
    brain()
    widget = load(host).enter()
    press(widget, "setUpButton")
    assert not find(widget, "setUp").visible and find(widget, "applyButton").enabled
    assert "Fake GPU computes." in find(widget, "log").plainText


def test_an_output_cannot_be_the_input(panel: Any) -> None:
    panel.widget.ui.outputs["reconstruction"].setCurrentNode(panel.volume)
    button = find(panel.widget, "applyButton")
    assert not button.enabled and "Reconstruction" in button.toolTip


def test_a_volume_without_voxels_is_named(panel: Any) -> None:
    import slicer

    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    panel.widget.ui.inputs["inputVolume"].setCurrentNode(empty)
    assert "Empty" in find(panel.widget, "applyButton").toolTip


# --- what goes wrong


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("bad-input", "of no use; choose another"),
        ("crash", "crashed"),
        ("kill", "ended by the system"),
        ("broken-file", "cannot be read"),
        ("memory", "out of memory"),
    ],
)
def test_a_failure_is_a_sentence_and_the_scene_stays(panel: Any, mode: str, words: str) -> None:
    use_fake(panel.widget.logic, mode, outputs="reconstruction,uncertainty")
    before = scene_text()
    run(panel)
    assert words in find(panel.widget, "problemText").text and find(panel.widget, "problem").visible
    assert words in find(panel.widget, "log").plainText
    assert scene_text() == before and not panel.host.dialogs
    use_fake(panel.widget.logic)
    run(panel)  # and the panel works again
    assert not find(panel.widget, "problem").visible and panel.parameters.outputReconstruction is not None


def test_a_run_that_was_cancelled_leaves_nothing(panel: Any) -> None:
    use_fake(panel.widget.logic, "ok", 30)
    before, processes = scene_text(), children()
    press(panel.widget, "applyButton")
    panel.host.wait(lambda: panel.widget.ui.run.preview.widget.visible, 20)
    button = press(panel.widget, "applyButton")
    assert button.text == "Cancelling…" and not button.enabled
    panel.host.wait(finished(panel.widget), 5)
    assert scene_text() == before and children() <= processes
    assert "Cancelled" in find(panel.widget, "statusText").text and button.enabled


@pytest.mark.parametrize("warm", [False, True])
def test_a_hundred_cancelled_runs_leave_nothing(panel: Any, warm: bool) -> None:
    """Apply and Cancel at random moments: no child, no file, no node, nothing changed."""
    import slicer

    draw = random.Random(7)
    panel.parameters.keepWarm = warm
    use_fake(panel.widget.logic, "ok", 0.04)
    before, processes, done = scene_text(), children(), 0
    for _ in range(50):
        press(panel.widget, "applyButton")
        panel.host.process_events(draw.uniform(0, 0.1))
        if panel.widget.job is not None:
            press(panel.widget, "applyButton")
        panel.host.wait(finished(panel.widget), 5)
        if panel.parameters.outputReconstruction is None:
            assert scene_text() == before
            continue
        done += 1  # it was too late to cancel: take the results away again
        for role in panel.widget.logic.outputs():
            if (node := getattr(panel.parameters, role.parameter)) is not None:
                slicer.mrmlScene.RemoveNode(node)
        before = scene_text()
    assert done < 50
    panel.widget.cleanup()
    panel.widget.logic.makeWorker(True).stop(0)
    panel.widget.setup()
    panel.host.wait(lambda: children() <= processes, 5)
    assert not list(Path(slicer.app.temporaryPath).glob("MedDiffusion-*"))


def test_the_window_is_never_kept_waiting(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a job runs, no turn of the timer takes longer than 100 ms of this thread's time."""
    from MedDiffusionLib.running import RunningJob

    turns, tick = [], RunningJob._tick

    def measured(job: Any) -> None:
        began = time.thread_time()
        tick(job)
        turns.append(time.thread_time() - began)

    monkeypatch.setattr(RunningJob, "_tick", measured)
    use_fake(panel.widget.logic, "ok", 1.0)
    began = time.thread_time()
    press(panel.widget, "applyButton")
    assert time.thread_time() - began < 0.5  # the input is written
    panel.host.wait(finished(panel.widget), 10)
    assert len(turns) > 5 and max(turns[:-1]) < 0.1
    assert turns[-1] < 0.5  # the results are read


def test_closing_the_scene_ends_the_job(panel: Any) -> None:
    use_fake(panel.widget.logic, "deaf", 30)
    processes = children()
    press(panel.widget, "applyButton")
    panel.host.wait(lambda: panel.widget.ui.run.preview.widget.visible, 20)
    panel.host.clear_scene()
    import slicer

    assert panel.widget.job is None and children() <= processes
    panel.host.process_events(0.3)
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert find(panel.widget, "applyButton").text == "Apply" and not find(panel.widget, "applyButton").enabled


def test_a_job_goes_on_behind_another_panel(panel: Any) -> None:
    press(panel.widget, "applyButton")
    panel.module.exit()
    panel.host.wait(finished(panel.widget), 10)
    panel.module.enter()
    assert panel.widget._parameterNode.outputReconstruction is not None
    assert find(panel.widget, "applyButton").text == "Apply"


def test_reload_drops_the_shared_packages_and_ends_the_job(panel: Any) -> None:
    """The panel comes back with the parameters that it had, and with freshly read code."""
    processes = children()
    panel.parameters.acceleration = 6.5
    use_fake(panel.widget.logic, "ok", 30)
    press(panel.widget, "applyButton")
    old = sys.modules["MedDiffusionLib.widget"]
    widget = panel.host.reload(panel.module)
    assert sys.modules["MedDiffusionLib.widget"] is not old and children() <= processes
    panel.module.enter()
    assert widget is not panel.widget and widget.ui.inputs["acceleration"].value == 6.5
    use_fake(widget.logic)
    press(widget, "applyButton")
    panel.host.wait(finished(widget), 10)
    assert widget._parameterNode.outputReconstruction is not None
