"""The panels: loaded, shown, filled in, saved with a scene, copied as text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import (
    ROOT,
    TASKS,
    children,
    copied_call,
    find,
    load,
    open_panel,
    press,
    run,
    use_fake,
    voxels,
)


@pytest.fixture
def panel(host: Any) -> Any:
    """Diffusion Recon with a brain in the scene, and a worker that computes nothing."""
    return open_panel(host)


# --- loading


def test_all_modules_load_fast_and_without_the_engine() -> None:
    """Loaded in a process of its own: nothing of torch, and all panels there in well under 1.5 s."""
    script = f"""
import sys, time
sys.path[:0] = {[str(ROOT / "Testing" / "slicer"), *(str(ROOT / n) for n in ("MedDiffusion", *TASKS))]!r}
import host
app = host.start()
import numpy, SimpleITK  # Slicer has loaded these before any module
began = time.process_time()
for name in {("MedDiffusion", *TASKS)!r}:
    app.load_module(f"{ROOT}/{{name}}/{{name}}.py")
loaded = time.process_time() - began
heavy = sorted({{"torch", "monai", "pydantic", "scipy", "rich", "skimage", "typer"}} & set(sys.modules))
app.load_module  # the panels come when they are opened
print(loaded, heavy, app.slot_errors)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seconds, rest = done.stdout.strip().splitlines()[-1].split(" ", 1)
    assert float(seconds) < 1.5 and rest == "[] []"


@pytest.mark.parametrize("name", TASKS)
def test_a_panel_lives_without_a_window_and_with_another_scene(host: Any, name: str) -> None:
    """As Slicer's generic tests do: made, shown, given another scene, left, closed; each widget has a tooltip."""
    import qt
    import slicer

    module = load(host, name)
    widget = module.enter()
    widget.parent.setMRMLScene(slicer.mrmlScene)
    for kind in (qt.QComboBox, qt.QSpinBox, qt.QCheckBox, qt.QPushButton, qt.QRadioButton):
        bare = [w.objectName for w in widget.parent.findChildren(kind) if w.objectName and not w.toolTip]
        assert not [n for n in bare if not n.startswith("qt_")], bare
    module.exit()
    assert widget._parameterNode is None
    module.enter()
    assert widget._parameterNode is not None
    host.clear_scene()
    assert widget._parameterNode is not None  # shown, it begins anew
    module.exit()
    host.clear_scene()
    assert widget._parameterNode is None


# --- parameters


def test_parameters_are_generated_from_the_recipe(panel: Any) -> None:
    from MedDiffusionLib import catalogue

    widget = panel.widget
    for index in range(widget.ui.method.method.count):
        widget.ui.method.method.setCurrentIndex(index)
        recipe = catalogue.recipe(panel.parameters.method)
        assert list(widget.editors.editors) == [p.name for p in recipe.parameters]
        for parameter in recipe.parameters:
            editor = widget.editors.editors[parameter.name]
            assert (editor.minimum, editor.maximum) == (parameter.low, parameter.high)
            assert abs(editor.value - recipe.presets["balanced"][parameter.name]) < 1e-9
            assert parameter.about[1:] in editor.toolTip
        assert recipe.summary.split(":")[0][:20] in find(widget, "methodDetails").text
        assert "arxiv.org/abs/" in find(widget, "methodDetails").text


def test_a_preset_sets_the_parameters_and_a_hand_overrules_it(panel: Any) -> None:
    widget, parameters = panel.widget, panel.parameters
    steps = widget.editors.editors["steps"]
    widget.ui.method.presets["best"].click()
    assert parameters.preset == "best" and steps.value == 25
    steps.setValue(21)
    assert json.loads(parameters.recipeParameters) == {"steps": 21}
    assert "steps = 21" in find(widget, "changedParameters").text
    assert widget.logic.arguments(parameters)["parameters"] == {"steps": 21}
    steps.setValue(25)
    assert parameters.recipeParameters == "{}"
    steps.setValue(21)
    widget.ui.method.presets["fast"].click()
    assert parameters.recipeParameters == "{}" and steps.value == 10


def test_the_cost_follows_what_is_chosen(panel: Any) -> None:
    widget = panel.widget
    before = find(widget, "cost").text
    assert "network calls" in before
    widget.ui.method.samples.setValue(9)
    assert find(widget, "cost").text != before


def test_a_warning_for_what_the_model_does_not_know(panel: Any) -> None:
    assert not find(panel.widget, "domainWarning").visible
    panel.volume.SetSpacing(5.0, 5.0, 1.0)
    panel.widget.refresh()
    assert find(panel.widget, "domainWarning").visible and "5 x 5 mm" in find(panel.widget, "domainWarningText").text


