"""Base classes of a scripted module; see the contract's `slicer.ScriptedLoadableModule`."""

import importlib
import logging
import os
import unittest
from pathlib import Path

import ctk
import qt
import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]

_NODE_CLASS = "vtkMRMLScriptedModuleNode"
_ATTRIBUTE = "ModuleName"  # tells the parameter nodes of one module from those of another


def _resources(modulePath, filename):
    return os.path.join(os.path.dirname(modulePath), "Resources", filename)


class ScriptedLoadableModule:
    """The description of a module, which writes itself onto `parent`."""

    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = ["Not yet written"]
        parent.helpText = "Not yet written."
        parent.acknowledgementText = "Not yet written."
        for ending in (".svg", ".png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}{ending}")
            if os.path.isfile(icon):
                parent.icon = qt.QIcon(icon)
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        """The file `filename` in the folder Resources beside the module."""
        return _resources(self.parent.path, filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        """A paragraph with a link to Slicer's documentation of `docPage`, or of this module."""
        app = slicer.app
        url = app.documentationBaseUrl + docPage if docPage else app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information, see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **kwargs):
        """Runs the class <Module>Test of the module's file; AssertionError if there is none."""
        module = importlib.import_module(type(self).__module__)
        name = f"{self.moduleName}Test"
        if not hasattr(module, name):
            raise AssertionError(f"{module.__name__} has no test class {name}")
        test = getattr(module, name)()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The panel of a module: builds its widgets in `parent` when `setup` is called."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent or self._topLevel()
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    @staticmethod
    def _topLevel():
        widget = slicer.qMRMLWidget()
        widget.setLayout(qt.QVBoxLayout())
        widget.setMRMLScene(slicer.mrmlScene)
        return widget

    def resourcePath(self, filename):
        """The file `filename` in the folder Resources beside the module."""
        return _resources(slicer.util.modulePath(self.moduleName), filename)

    def cleanup(self):
        """Called before the module is unloaded or reloaded."""

    def setup(self):
        """Builds the panel; a module's own panel calls this first."""
        self.setupDeveloperSection()

    def setupDeveloperSection(self):
        """The section Reload & Test, in developer mode only."""
        if not self.developerMode:
            return
        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.layout.addWidget(self.reloadCollapsibleButton)
        self.reloadButton = self._button("Reload", "Reload this module.", self.onReload)
        self.reloadTestMenuButton = self._testButton()
        self.editSourceButton = self._button("Edit", "Open the module's source code.", self.onEditSource)
        self.restartButton = self._button("Restart Slicer", "Restart Slicer.", slicer.app.restart)
        row = qt.QHBoxLayout()
        for button in (self.reloadButton, self.reloadTestMenuButton, self.editSourceButton, self.restartButton):
            row.addWidget(button)
        qt.QFormLayout(self.reloadCollapsibleButton).addRow(row)

    @staticmethod
    def _button(text, toolTip, onClicked):
        button = qt.QPushButton(text)
        button.toolTip = toolTip
        button.connect("clicked()", onClicked)
        return button

    def _testButton(self):
        """A button with a menu: Reload and Test (the default), or Test alone."""
        button = qt.QToolButton()
        button.toolTip = "Test, or reload and test"
        menu = qt.QMenu(button)
        self.reloadTestAction = menu.addAction("Reload and Test")
        self.reloadTestAction.triggered.connect(lambda *_: self.onReloadAndTest())
        self.testAction = menu.addAction("Test")
        self.testAction.triggered.connect(lambda *_: self.onTest())
        button.setMenu(menu)
        button.setDefaultAction(self.reloadTestAction)
        return button

    def onReload(self):
        """Reads the module's file again and builds the panel anew."""
        logging.info("Reloading module: %s", self.moduleName)
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs):
        """Runs the module's test, and shows what it raises."""
        with slicer.util.tryWithErrorDisplay("Test failed."):
            self._runSelfTest(**kwargs)

    def onReloadAndTest(self, **kwargs):
        """`onReload`, then the module's test; what they raise is shown."""
        with slicer.util.tryWithErrorDisplay("Reload and Test failed."):
            self.onReload()
            self._runSelfTest(**kwargs)

    def _runSelfTest(self, **kwargs):
        delay = slicer.app.userSettings().value("Developer/SelfTestDisplayMessageDelay") or 0
        slicer.selfTests[self.moduleName](msec=int(delay), **kwargs)

    def onEditSource(self):
        """Opens the module's file in the editor of the system."""
        path = Path(slicer.util.modulePath(self.moduleName))
        qt.QDesktopServices.openUrl(qt.QUrl(path.as_uri()))

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName != self.moduleName:
            return
        self.cleanup()
        slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """What a module does, without widgets; keeps its parameters in nodes of the scene."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True  # False: a scene may hold several sets of parameters

    def getParameterNode(self):
        """The first parameter node of this module in the scene; made if there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, _NODE_CLASS)
            if node is not None and node.GetAttribute(_ATTRIBUTE) != self.moduleName:
                node.SetAttribute(_ATTRIBUTE, self.moduleName)  # closing the scene takes attributes away
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return slicer.mrmlScene.AddNode(self.createParameterNode()) if node is None else node

    def getAllParameterNodes(self):
        """The parameter nodes of this module, in the order of the scene."""
        scene = slicer.mrmlScene
        nodes = [scene.GetNthNodeByClass(i, _NODE_CLASS) for i in range(scene.GetNumberOfNodesByClass(_NODE_CLASS))]
        return [node for node in nodes if node.GetAttribute(_ATTRIBUTE) == self.moduleName]

    def createParameterNode(self):
        """A parameter node that is not yet in the scene."""
        if slicer.mrmlScene is None:
            return None
        node = slicer.mrmlScene.CreateNodeByClass(_NODE_CLASS)
        node.UnRegister(None)  # Python holds it now
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute(_ATTRIBUTE, self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's own test, run inside Slicer by Reload and Test."""

    def __init__(self, *args, **kwargs):
        self.moduleTestNames = []
        super().__init__(*args, **kwargs)
        self.enableScreenshots = False
        self.screenshotScaleFactor = 1.0
        if not self.moduleTestNames:
            self.moduleTestNames = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        """Shows `message` for a moment and lets events be processed; `messageDelay` of the test wins."""
        delays = (getattr(self, "messageDelay", None), msec, requestedDelay, 100)
        slicer.util.delayDisplay(message, next(delay for delay in delays if delay is not None))

    def takeScreenshot(self, name, description, type=-1):
        """Shows `description`; the pictures themselves need Slicer's main window."""
        self.delayDisplay(description)
        if self.enableScreenshots:
            raise NotImplementedError("the test host takes no screenshots; use host.render or host.grab")

    def setUp(self):
        """Before each test."""

    def tearDown(self):
        """After each test."""

    def runTest(self):
        """Runs the methods named in `moduleTestNames`, by default all whose name has "test" in it."""
        if not self.moduleTestNames:
            logging.warning("%s defines no test", type(self).__name__)
            return
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()
