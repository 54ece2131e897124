"""The panel that all tasks share. A module adds its inputs, outputs and options; everything else is here."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import catalogue, describe, install, sections, snippets
from .bindings import fill, with_chosen
from .devices import DeviceList
from .lifecycle import ModulePanel, Panel
from .parameters import ParameterEditors
from .runarea import RunArea
from .runner import Failure
from .running import RunningJob


class TaskPanel(Panel):
    """Builds the sections, keeps what they show true, and runs the job behind Apply."""

    def __init__(self, parent: Any = None) -> None:
        """A panel in a widget; a module has one."""
        super().__init__(parent)
        self.job: RunningJob | None = None
        self._status = install.Status(True, "")

    def enter(self) -> None:
        """The panel is shown; models and packages may have been installed meanwhile."""
        self._status = install.status()
        super().enter()

    def close(self) -> None:
        """Let go of all that would outlive the panel."""
        self.devices.close()
        self.logic.discardAll()

    # The panel

    def build(self) -> None:
        """Inputs, Method, Outputs, Advanced, and below them what runs."""
        self.devices = DeviceList(self._onDevices)
        self.editors = ParameterEditors(self._onParametersEdited)
        self._status = install.status()
        ui = self.ui = SimpleNamespace()
        ui.setUp = sections.Notice("setUp", qt.QStyle.SP_MessageBoxWarning, self._setUpButton())
        self.layout.addWidget(ui.setUp.widget)
        ui.requirement = sections.Notice("requirement", qt.QStyle.SP_MessageBoxInformation)
        self.layout.addWidget(ui.requirement.widget)
        inputs = sections.section(self.layout, _("Inputs"))
        ui.inputs = self.buildInputs(inputs)
        ui.method = sections.methodSection(self.layout, self.bindings, self.logic.advice())
        more = self.buildOptions(self.layout)
        outputs = sections.section(self.layout, _("Outputs"))
        ui.outputs = sections.outputRows(outputs, self.logic.outputs(), self.bindings)
        ui.advanced = sections.advancedSection(self.layout, self.bindings, self.editors.widget, self.onDice)
        ui.advanced.form.parentWidget().connect("contentsCollapsed(bool)", self._onAdvanced)
        copies = {
            "copyPython": (_("Copy as Python"), _("This job as a call for the Python console"), self.onCopyPython),
            "copyCommand": (_("Copy as command line"), _("This job as a command for a terminal"), self.onCopyCommand),
        }
        forms = (inputs, ui.method.form, *more, outputs, ui.advanced.form)
        self._hideUnknown()
        self.editors.setLabelWidth(sections.alignLabels(forms, self.nestedForms()))
        ui.method.changed.label.setOpenExternalLinks(False)
        ui.method.changed.label.connect("linkActivated(QString)", lambda _link: self._onParametersEdited({}))
        ui.run = RunArea(self.layout, self.onApply, copies, self.buildResults())
        self.layout.addStretch(1)

    def _hideUnknown(self) -> None:
        """The rows of the settings that all tasks share but this one."""
        known = {option.name for option in catalogue.task(self.logic.TASK).options}
        for name, part in (("samples", self.ui.method), ("batch", self.ui.advanced)):
            sections.showRow(part.form, getattr(part, name), name in known)

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """The rows of the section Inputs, by parameter; a module with options adds its own."""
        return {role.parameter: sections.inputRow(form, role, self.bindings) for role in self.logic.inputs()}

    def buildOptions(self, layout: Any) -> tuple[Any, ...]:
        """Sections of the module's own, between Method and Outputs; returns their forms."""
        return ()

    def buildResults(self) -> Any:
        """A widget for what came out, below Apply; None for a module that has nothing to show but its nodes."""
        return None

    def nestedForms(self) -> tuple[Any, ...]:
        """Forms in a group box of the section Inputs."""
        return ()

    def _setUpButton(self) -> Any:
        about = _("Install what the networks need into Slicer's Python, after asking")
        return sections.pushButton("setUpButton", _("Set up…"), about, self.onSetUp)

    # Parameters

    def prepare(self) -> None:
        """The first model and method where none is chosen, and what can be chosen in their stead."""
        parameters, models = self._parameterNode, catalogue.models(self.logic.TASK)
        if not parameters.model and models:
            parameters.model = models[0].id
        if not parameters.method and (methods := self.logic.methods(parameters.model)):
            parameters.method = methods[0].name
        ui = self.ui.method
        self._fill(ui.model, [(model.name, model.id) for model in models], parameters.model)
        methods = self.logic.methods(parameters.model)
        self._fill(ui.method, [(recipe.title, recipe.name) for recipe in methods], parameters.method)
        fill(self.ui.advanced.device, self.devices.items(parameters.device))

    def _fill(self, combo: Any, items: list[tuple[str, str]], chosen: str) -> None:
        """What is chosen and is not here is not replaced in silence: it stays on the list, and says so."""
        items = with_chosen(items, chosen)
        combo.setEnabled(bool(items))
        fill(combo, items or [(_("None installed yet"), "")])

    def _onDevices(self) -> None:
        if self._parameterNode is not None:
            fill(self.ui.advanced.device, self.devices.items(self._parameterNode.device))
            self.bindings.update()

    def onEdited(self, parameter: str) -> None:
        """What was set by hand belongs to a method and a preset: another one starts from its own values."""
        if parameter == "model":
            methods = [recipe.name for recipe in self.logic.methods(self._parameterNode.model)]
            if methods and self._parameterNode.method not in methods:
                self._parameterNode.method = methods[0]
                self._parameterNode.recipeParameters = "{}"
        if parameter in ("method", "preset"):
            self._parameterNode.recipeParameters = "{}"

    def _onParametersEdited(self, given: dict[str, Any]) -> None:
        if self._parameterNode is not None:
            self._parameterNode.recipeParameters = json.dumps(given, sort_keys=True)

    def refresh(self) -> None:
        """Everything that follows from the parameters: details, warnings, cost, and whether Apply can be pressed."""
        if self._parameterNode is None:
            return
        arguments = self.logic.arguments(self._parameterNode)
        model, recipe = self.logic.chosen(arguments)
        self.ui.method.modelDetails.say(describe.model(model))
        self.ui.method.methodDetails.say(describe.method(recipe))
        self.ui.method.changed.say(describe.changed(arguments["parameters"]))
        self.ui.method.domain.say(self.logic.warning(arguments))
        self.editors.show(recipe, arguments["preset"], arguments["parameters"])
        cost = self.logic.cost(arguments)
        self.ui.run.showCost(cost.sentence if cost else "")
        self.ui.setUp.say("" if self._status.ready else self._status.sentence)
        self.ui.requirement.say(self.logic.lacking())
        for button in self.ui.run.copies:
            button.setEnabled(not self.logic.missing(arguments))
        self.refreshApply(arguments)

    def refreshApply(self, arguments: Mapping[str, Any]) -> None:
        """Apply, with all that is missing in its tooltip, or Cancel."""
        if self.job is not None:
            state = "cancelling" if self.job.cancelling else "running"
            return self.ui.run.setButton(state, _("Stop; the scene stays as it is"))
        missing = self.missing(arguments)
        tooltip = "\n".join(missing) or _("Start; the window stays free meanwhile")
        return self.ui.run.setButton("missing" if missing else "ready", tooltip)

    def missing(self, arguments: Mapping[str, Any]) -> list[str]:
        """Everything that keeps Apply from working."""
        return [*([] if self._status.ready else [self._status.sentence]), *self.logic.missing(arguments)]

    def arguments(self) -> dict[str, Any]:
        """What the panel stands for, also while it is not shown."""
        if self._parameterNode is None:
            self.initializeParameterNode()
        return self.logic.arguments(self._parameterNode)

    # Buttons

    def onApply(self) -> None:
        """Apply, or, while a job runs, Cancel."""
        if self.job is not None:
            self.job.cancel()
            return self.refresh()
        arguments = self.arguments()
        if missing := self.missing(arguments):  # a volume may have lost its image since the panel looked
            return self.ui.run.fail(" ".join(missing))
        self.ui.run.begin(_("Starting…"))
        self.job = RunningJob(self.logic, arguments, self.ui.run.onEvent, self._onEnd, self._parameterNode.keepWarm)
        try:
            self.job.start()
            self.ui.run.log(_("{method} with {model}, seed {seed}").format(**arguments))
        except Exception as error:
            self.job = None
            self.ui.run.hide()
            self.ui.run.fail(str(error))
        return self.refresh()

    def abandonJob(self) -> None:
        """Stop what runs and forget it."""
        job, self.job = self.job, None
        if job is not None:
            job.abandon()
            self.ui.run.hide()
            self.ui.run.say(_("Cancelled; nothing was changed."))

    def onDice(self) -> None:
        """Another seed."""
        if self._parameterNode is not None:
            self._parameterNode.seed = random.SystemRandom().randrange(2**31)

    def onSetUp(self) -> None:
        """Install what is missing, with the user's consent; the window lives meanwhile, but one set-up is enough."""
        self.ui.setUp.widget.enabled = False
        try:
            self._status = install.install(confirm=True, progress=self.ui.run.log)
            if self._status.ready:
                for sentence in install.check(slicer.app.processEvents):
                    self.ui.run.log(sentence)
        except Exception as error:
            self.ui.run.fail(str(error))
        finally:
            self.ui.setUp.widget.enabled = True
        self.refresh()

    def onCopyPython(self) -> None:
        """The job as a call of `process`, on the clipboard."""
        self._copy(snippets.as_python(self.logic.process, self.arguments()))

    def onCopyCommand(self) -> None:
        """The job as a command, on the clipboard."""
        self._copy(self.logic.command(self.arguments()))

    def _copy(self, text: str) -> None:
        slicer.app.clipboard().setText(text)
        self.ui.run.status.say(_("Copied to the clipboard."))

    def _onAdvanced(self, collapsed: bool) -> None:
        if not collapsed and self._status.ready:
            self.devices.ask()

    # While a job runs

    def _onEnd(self, made: dict[str, Any], result: dict[str, Any] | None, failure: Failure | None) -> None:
        job, self.job = self.job, None
        self.ui.run.hide()
        if failure is not None and failure.kind == "cancelled":
            self.ui.run.say(_("Cancelled; nothing was changed."))
        elif failure is not None:
            self.ui.run.fail(" ".join(part for part in (failure.message, failure.hint) if part))
        else:
            self._keepOutputs(made, job.arguments)
            self.showResults(made, self.logic.source(job.arguments))
            figures = result.get("figures") or {}
            sentence = describe.done(time.monotonic() - job.began, figures)
            self.ui.run.say(" ".join(filter(None, (sentence, self.logic.remark(made, figures)))))
        self.refresh()

    def showResults(self, made: dict[str, Any], source: Any) -> None:
        """What came out, in the views."""
        self.logic.show(made, source)

    def _keepOutputs(self, made: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """New nodes become the chosen outputs, unless another was chosen meanwhile."""
        parameters = self._parameterNode or self.logic.getParameterNode()
        with slicer.util.NodeModify(parameters):
            for role in self.logic.outputs():
                chosen = getattr(parameters, role.parameter)
                if role.name in made and (chosen is None or chosen is arguments.get(role.parameter)):
                    setattr(parameters, role.parameter, made[role.name])


class DiffusionWidget(TaskPanel, ModulePanel):
    """The panel of a task that has a module of its own."""
