"""The stand-ins for Slicer's Python modules: the contract's signatures, base classes and translation.

With SLICER_SOURCE the same tests run on Slicer's own files.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
from typing import Any

import pytest

OWN = os.environ.get("SLICER_SOURCE")  # Slicer's own modules are under test
MODULES = (
    "SampleData",
    "slicer.ScriptedLoadableModule",
    "slicer.i18n",
    "slicer.packaging",
    "slicer.parameterNodeWrapper.default",
    "slicer.parameterNodeWrapper.parameterInfo",
    "slicer.parameterNodeWrapper.parameterPack",
    "slicer.parameterNodeWrapper.serializers",
    "slicer.parameterNodeWrapper.types",
    "slicer.parameterNodeWrapper.util",
    "slicer.parameterNodeWrapper.validators",
    "slicer.parameterNodeWrapper.wrapper",
)


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


# Signatures


def arguments(signature: str) -> str:
    """Each argument with its kind and default, without `self` and annotations."""
    found = ast.parse(f"def f({signature}): pass").body[0].args
    for argument in ast.walk(found):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if found.args and found.args[0].arg == "self":
        found.args.pop(0)
    return ast.unparse(found).replace("logging.DEBUG", "10")


def arguments_of(function: Any) -> str:
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return arguments(str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))[1:-1])


@pytest.mark.skipif(bool(OWN), reason="Slicer's own modules are the contract")
@pytest.mark.parametrize("name", MODULES)
def test_names_and_signatures_are_those_of_the_contract(host, name):
    """Zero names outside the contract, and every argument by its name, place and default."""
    from host.contract import raw

    contract = raw()["python"][name]
    module = importlib.import_module(name)
    checked = 0
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) is None:
            continue
        if not (inspect.isclass(value) or inspect.isfunction(value)) or not value.__module__.startswith(home(name)):
            continue
        if key not in {**contract["classes"], **contract["functions"]}:
            assert value.__module__ != name, f"{name}.{key} is not in the contract"
            continue
        if inspect.isfunction(value):
            assert arguments_of(value) == arguments(contract["functions"][key]), f"{name}.{key}"
            checked += 1
            continue
        for method, signature in contract["classes"][key]["methods"].items():
            own = inspect.getattr_static(value, method, None)
            if own is None or isinstance(own, property) or (method == "__init__" and own is object.__init__):
                continue
            function = own.__func__ if isinstance(own, (staticmethod, classmethod)) else own
            assert arguments_of(function) == arguments(signature), f"{name}.{key}.{method}"
            checked += 1
        offered = {method for method in vars(value) if not method.startswith("_") and callable(getattr(value, method))}
        unknown = offered - set(contract["classes"][key]["methods"]) - PACK_METHODS
        assert not unknown, f"{name}.{key} has {unknown}, which are not in the contract"
    assert checked or name.endswith("parameterInfo")


PACK_METHODS = {"getValue", "setValue", "dataType"}  # added by a decorator, and so not seen by the extract


def home(name: str) -> str:
    return "slicer.parameterNodeWrapper" if name.startswith("slicer.parameterNodeWrapper") else name


# The base classes of a module


def logic_of(slicer, name="Probe"):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    return type(f"{name}Logic", (ScriptedLoadableModuleLogic,), {})()


def test_logic_has_one_parameter_node_a_scene(slicer):
    logic = logic_of(slicer)
    node = logic.getParameterNode()
    assert logic.moduleName == "Probe" and node.GetAttribute("ModuleName") == "Probe"
    assert node.GetSingletonTag() == "Probe" and logic.getParameterNode() is node
    assert logic_of(slicer, "Other").getParameterNode() is not node
    assert logic.getAllParameterNodes() == [node]
    slicer.mrmlScene.Clear(False)
    again = logic.getParameterNode()
    assert again.GetAttribute("ModuleName") == "Probe" and logic.getAllParameterNodes() == [again]


def test_logic_with_several_parameter_nodes(slicer):
    logic = logic_of(slicer)
    logic.isSingletonParameterNode = False
    first = logic.getParameterNode()
    second = slicer.mrmlScene.AddNode(logic.createParameterNode())
    assert logic.getParameterNode() is first and logic.getAllParameterNodes() == [first, second]
    assert not first.GetSingletonTag() and first.GetName() != second.GetName()


def test_tests_of_a_module_run_in_order(slicer):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

    ran = []

    class ProbeTest(ScriptedLoadableModuleTest):
        def setUp(self):
            ran.append("setUp")

        def tearDown(self):
            ran.append("tearDown")

        def test_a(self):
            ran.append("a")

        def test_b(self):
            ran.append("b")

    ProbeTest().runTest()
    assert ran == ["setUp", "a", "tearDown", "setUp", "b", "tearDown"]


# The base widget, in the host


MODULE = """
from slicer.ScriptedLoadableModule import *

class Probe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Probe"

class ProbeWidget(ScriptedLoadableModuleWidget):
    made = []
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.events = ["setup"]
        ProbeWidget.made.append(self)
    def cleanup(self):
        self.events.append("cleanup")

class ProbeTest(ScriptedLoadableModuleTest):
    ran = []
    def test_probe(self):
        ProbeTest.ran.append(VERSION)

VERSION = 1
"""


@pytest.fixture
def probe(host, tmp_path):
    path = tmp_path / "Probe.py"
    path.write_text(MODULE)
    return path


def test_a_module_describes_itself(host, slicer, probe):
    module = host.load_module(probe)
    assert slicer.modules.probe.title == "Probe" and "Probe" in slicer.selfTests
    widget = module.widget()
    assert widget.moduleName == "Probe" and widget.events == ["setup"] and widget.layout is widget.parent.layout()
    assert widget.resourcePath("UI/x.ui") == os.path.join(probe.parent, "Resources", "UI/x.ui")
    assert not widget.developerMode and not hasattr(widget, "reloadButton")


def test_reload_and_test_in_developer_mode(host, slicer, probe):
    slicer.app.settings().setValue("Developer/DeveloperMode", True)
    slicer.app.userSettings().setValue("Developer/SelfTestDisplayMessageDelay", 0)
    module = host.load_module(probe)
    first = module.widget()
    assert first.developerMode and first.reloadCollapsibleButton.text == "Reload && Test"
    probe.write_text(MODULE.replace("VERSION = 1", "VERSION = 22"))
    first.reloadButton.click()
    second = module.widget()
    assert second is not first and first.events == ["setup", "cleanup"] and second.events == ["setup"]
    assert sys.modules["Probe"].VERSION == 22
    second.onReloadAndTest()
    assert sys.modules["Probe"].ProbeTest.ran == [22]


# Translation


def test_text_without_translation_stays(slicer):
    from slicer.i18n import getContext, tr, translate

    assert tr("Apply {count}") == "Apply {count}" and translate("Anything", "Cancel") == "Cancel"
    assert getContext(__file__) == "test_host_python"
    assert getContext(importlib.import_module("meddiff.errors").__file__) == "meddiff.errors"


def test_a_translation_that_loses_a_value_is_refused(slicer, monkeypatch):
    import slicer.i18n as i18n

    asked = []
    monkeypatch.setattr(i18n, "translate", lambda context, text: asked.append(context) or "Löschen {anzahl}")
    assert i18n.tr("Delete {count}") == "Delete {count}"
    assert i18n.tr("Delete {anzahl}") == "Löschen {anzahl}"
    assert asked == ["test_host_python", "test_host_python"]
