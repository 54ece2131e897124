"""How the data were measured: the settings of a simulated scan, and what a file of raw k-space does not say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import qt
from slicer.i18n import tr as _

from . import sections
from .bindings import Bindings, fill


def simulatedGroup(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """The settings of a simulated scan, at the end of a form; `group` and `form` are their frame and layout."""
    ui = _group(parent, _("Simulated acquisition"), _("How the data are undersampled before they are reconstructed"))
    about = _("Take samples away from recorded data, to see what a faster scan would have shown")
    ui.undersample = qt.QCheckBox(_("Undersample the recorded data"))
    ui.undersample.setObjectName("undersample")
    sections.row(ui.form, _("Use"), ui.undersample, about)
    bindings.tick("undersample", ui.undersample)
    ui.pattern = sections.choiceRow(ui.form, bindings, "pattern", _("Pattern"), _("Where k-space is sampled"))
    patterns = [(_("Cartesian, random"), "cartesian-random"), (_("Cartesian, equispaced"), "cartesian-equispaced")]
    fill(ui.pattern, [*patterns, (_("Poisson disc"), "poisson-disc"), (_("Radial"), "radial")])
    ui.acceleration = sections.slider("acceleration", 1, 16, 0.5, 1)
    sections.row(ui.form, _("Acceleration"), ui.acceleration, _("Keep one part of k-space in so many"))
    bindings.real("acceleration", ui.acceleration, most=100)
    ui.coils = sections.spinBox("coils", 1, 64)
    sections.row(ui.form, _("Coils"), ui.coils, _("Simulated receiver coils"))
    bindings.integer("coils", ui.coils)
    ui.noise = sections.slider("noise", 0, 0.5, 0.005, 3)
    about = _("Standard deviation of the noise of k-space, relative to the brightest tissue")
    sections.row(ui.form, _("Noise"), ui.noise, about)
    bindings.real("noise", ui.noise, most=0.99)
    ui.maskSeed = sections.spinBox("maskSeed", 0, 2**31 - 1)
    sections.row(ui.form, _("Seed"), ui.maskSeed, _("Seed of the sampling mask, the coils and the noise"))
    bindings.integer("maskSeed", ui.maskSeed)
    return ui


def recordedGroup(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """What a file of raw k-space does not say, at the end of a form."""
    ui = _group(parent, _("Recorded data"), _("What the file does not say, and how the image is to be"))
    about = _("Turns the image upright")
    ui.turn = sections.choiceRow(ui.form, bindings, "turn", _("Turn"), about)
    turns = [(_("Not at all"), "none"), (_("A quarter to the left"), "left"), (_("A half turn"), "half")]
    fill(ui.turn, [*turns, (_("A quarter to the right"), "right")])
    ui.voxelSize = qt.QLineEdit()
    ui.voxelSize.setObjectName("voxelSize")
    ui.voxelSize.setPlaceholderText(_("as the file says"))
    about = _("Size of a voxel (x, y, z) in mm, such as 0.7 0.7 5.0, where the file does not tell it")
    sections.row(ui.form, _("Voxel size"), ui.voxelSize, about)
    bindings.line("voxelSize", ui.voxelSize)
    ui.resolution = qt.QDoubleSpinBox()
    ui.resolution.setObjectName("resolution")
    ui.resolution.setRange(0.0, 10.0)
    ui.resolution.setSingleStep(0.1)
    ui.resolution.setSuffix(_(" mm"))
    ui.resolution.setSpecialValueText(_("as measured"))
    about = _("In-plane voxels of this size, where finer ones were measured: that which the model knows is best")
    sections.row(ui.form, _("Resolution"), ui.resolution, about)
    bindings.real("resolution", ui.resolution)
    ui.phase = sections.slider("phase", 0, 3.2, 0.05, 2)
    about = _("How far the phase of the image strays from a smooth one: standard deviation in rad; 0 is not at all")
    sections.row(ui.form, _("Phase"), ui.phase, about)
    bindings.real("phase", ui.phase)
    return ui


def _group(parent: Any, title: str, about: str) -> SimpleNamespace:
    group = qt.QGroupBox(title)
    group.setToolTip(about)
    parent.addRow(group)
    return SimpleNamespace(group=group, form=qt.QFormLayout(group))


def voxelSize(text: str) -> tuple[float, ...] | str | None:
    """Three sizes in mm from a line of text; None for an empty one; the text itself where it is no such thing."""
    words = text.replace(",", " ").split()
    if not words:
        return None
    try:
        sizes = tuple(float(word) for word in words)
    except ValueError:
        return text
    return sizes if is_size(sizes) else text


def is_size(value: Any) -> bool:
    """Whether these are three sizes."""
    if value is None or isinstance(value, str):
        return False
    try:
        sizes = [float(size) for size in value]
    except (TypeError, ValueError):
        return False
    return len(sizes) == 3 and all(size > 0 for size in sizes)
