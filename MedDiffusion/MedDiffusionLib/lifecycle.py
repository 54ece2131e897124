"""The life of a panel, as Slicer calls it: made, shown, left, its scene closed or loaded, reloaded, gone."""

from __future__ import annotations

import sys
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .bindings import Bindings
from .logic import DiffusionLogic
from .runner import close_shared_worker

SHARED = ("MedDiffusionLib", "meddiff")  # packages that all modules of the extension share


class Panel(VTKObservationMixin):
    """A panel with a logic, and with parameters in the scene; what it shows is said by a subclass."""

    Logic: type[DiffusionLogic]

    def __init__(self, parent: Any) -> None:
        """A panel in a widget that has a layout; `setup` builds it."""
        VTKObservationMixin.__init__(self)
        self.parent, self.layout = parent, parent.layout()
        self.logic: Any = None
        self._parameterNode: Any = None

    # What a subclass says

    def build(self) -> None:
        """Make the widgets."""
        raise NotImplementedError

    def onEdited(self, parameter: str) -> None:
        """A parameter was edited by hand; its change still pends."""

    def prepare(self) -> None:
        """Fill in what the parameters leave open, and the items of selectors, before the widgets show them."""

    def refresh(self) -> None:
        """Show what follows from the parameters."""

    def abandonJob(self) -> None:
        """Stop what runs, at once and without a trace."""

    def close(self) -> None:
        """Let go of all that would outlive the panel."""

    @property
    def isShown(self) -> bool:
        """Whether the panel is on the screen."""
        return self.parent.isEntered

    # What Slicer calls

    def setup(self) -> None:
        """Build the panel; called once, when it is first shown."""
        self.logic = self.Logic()
        self.bindings = Bindings(self.onEdited)
        self.build()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """The panel goes away: with the application, or because the module is reloaded."""
        self.abandonJob()
        self.close()
        self.setParameterNode(None)
        self.removeObservers()
        close_shared_worker()

    def enter(self) -> None:
        """The panel is shown."""
        self.initializeParameterNode()

    def exit(self) -> None:
        """Another panel is shown; a job goes on."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """What runs is for a scene that is no more."""
        self.abandonJob()
        close_shared_worker()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """An empty scene: begin anew if the panel is on the screen."""
        if self.isShown:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller: Any, event: Any) -> None:
        """A scene was read, perhaps with parameters of this module."""
        if self.isShown:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: Any, event: Any, node: Any) -> None:
        """A selector whose node goes would choose its neighbour, which the next run would then overwrite."""
        if self._parameterNode is None or node is None:
            return
        for role in (*self.logic.inputs(), *self.logic.outputs()):
            if getattr(self._parameterNode, role.parameter) is node:
                setattr(self._parameterNode, role.parameter, None)

    # Parameters

    def initializeParameterNode(self) -> None:
        """The parameters of the scene, shown; the first input is chosen where there is an obvious choice."""
        self.setParameterNode(self.logic.getParameterNode())
        role = next((role for role in self.logic.inputs() if not role.isFile), None)
        if role is not None and getattr(self._parameterNode, role.parameter) is None:
            there = slicer.util.getNodesByClass(role.nodeTypes[0])
            there = [n for n in there if not n.GetHideFromEditors()]  # as the selector lists them
            node = next((n for n in there if n.GetClassName() == role.nodeTypes[0]), None)  # no label maps
            setattr(self._parameterNode, role.parameter, node)

    def setParameterNode(self, parameterNode: Any) -> None:
        """Show and observe these parameters; None lets go of them."""
        if self._parameterNode is not None:
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self._parameterNode = parameterNode
        self.bindings.setNode(None)
        if parameterNode is not None:
            self.prepare()
            self.bindings.setNode(parameterNode)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
            self.refresh()

    def _onParametersModified(self, caller: Any = None, event: Any = None) -> None:
        self.prepare()
        self.bindings.update()
        self.refresh()


class ModulePanel(Panel, ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel of a module of its own."""

    def __init__(self, parent: Any = None) -> None:
        """Called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        Panel.__init__(self, self.parent)

    def setup(self) -> None:
        """Build the panel, below what Slicer shows to developers."""
        ScriptedLoadableModuleWidget.setup(self)
        Panel.setup(self)

    def onReload(self) -> None:
        """Reload the module, and with it the packages that all modules share."""
        self.abandonJob()
        close_shared_worker()
        for name in [name for name in sys.modules if name.split(".")[0] in SHARED]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
