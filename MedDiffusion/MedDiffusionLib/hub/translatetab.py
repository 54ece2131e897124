"""The tab Translate: volumes, what each of them shows, and which contrast is wanted."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from .. import sections
from ..bindings import fill
from . import painting, translating
from .making import PaintingPanel, offered
from .translate import MedDiffusionTranslateLogic
from .translating import CHANNELS, CONTRASTS


class TranslatePanel(PaintingPanel):
    """The panel: each volume with what it shows beside it, and what is wanted."""

    Logic = MedDiffusionTranslateLogic

    def buildInputs(self, form: Any) -> dict[str, Any]:
        """Volumes and their contrasts, the wanted one, and a reference."""
        *volumes, truth = self.logic.inputs()
        self.form, self.contrasts, self.lines, rows = form, {}, {}, {}
        for role, parameter in zip(volumes, CONTRASTS, strict=True):
            none = _("None") if role.optional else _("Choose one")
            selector = sections.nodeSelector(role.parameter, role.nodeTypes, none, role.about)
            self.bindings.node(role.parameter, selector)
            combo = self.contrasts[parameter] = qt.QComboBox()
            combo.setObjectName(parameter)
            combo.setToolTip(_("What this volume shows; the model knows these contrasts"))
            combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToContents)
            self.bindings.choice(parameter, combo)
            line = sections.beside(selector, combo)
            line.layout().setStretch(0, 1)
            rows[role.parameter], self.lines[role.parameter] = selector, line
            sections.row(form, role.title, line, role.about)
        self.target = sections.choiceRow(
            form, self.bindings, "target", _("Wanted"), _("The contrast that is to be made")
        )
        rows[truth.parameter] = sections.inputRow(form, truth, self.bindings)
        return rows

    def prepare(self) -> None:
        """The contrasts that the model knows."""
        super().prepare()
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        labels = () if model is None else model.labels
        for name, combo in self.contrasts.items():
            fill(combo, offered(_("Contrast?"), labels, getattr(parameters, name)))
        fill(self.target, offered(_("Choose one"), labels, parameters.target))

    def onEdited(self, parameter: str) -> None:
        """The name of a volume tells what it shows, or nobody does; a contrast that is there is not wanted."""
        super().onEdited(parameter)
        parameters, model = self._parameterNode, self.logic.model(self._parameterNode.model)
        if model is None:
            return
        for channel, contrast in zip(CHANNELS, CONTRASTS, strict=True):
            node = getattr(parameters, channel)
            if parameter == channel or (parameter == "model" and getattr(parameters, contrast) not in model.labels):
                setattr(parameters, contrast, painting.guess(node.GetName(), model.labels) if node else "")
        given = {getattr(parameters, contrast) for contrast in CONTRASTS} - {""}
        if parameter != "target" and given and (parameters.target in given or parameters.target not in model.labels):
            parameters.target = next((label for label in model.labels if label not in given), "")

    def refresh(self) -> None:
        """As many volumes as the model can take, and what there is to compare with."""
        super().refresh()
        if self._parameterNode is None:
            return
        model = self.logic.model(self._parameterNode.model)
        for number, line in enumerate(self.lines.values()):
            sections.showRow(self.form, line, number < translating.rows(model))
