"""Starting the application in this process: `qt`, `ctk`, and what `slicer` has in the application only."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

from .session import Host

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
    from . import (
        classes,
        widgets,  # noqa: F401
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
