"""The application's modules and those of the code under test: module objects, their manager, their widgets."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from . import signals
from .classes import stand_in
from .widgets.mrml_small import qSlicerWidget


@stand_in
class qSlicerAbstractCoreModule(QtCore.QObject):
    """What every module has."""

    def __init__(self, name: str, logic: Any = None) -> None:
        super().__init__()
        self._name, self._logic, self._path = name, logic, ""
        self._info: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def path(self) -> str:
        return self._path

    def logic(self) -> Any:
        return self._logic


@stand_in
class qSlicerAbstractModule(qSlicerAbstractCoreModule):
    """A module with a widget."""


@stand_in
class qSlicerLoadableModule(qSlicerAbstractModule):
    """A module of the application: it has a logic and no widget here."""

    def widgetRepresentation(self) -> None:
        return None

    def createNewWidgetRepresentation(self) -> None:
        return None


@stand_in
class qSlicerAbstractModuleWidget(qSlicerWidget):
    """The panel of a module."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._entered, self._module = False, None

    @property
    def isEntered(self) -> bool:
        return self._entered

    def module(self) -> Any:
        return self._module

    def enter(self) -> None:
        self._entered = True

    def exit(self) -> None:
        self._entered = False

    def setEditedNode(self, node: Any, role: str = "", context: str = "") -> bool:
        return False

    def nodeEditable(self, node: Any) -> float:
        return 0.5 if node is not None else 0.0


def load(name: str, path: str) -> Any:
    """Runs a module's file and puts it into sys.modules, as Slicer's factory does."""
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def python_class(name: str, path: str, suffix: str = "") -> Any:
    """The class `name + suffix` of a module's file, which is run if it is not loaded yet; None without such a class."""
    module = sys.modules.get(name)
    if module is None or not hasattr(module, name + suffix):
        module = load(name, path)
    return getattr(module, name + suffix, None)


@stand_in
class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """The panel of a scripted module: holds the Python widget and calls its methods."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)
        self._python: Any = None
        self._source = ""

    def _set_source(self, path: str) -> None:
        name = Path(path).stem
        made = python_class(name, path, "Widget")
        self._source = path
        self._python = made(self)
        setattr(slicer.modules, f"{name}Widget", self._python)

    def _call(self, method: str, *args: Any) -> Any:
        """A method that the Python widget may leave out."""
        found = getattr(self._python, method, None)
        return found(*args) if found is not None else None

    @property
    def moduleName(self) -> str:
        return Path(self._source).stem

    def reload(self) -> None:
        self._set_source(self._source)
        self._call("setup")

    def enter(self) -> None:
        super().enter()
        self._call("enter")

    def exit(self) -> None:
        super().exit()
        self._call("exit")

    def setEditedNode(self, node: Any, role: str = "", context: str = "") -> bool:
        return bool(self._call("setEditedNode", node, role, context))

    def nodeEditable(self, node: Any) -> float:
        answer = self._call("nodeEditable", node)
        return super().nodeEditable(node) if answer is None else float(answer)

    def self(self) -> Any:
        return self._python


@stand_in
class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A scripted module: `parent` of its Python class, which fills in title, categories and the rest."""

    def __init__(self, path: str) -> None:
        super().__init__(Path(path).stem, slicer.vtkSlicerScriptedLoadableModuleLogic())
        self._path, self._widget, self._creation = path, None, True
        self._python: Any = None

    def _set_source(self) -> None:
        made = python_class(self._name, self._path)
        if made is None:
            raise RuntimeError(f"{self._path} has no class {self._name}")
        self._python = made(self)
        setattr(slicer.modules, f"{self._name}Instance", self._python)
        setattr(slicer.modules, self._name.lower(), self)
        setattr(slicer.moduleNames, self._name, self._name)
        self._creation = python_class(self._name, self._path, "Widget") is not None
        setup = getattr(self._python, "setup", None)
        if setup is not None:
            setup()

    @property
    def widgetRepresentationCreationEnabled(self) -> bool:
        return self._creation

    @widgetRepresentationCreationEnabled.setter
    def widgetRepresentationCreationEnabled(self, enabled: bool) -> None:
        self._creation = bool(enabled)

    def widgetRepresentation(self) -> Any:
        if self._widget is None and self._creation:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> Any:
        widget = qSlicerScriptedLoadableModuleWidget()
        widget.setObjectName(f"{self._name}ModuleWidget")
        widget._module = self
        widget._set_source(self._path)
        widget._call("setup")
        widget.setMRMLScene(slicer.mrmlScene)
        return widget


@stand_in
class qSlicerAbstractModuleFactoryManager(QtCore.QObject):
    """Knows the modules."""

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    def instantiatedModuleNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    registeredModuleNames = instantiatedModuleNames

    def isInstantiated(self, name: str) -> bool:
        return name in self._modules

    isRegistered = isInstantiated

    def moduleInstance(self, name: str) -> Any:
        return self._modules.get(name)


@stand_in
class qSlicerModuleFactoryManager(qSlicerAbstractModuleFactoryManager):
    """Knows the modules that are loaded."""

    def isLoaded(self, name: str) -> bool:
        return name in self._modules

    def loadedModule(self, name: str) -> Any:
        return self._modules.get(name)

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(self._modules)


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    """Hands out modules; tells when one goes."""

    def __init__(self) -> None:
        super().__init__()
        self._factory = qSlicerModuleFactoryManager()

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        return self._factory

    def module(self, name: str) -> Any:
        return self._factory.loadedModule(name)

    def modulesNames(self) -> tuple[str, ...]:
        return self._factory.loadedModuleNames()

    def _add(self, module: qSlicerAbstractCoreModule) -> None:
        self._factory._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)
        signals.emit(self, "moduleLoaded", module.name)

    def _remove(self, name: str) -> Any:
        """Unloads: leaves the panel, has `cleanup` called by the signal, drops all traces; returns the panel."""
        module = self._factory._modules[name]
        widget = getattr(module, "_widget", None)
        if widget is not None and widget.isEntered:
            widget.exit()
        signals.emit(self, "moduleAboutToBeUnloaded", name)
        del self._factory._modules[name]
        self._forget(name)
        return widget

    def _forget(self, name: str) -> None:
        for owner, attribute in (
            (slicer.modules, name.lower()),
            (slicer.modules, f"{name}Instance"),
            (slicer.modules, f"{name}Widget"),
            (slicer.moduleNames, name),
        ):
            if hasattr(owner, attribute):
                delattr(owner, attribute)
        getattr(slicer, "selfTests", {}).pop(name, None)
        sys.modules.pop(name, None)