def test_a_warning_for_another_kind_of_image(panel: Any) -> None:
    import slicer

    slicer.util.updateVolumeFromArray(panel.volume, voxels(panel.volume) - 1000)
    panel.widget.refresh()
    assert "CT" in find(panel.widget, "domainWarningText").text


def test_the_dice_draws_a_seed(panel: Any) -> None:
    press(panel.widget, "diceButton")
    assert panel.parameters.seed > 0 and panel.widget.ui.advanced.seed.value == panel.parameters.seed


def test_devices_by_name(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is asked of a worker when Advanced is opened, and names what is there."""
    from MedDiffusionLib import devices

    monkeypatch.setattr(devices.DeviceList, "_found", ())
    use_fake(panel.widget.logic)
    panel.widget.devices.makeWorker = lambda: panel.widget.logic.makeWorker(False)
    processes = children()
    panel.widget.ui.advanced.form.parentWidget().collapsed = False
    combo = panel.widget.ui.advanced.device
    panel.host.wait(lambda: combo.findData("cuda:7") >= 0, 10)
    assert "Fake GPU, 8 GB" in combo.itemText(combo.findData("cuda:7"))
    combo.setCurrentIndex(combo.findData("cuda:7"))
    assert panel.parameters.device == "cuda:7"
    panel.host.wait(lambda: children() <= processes, 5)


def test_everything_is_in_the_parameter_node(panel: Any) -> None:
    """Each control writes its parameter, and shows it again when the node changes."""
    inputs, parameters = panel.widget.ui.inputs, panel.parameters
    inputs["pattern"].setCurrentIndex(3)
    inputs["acceleration"].setValue(7.5)
    inputs["coils"].setValue(5)
    inputs["noise"].setValue(0.015)
    inputs["maskSeed"].setValue(11)
    inputs["plane"].setCurrentIndex(1)
    inputs["contrast"].setCurrentIndex(inputs["contrast"].findData("T2"))
    told = [getattr(parameters, name) for name in ("pattern", "acceleration", "coils", "noise", "maskSeed")]
    assert told == ["radial", 7.5, 5, 0.015, 11]
    assert (parameters.plane, parameters.contrast) == ("coronal", "T2")
    parameters.acceleration, parameters.pattern = 2.0, "poisson-disc"
    assert inputs["acceleration"].value == 2.0 and inputs["pattern"].currentIndex == 2


def test_a_scene_keeps_parameters_and_results(panel: Any, tmp_path: Path) -> None:
    """Saved as .mrb, closed, loaded: the panel is as it was, and the results are where they were."""
    import slicer

    from MedDiffusionLib.hierarchy import provenance

    panel.widget.ui.inputs["acceleration"].setValue(5.5)
    panel.widget.ui.method.presets["best"].click()
    panel.widget.editors.editors["steps"].setValue(17)
    run(panel)
    expected = voxels(panel.parameters.outputReconstruction).copy()
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    panel.host.clear_scene()
    assert panel.widget._parameterNode.acceleration == 4.0
    slicer.util.loadScene(path)
    panel.host.process_events()
    widget, parameters = panel.widget, panel.widget._parameterNode
    assert (parameters.acceleration, parameters.preset) == (5.5, "best")
    assert widget.ui.inputs["acceleration"].value == 5.5 and widget.editors.editors["steps"].value == 17
    assert parameters.inputVolume.GetName() == "Brain"
    image = parameters.outputReconstruction
    assert (
        np.array_equal(voxels(image), expected)
        and image.GetNodeReference("MedDiffusion.source") is parameters.inputVolume
    )
    assert provenance(image)["slicer"]["arguments"]["acceleration"] == 5.5
    assert find(widget, "applyButton").enabled


def test_a_damaged_scene_does_no_harm(panel: Any) -> None:
    panel.parameters.recipeParameters = "[broken"
    assert find(panel.widget, "applyButton").enabled
    panel.parameters.recipeParameters = "[1, 2]"
    assert panel.widget.logic.arguments(panel.parameters)["parameters"] == {}


# --- as text


def test_copy_as_python_runs_the_same_job(panel: Any) -> None:
    import slicer

    panel.parameters.acceleration, panel.parameters.seed, panel.parameters.contrast = 6.0, 3, "T1"
    captured = copied_call(panel.widget)
    assert slicer.app.clipboard().text().startswith("from DiffusionRecon import DiffusionReconLogic\n")
    assert captured == panel.widget.logic.arguments(panel.parameters) | {"parameters": None}


def test_copy_as_command_line(panel: Any) -> None:
    import slicer

    panel.parameters.acceleration = 6.0
    press(panel.widget, "copyCommand")
    text = slicer.app.clipboard().text()
    assert "meddiff reconstruct Brain.nrrd" in text and "--acceleration 6.0" in text
    assert text.startswith("# First save “Brain” as Brain.nrrd")
