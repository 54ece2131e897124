"""Scripted modules in the host: loaded, shown, left, reloaded, unloaded as Slicer does it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

SOURCE = os.environ.get("SLICER_SOURCE")

MODULE = """
import ctk, qt, slicer, vtk
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

VERSION = 1
calls = []


class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "A toy"
        parent.categories = ["Image Synthesis"]
        slicer.app.connect("startupCompleted()", lambda: calls.append("started"))


class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ToyLogic()
        box = ctk.ctkCollapsibleButton()
        box.text = "Inputs"
        self.layout.addWidget(box)
        form = qt.QFormLayout(box)
        self.selector = slicer.qMRMLNodeComboBox()
        self.selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.selector.setMRMLScene(slicer.mrmlScene)
        form.addRow("Volume:", self.selector)
        self.layout.addStretch(1)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClosed)
        calls.append("setup")

    def onClosed(self, caller, event):
        calls.append(f"closed, entered: {self.parent.isEntered}")

    def enter(self):
        calls.append("enter")

    def exit(self):
        calls.append("exit")

    def cleanup(self):
        self.removeObservers()
        calls.append("cleanup")


class ToyLogic(ScriptedLoadableModuleLogic):
    def double(self, value):
        return 2 * value


class ToyTest(ScriptedLoadableModuleTest):
    def runTest(self):
        calls.append("tested")
"""


@pytest.fixture
def toy(host, tmp_path):
    (tmp_path / "Toy.py").write_text(MODULE)
    (tmp_path / "Resources/Icons").mkdir(parents=True)
    yield tmp_path / "Toy.py"
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


def test_a_module_lives_from_loading_to_cleanup(host, toy):
    import slicer

    module = host.load_module(toy)
    calls = sys.modules["Toy"].calls
    assert calls == [] and module.instance.title == "A toy" and module.instance.categories == ("Image Synthesis",)
    assert slicer.modules.toy is module.instance and slicer.modules.toy.path == str(toy)
    assert slicer.moduleNames.Toy == "Toy" and "Toy" in slicer.util.moduleNames()
    host.startup_completed()

    widget = module.enter()
    assert slicer.modules.ToyWidget is widget and slicer.util.getModuleWidget("Toy") is widget
    assert slicer.util.getModuleLogic("Toy").double(4) == 8
    assert widget.selector.mrmlScene() is slicer.mrmlScene
    host.clear_scene()
    module.exit()
    host.clear_scene()
    host.unload("Toy")
    shown = ["closed, entered: True", "exit", "closed, entered: False"]
    assert calls == ["started", "setup", "enter", *shown, "cleanup"]
    assert not hasattr(slicer.modules, "toy") and "Toy" not in sys.modules
    host.clear_scene()
    assert len(calls) == 7


def test_a_changed_module_is_reloaded_in_its_panel(host, toy):
    import slicer

    module = host.load_module(toy)
    old = module.enter()
    before = sys.modules["Toy"].calls
    toy.write_text(MODULE.replace("VERSION = 1", "VERSION = 2").replace("2 * value", "3 * value"))
    os.utime(toy, (1, 1))
    new = host.reload(module)
    assert before[-1] == "cleanup" and new is not old
    assert sys.modules["Toy"].VERSION == 2 and new.logic.double(4) == 12
    assert slicer.modules.ToyWidget is new and module.widget() is new and new.parent is old.parent


def test_the_modules_own_test_runs(host, toy):
    import slicer

    module = host.load_module(toy)
    slicer.selfTests["Toy"]()
    module.instance  # noqa: B018
    assert sys.modules["Toy"].calls == ["tested"]


def test_mistakes_of_a_module_are_not_swallowed(host, toy):
    toy.write_text(MODULE.replace("self.logic = ToyLogic()", "self.logic = ToyLogc()"))
    with pytest.raises(NameError):
        host.load_module(toy).enter()
    toy.write_text("import slicer\nraise ImportError('torch')\n")
    with pytest.raises(ImportError, match="torch"):
        host.load_module(toy)
    toy.write_text(MODULE.replace('parent.title = "A toy"', 'parent.dependencies = ["Absent"]'))
    with pytest.raises(RuntimeError, match="Absent"):
        host.load_module(toy)


def test_an_observer_that_a_module_leaves_behind_is_found(host, toy):
    leaky = MODULE.replace("self.removeObservers()", "pass").replace("{self.parent.isEntered}", "{self.parent.width}")
    toy.write_text(leaky)
    widget = host.load_module(toy).enter()
    host.close()
    assert [type(error.error) for error in host.slot_errors] == [RuntimeError]
    host.slot_errors.clear()
    widget.removeObservers()


def test_an_error_is_found_once_after_a_command_line_has_put_its_hook_before_that_of_the_host(host, monkeypatch):
    ours = sys.excepthook
    monkeypatch.setattr(sys, "excepthook", lambda *error: ours(*error))  # as typer's, imported after the host started
    host.reset()
    sys.excepthook(ValueError, ValueError("once"), None)
    assert [str(error.error) for error in host.slot_errors] == ["once"]
    host.slot_errors.clear()


def test_the_developer_section_can_be_shown(host, toy):
    import slicer

    slicer.app.settings().setValue("Developer/DeveloperMode", True)
    widget = host.load_module(toy).enter()
    assert widget.reloadButton.text == "Reload"
    widget.reloadButton.click()
    assert sys.modules["Toy"].calls == ["setup"]


def test_a_panel_can_be_looked_at(host, toy, tmp_path):
    import qt

    module = host.load_module(toy)
    module.enter()
    picture = qt.QImage(str(host.grab(module.representation(), tmp_path / "panel.png", width=420)))
    assert picture.width() == 420 and picture.height() > 60
    colours = {picture.pixel(x, y) for x in range(0, 420, 7) for y in range(0, picture.height(), 3)}
    assert len(colours) > 5


@pytest.mark.skipif(not SOURCE, reason="needs SLICER_SOURCE: Slicer's unmodified module template")
def test_slicers_own_template_runs_unmodified(host):
    import slicer

    template = Path(SOURCE, "Utilities/Templates/Modules/Scripted/TemplateKey.py")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "in")
    module = host.load_module(template)
    widget = module.enter()
    parameters = widget._parameterNode
    assert parameters.inputVolume is volume and widget.ui.inputSelector.currentNode() is volume
    widget.ui.imageThresholdSliderWidget.value = 42.0
    assert parameters.imageThreshold == 42.0
    parameters.imageThreshold = 17.0
    assert widget.ui.imageThresholdSliderWidget.value == 17.0
    assert widget.ui.applyButton.enabled is False
    out = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "out")
    widget.ui.outputSelector.setCurrentNode(out)
    assert parameters.thresholdedVolume is out and widget.ui.applyButton.enabled is True
    assert widget.ui.applyButton.toolTip == "Compute output volume"
    host.clear_scene()
    assert widget._parameterNode.inputVolume is None and widget.ui.applyButton.enabled is False
    assert host.reload(module) is not widget
