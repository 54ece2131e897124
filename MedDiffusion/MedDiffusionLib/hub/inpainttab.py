"""The tab Inpaint: what was drawn, what is put there instead, and a look at it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from .. import sections, views
from ..bindings import fill, with_chosen
from ..display import show
from . import inpainting, painting
from .inpaint import MedDiffusionInpaintLogic
from .making import Guidance, PaintingPanel, offered

MOST = 20.0  # mm by which a segment is grown, as the engine has it


class InpaintPanel(PaintingPanel):
    """The panel: a volume, a segment, and what is put there."""

    Logic = MedDiffusionInpaintLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """The volume and what it shows; the segmentation and which segment of it."""
        volume, drawn = self.logic.inputs()
        self.form = form
        rows = {volume.parameter: sections.inputRow(form, volume, self.bindings)}
        about = _("What the volume shows; the model knows these contrasts")
        rows["contrast"] = sections.choiceRow(form, self.bindings, "contrast", _("Contrast"), about)
        rows[drawn.parameter] = sections.inputRow(form, drawn, self.bindings)
        about = _("One of the segments, or all of them")
        rows["segment"] = sections.choiceRow(form, self.bindings, "segment", _("Segment"), about)
        rows["grow"] = sections.numberBox("grow", 0.0, MOST, 0.5, 1, _(" mm"))
        about = _("What was drawn is grown by this before: a hole that ends in the lesion grows a lesion again")
        sections.row(form, _("Grow by"), rows["grow"], about)
        self.bindings.real("grow", rows["grow"])
        about = _("What is put there; the model knows these")
        rows["put"] = sections.choiceRow(form, self.bindings, "put", _("Put there"), about)
        self.guidance = Guidance(form, self._onParametersEdited)
        return rows

    def build(self) -> None:
        """The sections; samples are answers here."""
        super().build()
        self.ui.method.samples.setToolTip(_("Different answers; their spread is the uncertainty"))
        self.ui.method.form.labelForField(self.ui.method.samples).setText(_("Answers:"))

    def prepare(self) -> None:
        """What the model knows, and what was drawn."""
        super().prepare()
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        labels = () if model is None else model.labels
        fill(self.ui.inputs["contrast"], offered(_("Choose one"), labels, parameters.contrast))
        known, there = inpainting.puts(model), inpainting.segments(parameters.inputSegments)
        other = [] if parameters.put in {put for _words, put in known} else [(parameters.put, parameters.put)]
        fill(self.ui.inputs["put"], [*known, *other])
        fill(self.ui.inputs["segment"], with_chosen([(_("All that is drawn"), ""), *there], parameters.segment))

    def onEdited(self, parameter: str) -> None:
        """The name of a volume tells what it shows, or nobody does; another model may know less."""
        super().onEdited(parameter)
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        if model is None:
            return
        if parameter == "inputVolume" or (parameter == "model" and parameters.contrast not in model.labels):
            volume = parameters.inputVolume
            parameters.contrast = painting.guess(volume.GetName(), model.labels) if volume is not None else ""
        if parameter == "inputSegments":
            parameters.segment = ""
        if parameter == "model":
            known = [put for _words, put in inpainting.puts(model)]
            parameters.put = parameters.put if parameters.put in known else known[0]

    def refresh(self) -> None:
        """The rows that go with the model, with what was drawn, and with how many answers are wanted."""
        super().refresh()
        parameters = self._parameterNode
        if parameters is None:
            return
        arguments = self.logic.arguments(parameters)
        model, recipe = self.logic.chosen(arguments)
        rows, several = self.ui.inputs, parameters.samples > 1
        sections.showRow(self.form, rows["contrast"], model is not None and bool(model.labels))
        many = len(inpainting.segments(parameters.inputSegments)) > 1
        sections.showRow(self.form, rows["segment"], many or bool(arguments["segment"]))
        self.guidance.show(recipe, arguments["preset"], arguments["parameters"])
        outputs = self.ui.outputs["image"].parentWidget().layout()
        for name in ("sequence", "uncertainty"):
            sections.showRow(outputs, self.ui.outputs[name], several)

    def showResults(self, made: dict[str, Any], source: Any) -> None:
        """The result where it was drawn, of which the outline alone is left."""
        super().showResults(made, source)
        arguments = self.arguments()
        drawn = arguments["inputSegments"]
        if drawn is None or arguments["inputVolume"] is not source:  # something else was chosen meanwhile
            return
        if drawn.IsA("vtkMRMLSegmentationNode"):
            show(drawn, "outline")
        place = inpainting.centre(arguments)
        if place is not None:
            views.jump(place)
