"""The object that tests talk to: loads modules, waits, answers dialogs, looks, tidies up."""

from __future__ import annotations

import shutil
import time
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

    # --- views and pictures

    def open_views(self) -> Any:
        """A main window's slice views, for code that shows results: `slicer.app.layoutManager()` is there then."""
        import slicer

        slicer.app.setLayoutManager(slicer.qSlicerLayoutManager())
        return slicer.app.layoutManager()

    def close_views(self) -> None:
        import slicer

        manager = slicer.app.layoutManager()
        slicer.app.setLayoutManager(None)
        if hasattr(manager, "_close"):
            manager._close()

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
        """A fresh application: no modules of the test, no windows, an empty scene, no settings, no traces."""
        from . import reports

        reports.catch_hooks()
        self.close()
        self.forget()
        self._empty_temporary()

    def _empty_temporary(self) -> None:
        """No test finds the temporary files of another."""
        import slicer

        for left in Path(slicer.app._folder("temporary")).iterdir():  # the host's own, whatever a test has chosen
            shutil.rmtree(left) if left.is_dir() else left.unlink()

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
        self.close_views()
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
