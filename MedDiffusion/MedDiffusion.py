"""MedDiffusion: the hub of the extension, with its models, this computer, and what has been run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from MedDiffusionLib import catalogue, install, samples, sections
from MedDiffusionLib.hub import commands, disk, jobs, library, system
from MedDiffusionLib.hub.inpainttab import InpaintPanel
from MedDiffusionLib.hub.jobstab import JobsTab
from MedDiffusionLib.hub.making import MakingTab
from MedDiffusionLib.hub.modelstab import ModelsTab
from MedDiffusionLib.hub.synthesisetab import SynthesisePanel
from MedDiffusionLib.hub.systemtab import SystemTab
from MedDiffusionLib.hub.translatetab import TranslatePanel
from MedDiffusionLib.runner import close_shared_worker


class MedDiffusion(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MedDiffusion")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = []
        parent.contributors = ["The MedDiffusion contributors"]
        parent.helpText = _(
            "Generative diffusion models for medical images (not diffusion MRI). Here are the models, this computer, "
            "and a record of what has been run; the modules Diffusion Recon, Segment, Register and Anomaly use them. "
            "For research, not for diagnosis."
        )
        parent.acknowledgementText = _("Each model cites its training data, each method its paper.")
        slicer.app.connect("startupCompleted()", samples.registerSampleData)


class MedDiffusionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Tabs; what they show is read anew whenever the panel, or a tab, is opened."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: Any = None
        self._tabs: dict[str, Any] = {}
        self._makers: dict[str, MakingTab] = {}  # by the task
        # Nodes come and go in dozens: the tab looks once they have settled.
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(200)
        self._later.connect("timeout()", self._onSettled)

    def setup(self) -> None:
        """Build the panel; called once, when it is first shown."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MedDiffusionLogic()
        self.models = ModelsTab(onTab=self.onTask)
        self.system = SystemTab(onSetUp=self._onInstalled)
        self.jobs = JobsTab()
        button = sections.pushButton("goToSetUp", _("Set up…"), _("Open the tab System"), self.onSetUp)
        self.notice = sections.Notice("setUp", qt.QStyle.SP_MessageBoxWarning, button)
        self.layout.addWidget(self.notice.widget)
        self.tabs = qt.QTabWidget()
        self.tabs.setObjectName("tabs")
        panels = {"synthesise": SynthesisePanel, "inpaint": InpaintPanel, "translate": TranslatePanel}
        self._makers = {task: MakingTab(panel) for task, panel in panels.items()}
        titles = {"synthesise": _("Synthesise"), "inpaint": _("Inpaint"), "translate": _("Translate")}
        makers = {titles[task]: tab for task, tab in self._makers.items()}
        self._tabs = {_("Models"): self.models, **makers, _("System"): self.system, _("Jobs"): self.jobs}
        for title, tab in self._tabs.items():
            self.tabs.addTab(tab.widget, title)
        self.layout.addWidget(self.tabs)
        self.tabs.connect("currentChanged(int)", lambda _index: self.refresh())
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneChanged)

    def cleanup(self) -> None:
        """The panel goes away: with the application, or because the module is reloaded."""
        self._later.stop()
        for tab in self._tabs.values():
            tab.close()
        self.removeObservers()

    def enter(self) -> None:
        """The panel is shown."""
        self.refresh()

    def exit(self) -> None:
        """Another panel is shown; a job goes on."""
        self._leave(None)

    def refresh(self) -> None:
        """Read anew what the open tab shows."""
        status = install.status()
        self.notice.say("" if status.ready else status.sentence)
        self._leave(self._open())
        self._open().refresh()

    def _leave(self, kept: Any) -> None:
        """Let go of the parameters of the tabs that are not on the screen."""
        for tab in self._makers.values():
            if tab is not kept:
                tab.leave()

    def onSetUp(self) -> None:
        """Where the set-up is."""
        self.tabs.setCurrentWidget(self.system.widget)

    def onTask(self, task: str) -> None:
        """The tab for a task."""
        self.tabs.setCurrentWidget(self._makers[task].widget)

    def _onInstalled(self) -> None:
        self.models.refresh()
        self.refresh()

    def onReload(self) -> None:
        """Reload the module, and with it the packages that all modules share."""
        self.cleanup()
        close_shared_worker()
        for name in [name for name in sys.modules if name.split(".")[0] in ("MedDiffusionLib", "meddiff")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """What runs is for a scene that is no more."""
        self.jobs.close()

    def onSceneChanged(self, caller: Any, event: Any) -> None:
        """There may be other results now."""
        self._later.start()

    def _onSettled(self) -> None:
        if self.parent.isEntered and self._open() is self.jobs:
            self.jobs.refresh()

    def _open(self) -> Any:
        """The tab that is open."""
        return list(self._tabs.values())[self.tabs.currentIndex]


class MedDiffusionLogic(ScriptedLoadableModuleLogic):
    """
    The hub without a window: models, this computer, and what was run in the scene.

    Nothing here asks a question. Commands on models run in a process of their own, since they need packages that are
    not part of Slicer; they block until it has ended.
    """

    def models(self, task: str | None = None) -> tuple[catalogue.ModelInfo, ...]:
        """
        The models on this computer.

        :param task: only those for this task, such as "reconstruct"
        :return: what the card of each says; files were not verified
        """
        return catalogue.models(task)

    def verifyModel(self, model: str) -> None:
        """
        Check the size and sha256 of every file of a model.

        :param model: id of a model, or its folder
        :raises BadInput: it is altered, cut short or not there; the message says which file, and what to do
        """
        commands.verify(catalogue.model(model).folder).wait()

    def installModel(self, source: str | Path, sha256: str = "") -> str:
        """
        Install a model, whole or not at all.

        :param source: a zip file, a folder, or an https address of a zip file
        :param sha256: of the zip file; needed with an address
        :return: the id of the model
        :raises BadInput: the source cannot be used, or is not what it should be; nothing was installed
        """
        return str(commands.install(source, sha256).wait()["id"])

    def removeModel(self, model: str) -> Path:
        """
        Delete an installed model from this computer, without asking.

        :param model: id of a model that was installed; those that came with the extension stay
        :return: the folder that was deleted
        :raises BadInput: there is no such model, or it was not installed
        """
        return Path(commands.remove(model).wait()["folder"])

    def exportModel(self, model: str, target: str | Path) -> str:
        """
        Write a verified model to a zip file.

        :param model: id of a model, or its folder
        :param target: the file to write; ends with .zip
        :return: the sha256 of the file, which whoever installs it from an address needs
        :raises BadInput: the model is not whole, or the file cannot be written
        """
        return str(commands.export(catalogue.model(model).folder, target).wait()["sha256"])

    def system(self, seconds: float = system.PATIENCE) -> dict[str, Any]:
        """
        Ask a worker process what it has to compute with. Blocks until it has answered.

        :param seconds: how long to wait
        :return: "python", "torch", "meddiff" (versions), "devices", "threads", "memory", "free", "advice"
        :raises RuntimeError: no answer came
        """
        worker = system.ask()
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                running = worker.running
                for event in worker.poll():
                    if event.get("event") == "system":
                        return {name: value for name, value in event.items() if name != "event"}
                if not running:
                    break
                time.sleep(commands.TICK)
        finally:
            worker.stop()
        raise RuntimeError(_("The worker process gave no answer. Is the set-up complete?"))

    def diskUse(self) -> list[disk.Place]:
        """
        What MedDiffusion has written to this computer.

        :return: title, folder and bytes of each place
        """
        return disk.places()

    def leftovers(self) -> list[Path]:
        """
        What interrupted jobs and commands have left behind.

        :return: folders in which nothing has changed for a day
        """
        return disk.leftovers()

    def cleanUp(self) -> int:
        """
        Delete the leftovers, without asking.

        :return: bytes that are free again
        """
        return disk.clean(disk.leftovers())

    def jobs(self) -> list[jobs.Record]:
        """
        What was run in this scene, latest first.

        :return: a record for each set of results: provenance and nodes
        """
        return jobs.records()

    def runAgain(self, record: jobs.Record) -> dict[str, Any]:
        """
        The same job with the same seed, into new nodes. Blocks until the results are there.

        :param record: one of `jobs()`
        :return: the new nodes by the name of the output
        :raises BadInput: the module or an input is gone
        """
        logic = jobs.logic_of(record)
        return logic.run(jobs.arguments_again(record, logic))

    def modelDetails(self, model: str) -> dict[str, str]:
        """
        The card of a model in words.

        :param model: id of a model
        :return: what people ask about it, by title
        """
        found = catalogue.model(model)
        return dict(library.facts(library.Entry(found.id, found.folder, found)))


class MedDiffusionTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer, from its self tests; needs neither the set-up nor a network."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Everything that can be tested here."""
        self.setUp()
        self.test_models()
        self.setUp()
        self.test_jobs()

    def test_models(self) -> None:
        """The starter model is on the shelf, and its card can be read."""
        self.delayDisplay("Models")
        logic = MedDiffusionLogic()
        self.assertIn("brain-mr", {model.id for model in logic.models("reconstruct")})
        self.assertEqual(logic.modelDetails("brain-mr")[_("Task")], "reconstruct")
        self.assertGreaterEqual(min(place.bytes for place in logic.diskUse()), 0)

    def test_jobs(self) -> None:
        """A node that carries a provenance is found, and one without is not."""
        self.delayDisplay("Jobs")
        logic = MedDiffusionLogic()
        self.assertEqual(logic.jobs(), [])
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "result")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
        node.SetAttribute("MedDiffusion.provenance", '{"job": {"recipe": "pnp", "seed": 7}}')
        (record,) = logic.jobs()
        self.assertEqual(record.nodes, (node,))
        self.assertEqual(record.told("job", "seed"), 7)
        self.delayDisplay("Done")
