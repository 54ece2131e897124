"""`slicer.app`: the application object, with all that lives without a main window."""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import sys
import tempfile
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .classes import stand_in
from .io import qSlicerIOManager
from .modules import qSlicerLoadableModule, qSlicerModuleManager
from .scene import ApplicationScene

VERSION = (5, 12)
REVISION = "34045"


def settings_in(folder: str) -> None:
    """All QSettings() of the process live in `folder`."""
    ini, scope = QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope
    QtCore.QSettings.setDefaultFormat(ini)
    for one in (scope.UserScope, scope.SystemScope):
        QtCore.QSettings.setPath(ini, one, folder)


@stand_in
class qSlicerCommandOptions(QtCore.QObject):
    """The command line: `--no-main-window`."""

    noMainWindow = True
    runPythonAndExit = False


@stand_in
class qSlicerCorePythonManager(QtCore.QObject):
    """The interpreter."""

    def toPythonStringLiteral(self, text: str) -> str:
        return repr(text)

    def appendPythonPath(self, path: str) -> None:
        sys.path.append(path)

    def appendPythonPaths(self, paths: Any) -> None:
        sys.path.extend(paths)


@stand_in
class qSlicerPythonManager(qSlicerCorePythonManager):
    """The same, in the application with a window."""


@stand_in
class qSlicerCoreApplication(QtWidgets.QApplication):
    """The application without windows."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer.org")
        self.setQuitOnLastWindowClosed(False)
        self._home = tempfile.mkdtemp(prefix="slicer-host-")
        atexit.register(shutil.rmtree, self._home, ignore_errors=True)
        settings_in(self._folder("settings"))
        self._testing, self._layout_manager, self._paused = False, None, 0
        self._environment = QtCore.QProcessEnvironment.systemEnvironment()
        self._session = ApplicationScene(self._home)
        self._manager, self._io = qSlicerModuleManager(), qSlicerIOManager()
        self._options, self._python = qSlicerCommandOptions(), qSlicerPythonManager()

    def _folder(self, name: str) -> str:
        path = os.path.join(self._home, name)
        os.makedirs(path, exist_ok=True)
        return path

    def _add_modules(self) -> None:
        for name, logic in self._session.logics.items():
            self._manager._add(qSlicerLoadableModule(name, logic))

    # --- objects

    def applicationLogic(self) -> Any:
        return self._session.application

    def mrmlScene(self) -> Any:
        return self._session.scene

    def moduleManager(self) -> qSlicerModuleManager:
        return self._manager

    def moduleLogic(self, name: str) -> Any:
        return self._session.logics.get(name)

    def coreIOManager(self) -> qSlicerIOManager:
        return self._io

    def environment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return self._environment

    def setEnvironmentVariable(self, name: str, value: str) -> None:
        os.environ[name] = value

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def revisionUserSettings(self) -> QtCore.QSettings:
        path = os.path.join(self._folder("settings"), f"Slicer-{REVISION}.ini")
        return QtCore.QSettings(path, QtCore.QSettings.Format.IniFormat)

    # --- answers

    def testingEnabled(self) -> bool:
        return self._testing

    def moduleDocumentationUrl(self, module: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{module.lower()}.html"

    def toSlicerHomeAbsolutePath(self, path: str) -> str:
        return path if os.path.isabs(path) else os.path.join(self._home, path)

    def toSlicerHomeRelativePath(self, path: str) -> str:
        return os.path.relpath(path, self._home)

    def logUsageEvent(self, component: str, event: str) -> None:
        """Nothing is logged."""

    def pauseRender(self) -> None:
        self._paused += 1

    def resumeRender(self) -> None:
        self._paused -= 1

    def setRenderPaused(self, paused: bool) -> None:
        self._paused += 1 if paused else -1

    def restart(self) -> None:
        raise RuntimeError("the code under test restarts Slicer")


@stand_in
class qSlicerApplication(qSlicerCoreApplication):
    """The application; without a main window it has no layout manager."""

    def layoutManager(self) -> Any:
        return self._layout_manager

    def setLayoutManager(self, manager: Any) -> None:
        self._layout_manager = manager

    def ioManager(self) -> qSlicerIOManager:
        return self._io

    def pythonManager(self) -> qSlicerPythonManager:
        return self._python

    def pythonConsole(self) -> None:
        return None

    def commandOptions(self) -> qSlicerCommandOptions:
        return self._options

    def openNodeModule(self, node: Any, role: str = "", context: str = "") -> None:
        """There is no window to show it in."""


def fact(name: str, value: Any) -> None:
    """A property of the application that can only be read."""
    setattr(qSlicerCoreApplication, name, property(value if callable(value) else lambda self: value))


fact("majorVersion", VERSION[0])
fact("minorVersion", VERSION[1])
fact("mainApplicationMajorVersion", VERSION[0])
fact("mainApplicationMinorVersion", VERSION[1])
fact("mainApplicationPatchVersion", 0)
fact("mainApplicationName", "Slicer")
fact("mainApplicationDisplayName", "3D Slicer")
fact("revision", REVISION)
fact("mainApplicationRevision", REVISION)
fact("repositoryRevision", REVISION)
fact("mainApplicationRepositoryRevision", REVISION)
fact("releaseType", "Stable")
fact("isInstalled", True)
fact("isCustomMainApplication", False)
fact("os", {"Linux": "linux", "Windows": "win", "Darwin": "macosx"}.get(platform.system(), "linux"))
fact("arch", "amd64")
fact("platform", "linux-amd64")
fact("documentationBaseUrl", f"https://slicer.readthedocs.io/en/{VERSION[0]}.{VERSION[1]}/")
fact("slicerHome", lambda self: self._home)
fact("slicerSharePath", f"share/Slicer-{VERSION[0]}.{VERSION[1]}")
fact("launcherExecutableFilePath", lambda self: os.path.join(self._home, "Slicer"))
fact("slicerUserSettingsFilePath", lambda self: QtCore.QSettings().fileName())
fact("startupWorkingPath", lambda self: os.getcwd())


def folder_property(name: str, folder: str) -> None:
    """A folder of the application that can be changed; it exists."""
    key = f"_{name}"

    def get(self: Any) -> str:
        return self.__dict__.get(key) or self._folder(folder)

    def put(self: Any, path: str) -> None:
        self.__dict__[key] = path

    setattr(qSlicerCoreApplication, name, property(get, put))


folder_property("temporaryPath", "temporary")
folder_property("cachePath", "cache")
folder_property("extensionsInstallPath", "extensions")
folder_property("defaultScenePath", "documents")
slicer.qSlicerApplication = qSlicerApplication
