"""Pictures of the hub's tabs for models, this computer and what was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from screenshots import ROOT, picture

WIDTH = 480
HOME = (  # of some user: the folders of the machine that draws say nothing
    ("Installed models", "7.3 MB", "/home/ada/.local/share/meddiffusion/models"),
    ("Settings and measured speeds", "52 bytes", "/home/ada/.local/share/meddiffusion"),
    ("Files of jobs, while they run", "nothing", "/tmp/Slicer-ada"),
)


def _tab(host: Any, tab: str) -> Any:
    hub = host.load_module(ROOT / "MedDiffusion" / "MedDiffusion.py").enter()
    hub.tabs.setCurrentWidget(getattr(hub, tab).widget)
    return hub


@picture("panel-hub-models")
def models(host: Any, path: Path) -> None:
    """The shelf, and the card of the starter model."""
    host.grab(_tab(host, "models"), path, width=WIDTH)


@picture("panel-hub-system")
def system(host: Any, path: Path) -> None:
    """What this computer computes with, as its worker tells."""
    hub = _tab(host, "system")
    hub.system.onCheck()
    host.wait(lambda: not hub.system.asking, 90)
    hub.system.disk.show(HOME)
    host.grab(hub, path, width=WIDTH)


@picture("panel-hub-jobs")
def jobs(host: Any, path: Path) -> None:
    """A job that was run and run again."""
    import panels

    panels.load(host)
    from DiffusionRecon import DiffusionReconLogic

    logic = DiffusionReconLogic()
    volume = panels.brain("Phantom T1", (4, 96, 80))
    logic.process(volume, contrast="T1", preset="fast", samples=2, seed=1)
    hub = _tab(host, "jobs")
    hub.jobs.onAgain()
    host.wait(lambda: hub.jobs.job is None, 300)
    host.grab(hub, path, width=WIDTH)
