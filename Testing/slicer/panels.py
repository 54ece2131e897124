"""What the tests of the panels share: modules in the host, a small brain, a fake worker, ways to look at the rest."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_worker.py")
TASKS = ("DiffusionRecon", "DiffusionSegment", "DiffusionRegister", "DiffusionAnomaly")


def load(host: Any, name: str = "DiffusionRecon") -> Any:
    """A module of this extension in the host, with the hub that it depends on."""
    import slicer

    if slicer.app.moduleManager().module("MedDiffusion") is None:
        host.load_module(ROOT / "MedDiffusion" / "MedDiffusion.py")
    return host.load_module(ROOT / name / f"{name}.py")


def brain(name: str = "Brain", shape: tuple[int, int, int] = (4, 48, 40), tilt: bool = True) -> Any:
    """A volume node with a coarse, small, oblique phantom."""
    from MedDiffusionLib.nodes import node_from_volume
    from MedDiffusionLib.phantom import TILT, phantom

    spacing = (1.1, 1.1, 1.1)
    return node_from_volume(phantom("T1", shape, spacing=spacing, tilt=TILT if tilt else (0.0, 0.0, 0.0)), name)


def use_fake(logic: Any, mode: str = "ok", seconds: float = 0.2, outputs: str = "") -> None:
    """The next jobs of a logic go to a worker that computes nothing."""
    from MedDiffusionLib.process import Worker

    command = [sys.executable, "-S", "-E", str(FAKE), mode, str(seconds), *([outputs] if outputs else [])]
    kept: list[Any] = []

    def make(keepWarm: bool) -> Any:
        if not keepWarm:
            return Worker(command)
        if not kept:
            kept.append(Worker(command))
        return kept[0]

    logic.makeWorker = make


def press(widget: Any, name: str) -> Any:
    """Click on the button of that object name, as a person would; returns it."""
    button = find(widget, name)
    if not button.enabled:
        raise AssertionError(f"{name} cannot be pressed: {button.toolTip}")
    button.click()
    return button


def open_panel(host: Any) -> Any:
    """Diffusion Recon with a brain in the scene, and a worker that computes nothing."""
    volume = brain()
    module = load(host)
    widget = module.enter()
    use_fake(widget.logic)
    return SimpleNamespace(host=host, module=module, widget=widget, volume=volume, parameters=widget._parameterNode)


def open_prepared(host: Any, name: str, volume: Any, made: Any) -> Any:
    """A module with a volume in the scene, and a worker that hands out what `made.folder` holds."""
    module = load(host, name)
    widget = module.enter()
    use_fake(widget.logic, "ok", 0.2, str(made.folder))
    parameters = widget._parameterNode
    return SimpleNamespace(host=host, module=module, widget=widget, volume=volume, parameters=parameters, made=made)


def copied_call(widget: Any) -> dict[str, Any]:
    """The arguments with which the text of Copy as Python runs a job."""
    import slicer

    press(widget, "copyPython")
    captured: dict[str, Any] = {}
    logic = type(widget.logic)
    original, logic.run = logic.run, lambda self, arguments, **_: captured.update(arguments) or {}
    try:
        exec(slicer.app.clipboard().text(), {"slicer": slicer})  # noqa: S102 - that is what the clipboard is for
    finally:
        logic.run = original
    return captured


def run(panel: Any, seconds: float = 20.0) -> None:
    """Press Apply and wait for the end."""
    press(panel.widget, "applyButton")
    panel.host.wait(finished(panel.widget), seconds)


def cancel(panel: Any) -> None:
    """Apply, with a worker that would take half a minute, and Cancel once a preview is there: nothing is left of it."""
    use_fake(panel.widget.logic, "ok", 30)
    before, processes = scene_text(), children()
    press(panel.widget, "applyButton")
    panel.host.wait(lambda: panel.widget.ui.run.preview.widget.visible, 20)
    press(panel.widget, "applyButton")
    panel.host.wait(finished(panel.widget), 5)
    assert scene_text() == before and children() <= processes


def know(models: Path, monkeypatch: Any) -> None:
    """The models of a folder, and the methods of the engine as it is."""
    from meddiff import tasks
    from MedDiffusionLib import catalogue

    monkeypatch.setenv("MEDDIFF_MODELS", str(models))
    told = json.loads(json.dumps(tasks.catalogue()))
    monkeypatch.setattr(catalogue, "_catalogue", lambda: told)


def tooltip(panel: Any) -> str:
    """Why Apply cannot be pressed; empty if it can."""
    button = find(panel.widget, "applyButton")
    return "" if button.enabled else button.toolTip


def find(widget: Any, name: str) -> Any:
    """The child of a panel with that object name."""
    import slicer

    return slicer.util.findChild(widget.parent, name)


def finished(widget: Any) -> Callable[[], bool]:
    """Whether no job of a panel runs."""
    return lambda: widget.job is None


def scene_text() -> str:
    """The whole scene as Slicer would save it."""
    import slicer

    scene = slicer.mrmlScene
    before = scene.GetSaveToXMLString()
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text = scene.GetSceneXMLString()
    scene.SetSaveToXMLString(before)
    return text


def children() -> set[int]:
    """Processes that this one has started and that live, or were not waited for."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(fields[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def voxels(node: Any) -> Any:
    """The voxels of a volume node."""
    import slicer

    return slicer.util.arrayFromVolume(node)
