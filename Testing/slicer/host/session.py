"""The object that tests talk to: starts the application once, loads modules, waits, looks."""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Module:
    """A loaded scripted module and its panel."""

    def __init__(self, instance: Any) -> None:
        self.instance = instance  # slicer.modules.<name>
        self.name: str = instance.name

    def representation(self) -> Any:
        """The panel as a Qt widget; made (with `setup`) at the first call."""
        return self.instance.widgetRepresentation()

    def widget(self) -> Any:
        """The Python widget of the panel."""
        return self.representation().self()

    def enter(self) -> Any:
        """Shows the panel as selecting the module does; returns the Python widget."""
        shown = self.representation()
        shown.show()
        shown.enter()
        return shown.self()

    def exit(self) -> None:
        shown = self.representation()
        shown.exit()
        shown.hide()


class Host:
    """Slicer's application, as far as modules without a main window need it."""

    def __init__(self, pip: Any) -> None:
        from . import reports

        self.pip = pip  # what the code under test asked pip for; nothing is installed

        self.slot_errors, self.messages, self.dialogs = reports.slot_errors, reports.messages, reports.dialogs
        self.status, self.opened, self.qt_warnings = reports.status, reports.opened, reports.warnings
        self._answers = reports.answers
        self._kept: set[str] = set()
        self.longest_block = 0.0

    @property
    def render(self) -> Any:
        """Pictures of slices and surfaces: `host.render.slice_png(path, background=node, ...)`."""
        from . import render

        return render

    # --- modules

    def load_module(self, path: str | Path) -> Module:
        """Loads a scripted module from its .py file, anew if it is loaded already."""
        import slicer

        from .modules import qSlicerScriptedLoadableModule

        name, manager = Path(path).stem, slicer.app.moduleManager()
        if manager.module(name) is not None:
            self.unload(name)
        module = qSlicerScriptedLoadableModule(str(Path(path).resolve()))
        try:
            module._set_source()
            for other in module.dependencies or ():
                if manager.module(other) is None:
                    raise RuntimeError(f"{name} depends on {other}, which must be loaded first")
        except BaseException:
            manager._forget(name)
            raise
        manager._add(module)
        return Module(module)

    def unload(self, name: str) -> None:
        import slicer

        panel = slicer.app.moduleManager()._remove(name)
        if panel is not None:
            panel.delete()

    def reload(self, module: Module) -> Any:
        """Presses Reload in the panel; returns the new Python widget."""
        module.widget().onReload()
        return module.widget()

    def startup_completed(self) -> None:
        """Tells the modules that the application is up (sample data are registered then)."""
        import slicer

        from . import signals

        signals.emit(slicer.app, "startupCompleted")

    # --- time

    def process_events(self, seconds: float = 0.0) -> None:
        """Runs the event loop, at least once, for so long; deferred deletions happen too.

        `host.longest_block` is the longest time, in seconds, that the window did not respond meanwhile.
        """
        import slicer
        from PySide6 import QtCore

        end = time.monotonic() + seconds
        while True:
            before = time.monotonic()
            slicer.app.processEvents()
            self.longest_block = max(self.longest_block, time.monotonic() - before)
            slicer.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def wait(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Runs the event loop until the condition holds, and returns what it returned."""
        end = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s for {getattr(condition, '__qualname__', condition)}")
            self.process_events(0.005)

    # --- dialogs and settings

    def answer(self, *answers: Any) -> None:
        """Prepares the answers of the next modal dialogs: a path, a text, a button, or a function of the dialog."""
        self._answers.extend(answers)

    @contextmanager
    def testing(self, enabled: bool = True) -> Iterator[None]:
        """`slicer.app.testingEnabled()` for a while; it is False else, as for a user."""
        import slicer

        before, slicer.app._testing = slicer.app._testing, enabled
        try:
            yield
        finally:
            slicer.app._testing = before

    # --- pictures

    def grab(self, widget: Any, path: str | Path, width: int | None = None) -> Path:
        """A picture of a widget as PNG, at the width given and the height that it wants."""
        from PySide6 import QtCore, QtWidgets

        widget = getattr(widget, "parent", widget) if not isinstance(widget, QtWidgets.QWidget) else widget
        widget.setAttribute(QtCore.Qt.WidgetAttribute.WA_DontShowOnScreen, True)
        widget.show()
        if width is not None:
            widget.resize(width, widget.height)
        self.process_events(0.05)
        height = max(widget.heightForWidth(widget.width), widget.sizeHint.height())
        widget.resize(widget.width, height)
        self.process_events(0.05)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if not widget.grab().save(str(path)):
            raise OSError(f"could not write {path}")
        return Path(path)

    # --- between tests

    def clear_scene(self) -> None:
        """File > Close Scene."""
        import slicer

        slicer.mrmlScene.Clear(0)

    def reset(self) -> None:
        """A fresh application: no modules of the test, no windows, an empty scene, no settings, nothing recorded."""
        self.close()
        self.forget()

    def close(self) -> None:
        """Unloads the modules, empties the scene, closes the windows.

        Then the scene is used once more: an observer that a module left behind meets its deleted panel and is caught.
        """
        import slicer
        from PySide6 import QtCore, QtWidgets

        manager = slicer.app.moduleManager()
        panels = [manager._remove(name) for name in manager.modulesNames() if name not in self._kept]
        slicer.app._session.restore()
        for panel in panels:
            if panel is not None:
                panel.delete()
        slicer.app.setLayoutManager(None)
        for window in QtWidgets.QApplication.topLevelWidgets():
            window.close()
            window.deleteLater()
        while QtWidgets.QApplication.overrideCursor() is not None:
            QtWidgets.QApplication.restoreOverrideCursor()
        self.process_events()
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "probe")
        slicer.app._session.restore()
        QtCore.QSettings().clear()
        slicer.app._testing = False

    def forget(self) -> None:
        """Forgets what was recorded, and the answers that nobody asked for."""
        from . import reports

        reports.clear()
        self.longest_block = 0.0
        self.pip.forget()


_host: Host | None = None


def start() -> Host:
    """Starts the application in this process, once; installs `qt`, `ctk` and the enriched `slicer`."""
    global _host
    if _host is None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("MPLBACKEND", "Agg")  # else matplotlib takes the Qt that is loaded for a window system
        _host = _start()
    return _host


def _start() -> Host:
    import slicer

    from . import immortal, newer, pythonqt, qtmodule, reports

    immortal.keep_none()
    pythonqt.install(qtmodule.MODULES)
    newer.forbid(qtmodule.MODULES)
    sys.modules["qt"] = qtmodule.build()
    _install_classes(slicer)
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(f"slicer.{name}")
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    from . import appearance, dialogs, standins
    from .app import qSlicerApplication

    pip = standins.install()
    dialogs.replace_static()
    slicer.app = qSlicerApplication(["Slicer"])
    appearance.apply(slicer.app)
    slicer.mrmlScene = slicer.app.mrmlScene()
    slicer.app._add_modules()
    _record(slicer.util)
    reports.catch_hooks()
    reports.catch_warnings()
    host = Host(pip)
    host._kept = set(slicer.app.moduleManager().modulesNames())
    return host


def _install_classes(slicer: Any) -> None:
    """`ctk`, and Slicer's Qt classes in `slicer`."""
    from . import classes
    from .widgets import (  # noqa: F401  # noqa: F401
        ctk_boxes,
        ctk_numbers,
        ctk_paths,
        ctk_ranges,
        ctk_small,
        hierarchy_combo,
        mrml_small,
        node_combo,
        segments,
        sequences,
        tables,
    )

    ctk = types.ModuleType("ctk", "CTK's widgets as an extension of Slicer sees them.")
    ctk.__getattr__ = classes.module_getattr("ctk", ("ctk",))  # type: ignore[method-assign]
    slicer.__getattr__ = classes.module_getattr("slicer", ("qMRML", "qSlicer"))
    sys.modules["ctk"] = ctk
    from . import app, io, modules  # noqa: F401

    for name, kind in classes.made.items():
        setattr(ctk if name.startswith("ctk") else slicer, name, kind)


def _record(util: Any) -> None:
    """Messages that slicer.util logs or shows are kept for the tests."""
    import logging

    from . import reports

    display = util._messageDisplay

    def message_display(level: int, text: str, *args: Any, **kwargs: Any) -> Any:
        detailed = kwargs.get("detailedText", "")
        reports.messages.append(reports.Message(logging.getLevelName(level), text, detailed))
        return display(level, text, *args, **kwargs)

    status = util.showStatusMessage

    def show_status(message: str, duration: int = 0) -> bool:
        reports.status.append(message)
        return status(message, duration)

    util._messageDisplay, util.showStatusMessage = message_display, show_status
