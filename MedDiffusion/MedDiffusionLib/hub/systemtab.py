"""The tab System: is everything installed, what does this computer compute with, what lies on its disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from meddiff.errors import BadInput

from .. import install as setup
from .. import sections
from ..rows import Rows
from . import disk, system
from .library import size
from .parts import INTERVAL, enable, openFolder


class SystemTab:
    """Set-up, this computer, disk. `onSetUp` is told when something was installed."""

    def __init__(self, onSetUp: Callable[[], None] = lambda: None) -> None:
        self._onSetUp = onSetUp
        self._worker: Any = None
        self._until = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self._tick)
        self.widget = qt.QWidget()
        layout = qt.QVBoxLayout(self.widget)
        self._buildSetUp(layout)
        self._buildComputer(layout)
        self._buildDisk(layout)
        layout.addStretch(1)
        self.refresh()

    def _buildSetUp(self, layout: Any) -> None:
        form = sections.section(layout, _("Set-up"))
        self.status = sections.text("setUpStatus")
        form.addRow(self.status)
        self.wheels = ctk.ctkPathLineEdit()
        self.wheels.setObjectName("wheelsFolder")
        self.wheels.filters = ctk.ctkPathLineEdit.Dirs
        about = _("A folder of Python packages (wheels), for a computer without the internet; empty: from PyPI")
        sections.row(form, _("Offline folder"), self.wheels, about)
        self.setUpButton = sections.pushButton("setUpButton", _("Set up…"), "", self.onSetUp)
        form.addRow(sections.beside(self.setUpButton, stretch=True))
        self.problem = sections.Notice("setUpProblem", qt.QStyle.SP_MessageBoxCritical)
        form.addRow(self.problem.widget)

    def _buildComputer(self, layout: Any) -> None:
        form = sections.section(layout, _("This computer"))
        titles = (_("What"), _("Found"))
        self.computer = Rows("computer", titles, _("What the worker process has to compute with"))
        form.addRow(self.computer.widget)
        about = _("Start the worker process and ask it; the first time takes some seconds")
        self.checkButton = sections.pushButton("checkButton", _("Check"), about, self.onCheck)
        self.advice = sections.text("advice")
        self.advice.setVisible(False)
        form.addRow(sections.beside(self.checkButton, stretch=True))
        form.addRow(self.advice)

    def _buildDisk(self, layout: Any) -> None:
        form = sections.section(layout, _("Disk"))
        titles = (_("What"), _("Size"), _("Where"))
        self.disk = Rows("disk", titles, _("What MedDiffusion has written to this computer"))
        form.addRow(self.disk.widget)
        self.cleanButton = sections.pushButton("cleanButton", _("Clean up…"), "", self.onClean)
        self.openButton = sections.pushButton("openHome", _("Open folder"), "", self.onOpen)
        self.openButton.setToolTip(_("Show the folder of the line that is chosen, or that of the models"))
        form.addRow(sections.beside(self.cleanButton, self.openButton, stretch=True))
        self.cleaned = sections.text("cleaned")
        self.cleaned.setVisible(False)
        form.addRow(self.cleaned)

    # What is shown

    @property
    def asking(self) -> bool:
        """Whether the worker is being asked."""
        return self._worker is not None

    def refresh(self) -> None:
        """Look again at the set-up and the disk; asking the worker is left to its button."""
        status = setup.status()
        self.status.setText(status.sentence)
        about = _("Install what the networks need into Slicer's Python, after asking; numpy, SimpleITK and VTK stay")
        needless = _("All that is needed is installed.") if status.ready else ""
        enable(self.setUpButton, needless or (_("Wait until the check has ended.") if self.asking else ""), about)
        self._places = disk.places()
        self.disk.show([(place.title, size(place.bytes), str(place.folder)) for place in self._places])
        self._leftovers = disk.leftovers()
        weight = size(sum(map(disk.weight, self._leftovers)))
        nothing = (
            "" if self._leftovers else _("There is nothing to clean up: no interrupted job has left files behind.")
        )
        about = _("Delete what interrupted jobs have left behind: {number} folders, {size}")
        enable(self.cleanButton, nothing, about.format(number=len(self._leftovers), size=weight))

    def onSetUp(self) -> None:
        """Install what is missing; Slicer asks before."""
        self.problem.say("")
        folder = self.wheels.currentPath.strip()
        try:
            status = setup.install(confirm=True, progress=self._say, folder=Path(folder) if folder else None)
        except (BadInput, RuntimeError, OSError) as error:
            self.problem.say(str(error))
            status = setup.status()
        self.refresh()
        self._onSetUp()
        self.status.setText(status.sentence)
        if status.ready:
            self.onCheck()

    def _say(self, sentence: str) -> None:
        self.status.setText(sentence)
        slicer.app.processEvents()  # pip is about to hold up the window

    def onCheck(self) -> None:
        """Ask a worker what it has to compute with; the answer comes by itself."""
        if self.asking:
            return
        self._advise(_("Asking the worker process…"))
        try:
            self._worker = system.ask()
        except OSError as error:
            self._advise(_("The worker process could not be started: {error}").format(error=error))
            return
        self._until = time.monotonic() + system.PATIENCE
        enable(self.checkButton, _("It is being asked."), "")
        self._timer.start()

    def _tick(self) -> None:
        worker = self._worker
        if worker is None:
            return
        running = worker.running
        for event in worker.poll():
            if event.get("event") == "system":
                self.computer.show(system.rows(event))
                return self._answered(system.conclusion(event))
        if not running or time.monotonic() > self._until:
            self._answered(_("The worker process gave no answer. Is the set-up complete?"))
        return None

    def _answered(self, sentence: str) -> None:
        self.close()
        self._advise(sentence)
        enable(self.checkButton, "", _("Start the worker process and ask it again"))
        self.refresh()

    def _advise(self, sentence: str) -> None:
        self.advice.setText(sentence)
        self.advice.setVisible(bool(sentence))

    def onClean(self) -> None:
        """Ask, then delete what was left behind."""
        names = "\n".join(str(folder) for folder in self._leftovers)
        question = _("Delete these folders, in which nothing has changed for a day?") + f"\n\n{names}"
        if slicer.util.confirmOkCancelDisplay(question, _("Clean up"), parent=self.widget):
            free = disk.clean(self._leftovers)
            self.cleaned.setVisible(True)
            self.cleaned.setText(_("{size} are free again.").format(size=size(free)))
            self.refresh()

    def onOpen(self) -> None:
        """Show the folder of the chosen line in the system's file manager."""
        openFolder(self._places[max(0, self.disk.chosen)].folder)

    def close(self) -> None:
        """Ask no more."""
        self._timer.stop()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
