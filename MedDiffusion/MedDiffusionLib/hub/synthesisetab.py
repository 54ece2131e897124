"""The tab Synthesise: what is asked for, how many images of it, and all of them at once."""

from __future__ import annotations

import json
from typing import Any

from slicer.i18n import tr as _

from .. import sections
from ..bindings import fill
from . import synthesising
from .making import Guidance, MakingPanel, offered
from .sheet import Sheet
from .synthesise import MedDiffusionSynthesiseLogic


class SynthesisePanel(MakingPanel):
    """The panel: what is asked for, how many images, and all of them at once."""

    Logic = MedDiffusionSynthesiseLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """The label map, for models that can be told by one."""
        self.form = form
        return super().buildInputs(form)

    def buildOptions(self, layout: Any) -> tuple[Any, ...]:
        """The section What is made."""
        self.covariates = synthesising.Covariates(self._onCovariates)
        self.made = synthesising.section(layout, self.bindings, self.covariates)
        self.guidance = Guidance(self.made.form, self._onParametersEdited)
        self.ui.method.samples.setToolTip(_("Images to make, or frames on the way from one to another"))
        return (self.made.form,)

    def buildResults(self) -> Any:
        """All images at once."""
        self.sheet = Sheet()
        return self.sheet.widget

    def build(self) -> None:
        """The sections; the editors of the covariates stand in line with the rest."""
        super().build()
        self.covariates.setLabelWidth(self.made.form.labelForField(self.made.label).minimumWidth)

    def prepare(self) -> None:
        """The classes, states and covariates that the model knows."""
        super().prepare()
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        labels, states = (model.labels, model.states) if model is not None else ((), ())
        fill(self.made.label, offered(_("Any"), labels, parameters.label))
        fill(self.made.state, offered(_("Any"), states, parameters.state))
        fill(self.made.way, synthesising.ways(model))
        infos = model.covariates if model is not None else ()
        fill(self.made.along, [(info.name, info.name) for info in infos])
        self._range(infos)

    def _range(self, infos: Any) -> None:
        """The covariate that changes stays in its range to the last frame."""
        info = next((info for info in infos if info.name == self._parameterNode.along), None)
        if info is not None:
            before = self.made.alongTo.blockSignals(True)
            synthesising.range_of(self.made.alongTo, info)
            self.made.alongTo.blockSignals(before)

    def onEdited(self, parameter: str) -> None:
        """Another model knows other classes and covariates; a covariate that changes must be told."""
        super().onEdited(parameter)
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        if model is None:
            return
        if parameter == "model":
            parameters.label = parameters.label if parameters.label in model.labels else ""
            parameters.state = parameters.state if parameters.state in model.states else ""
            known = {way for _words, way in synthesising.ways(model)}
            parameters.way = parameters.way if parameters.way in known else "samples"
        if parameter in ("model", "way", "along") and parameters.way == "covariate":
            infos = {info.name: info for info in model.covariates}
            info = infos.get(parameters.along) or model.covariates[0]
            parameters.along, parameters.alongTo = info.name, info.high
            told = synthesising.told(parameters.covariates)
            parameters.covariates = json.dumps({**told, info.name: told.get(info.name, info.low)}, sort_keys=True)

    def _onCovariates(self, told: dict[str, float]) -> None:
        if self._parameterNode is not None:
            self._parameterNode.covariates = json.dumps(told, sort_keys=True)

    def refresh(self) -> None:
        """The rows that go with the model, with what is made, and with what came out."""
        super().refresh()
        parameters = self._parameterNode
        if parameters is None:
            return
        arguments = self.logic.arguments(parameters)
        model, recipe = self.logic.chosen(arguments)
        self.form.parentWidget().setVisible(model is not None and model.sees_labels)
        made, form, way = self.made, self.made.form, parameters.way
        for row, shown in (
            (made.label, model is not None and bool(model.labels)),
            (made.state, model is not None and bool(model.states)),
            (made.otherSeed, way == "seeds"),
            (made.along, way == "covariate" and model is not None and len(model.covariates) > 1),
            (made.alongTo, way == "covariate"),
            (made.size, arguments["inputLabels"] is None),
        ):
            sections.showRow(form, row, shown)
        self.covariates.show(model.covariates if model is not None else (), synthesising.told(parameters.covariates))
        self.guidance.show(recipe, arguments["preset"], arguments["parameters"])
        self._sizes(model)
        frames, sequence = synthesising.as_sequence(arguments, None), synthesising.as_sequence(arguments, model)
        self.ui.method.form.labelForField(self.ui.method.samples).setText(_("Frames:") if frames else _("Images:"))
        self._outputs(sequence)

    def _sizes(self, model: Any) -> None:
        usual = model.window[::-1] if model is not None else ()
        for number, box in enumerate(self.made.sizes):
            box.setVisible(model is None or number < model.dims)
            box.setSpecialValueText(str(usual[number]) if number < len(usual) else "–")

    def _outputs(self, sequence: bool) -> None:
        """The node that the images go to, and the sheet of those that are there."""
        parameters, form = self._parameterNode, self.ui.outputs["image"].parentWidget().layout()
        for name, shown in (("image", not sequence), ("sequence", sequence)):
            sections.showRow(form, self.ui.outputs[name], shown)
        self.sheet.show(parameters.outputSequence if sequence else parameters.outputVolume)
