"""Stand-ins for the Python modules of Slicer that slicer-core lacks.

`base` holds what lies inside the package `slicer`, `modules` what Slicer imports by its own name. `install()` puts
both where Python looks for them. With SLICER_SOURCE=<folder of Slicer's sources> it takes Slicer's own files instead,
so that the tests which pass here can be shown to pass there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class Pip:
    """Takes the place of `python -m pip`: writes down what was asked, and installs nothing."""

    def __init__(self, execute: Callable[..., Any]) -> None:
        self.requests: list[list[str]] = []
        self.answer: Callable[[list[str]], int] = lambda args: 0  # the exit status; may print, raise, or wait
        self.forwards = False  # True: really run pip
        self._execute = execute

    def forget(self) -> None:
        """Back to the state of the start."""
        self.requests.clear()
        self.answer = lambda args: 0
        self.forwards = False

    def __call__(self, module, args, blocking=True, logCallback=None, completedCallback=None):
        """The signature and manners of `slicer.util.executePythonModule`."""
        if module != "pip" or self.forwards:
            return self._execute(module, args, blocking, logCallback, completedCallback)
        self.requests.append(list(args))
        status = self.answer(list(args))
        if logCallback:
            logCallback(f"pip {' '.join(args)}")
        if completedCallback:
            completedCallback(status)
        elif status and blocking:
            from subprocess import CalledProcessError

            raise CalledProcessError(status, ["pip", *args])


def folders() -> tuple[Path, Path]:
    """(what extends the package `slicer`, what goes on `sys.path`): ours, or Slicer's own."""
    source = os.environ.get("SLICER_SOURCE")
    if not source:
        return HERE / "base", HERE / "modules"
    own = Path(source) / "Base/Python/slicer", Path(source) / "Modules/Scripted/SampleData"
    for folder in own:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder; expected Slicer's sources in SLICER_SOURCE={source}")
    return own


def install() -> Pip:
    """Makes the modules importable (idempotent); needs `qt`, `ctk` and `slicer.app` only when they are imported."""
    import slicer
    import slicer.util

    package, modules = folders()
    if str(package) not in slicer.__path__:
        slicer.__path__.append(str(package))
    if str(modules) not in sys.path:
        sys.path.append(str(modules))
    pip = slicer.util.executePythonModule
    if not isinstance(pip, Pip):
        pip = Pip(slicer.util.executePythonModule)
        slicer.util.executePythonModule = pip
        slicer.executePythonModule = pip  # slicer-core repeats the names of slicer.util in slicer
    return pip


@contextmanager
def cache_folder(scene: Any, folder: str | Path) -> Iterator[None]:
    """Sample Data are downloaded into `folder` for a while; gives the scene its cache manager if it lacks one."""
    import slicer

    manager = scene.GetCacheManager()
    if manager is None:
        manager = slicer.vtkCacheManager()
        manager.SetMRMLScene(scene)
        scene.SetCacheManager(manager)
    before = manager.GetRemoteCacheDirectory()
    manager.SetRemoteCacheDirectory(str(folder))
    try:
        yield
    finally:
        if before:
            manager.SetRemoteCacheDirectory(before)
