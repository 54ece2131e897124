"""The settings of a simulated scan: how a volume is undersampled before it is reconstructed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import qt
from slicer.i18n import tr as _

from . import sections
from .bindings import Bindings, fill


def acquisitionGroup(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """A group of rows at the end of a form; `group` and `form` are its frame and its layout."""
    ui = SimpleNamespace(group=qt.QGroupBox(_("Simulated acquisition")))
    ui.group.setToolTip(_("How the volume is undersampled before it is reconstructed"))
    parent.addRow(ui.group)
    form = ui.form = qt.QFormLayout(ui.group)
    ui.pattern = sections.choiceRow(form, bindings, "pattern", _("Pattern"), _("Where k-space is sampled"))
    patterns = [(_("Cartesian, random"), "cartesian-random"), (_("Cartesian, equispaced"), "cartesian-equispaced")]
    fill(ui.pattern, [*patterns, (_("Poisson disc"), "poisson-disc"), (_("Radial"), "radial")])
    ui.acceleration = sections.slider("acceleration", 1, 16, 0.5, 1)
    sections.row(form, _("Acceleration"), ui.acceleration, _("Keep one part of k-space in so many"))
    bindings.real("acceleration", ui.acceleration)
    ui.coils = sections.spinBox("coils", 1, 64)
    sections.row(form, _("Coils"), ui.coils, _("Simulated receiver coils"))
    bindings.integer("coils", ui.coils)
    ui.noise = sections.slider("noise", 0, 0.5, 0.005, 3)
    about = _("Standard deviation of the noise of k-space, relative to the brightest tissue")
    sections.row(form, _("Noise"), ui.noise, about)
    bindings.real("noise", ui.noise)
    ui.maskSeed = sections.spinBox("maskSeed", 0, 2**31 - 1)
    sections.row(form, _("Seed"), ui.maskSeed, _("Seed of the sampling mask, the coils and the noise"))
    bindings.integer("maskSeed", ui.maskSeed)
    return ui
