"""Anomaly detection as a panel sees it: what goes in, how lesions are told from the map, what comes out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from slicer.i18n import tr as _

from . import sections
from .bindings import Bindings, fill
from .roles import LABELS, SEGMENTATION, TABLE, InputRole, OutputRole, Segments
from .terminology import ALTERED, terminology_entry

MEASURED = -0.25  # mm; a smoothing below 0 is the one with which the model was measured on healthy tissue

OPTIONS = {  # option of the job: parameter, and argument of `process`
    "contrast": "contrast",
    "plane": "plane",
    "threshold": "threshold",
    "level": "level",
    "polarity": "polarity",
    "minimum_volume": "minimumVolume",
    "smoothing": "smoothing",
    "structural": "structural",
}
LESION = terminology_entry(
    ("SCT", "52988006", "Lesion"),
    category=ALTERED,
    region=("SCT", "12738006", "Brain"),
)
CYAN = (0.40, 0.80, 0.93)  # stands out from grey levels and from the colours of the map


def inputs() -> tuple[InputRole, ...]:
    """The volume, and perhaps where its brain and its lesions are."""
    mask = _(
        "A label map or a segmentation of the brain. Without one the brain is found, which needs an image that shows "
        "no skull."
    )
    truth = _("A label map or a segmentation of the true lesions, which the result is compared with")
    more: dict[str, Any] = {"nodeTypes": LABELS, "optional": True, "labels": True}
    return (
        InputRole("volume", "inputVolume", _("Volume"), _("The volume to look at")),
        InputRole("mask", "brainMask", _("Brain mask"), mask, none=_("Found in the volume"), **more),
        InputRole("reference", "referenceLesions", _("Reference"), truth, none=_("None"), **more),
    )


def outputs() -> tuple[OutputRole, ...]:
    """The healthy image, and how the volume differs from it."""
    healthy = _("The volume as the model would expect it of a healthy person")
    anomaly = _("How far the volume is from its healthy image, smoothed")
    lesions = _("Where the anomaly map is above the threshold: one segment for each lesion")
    table = _("Volume, peak and place (RAS) of each lesion")
    spread = _("Where the healthy images that were drawn differ: the standard deviation of the samples")
    figures = _("Dice, AUPRC, AUROC and the lesions found, against the reference where there is one")
    segments = Segments(_("Lesion {number}"), LESION, CYAN)
    return (
        OutputRole("healthy", "outputHealthy", _("Healthy image"), healthy, always=True),
        OutputRole("anomaly", "outputAnomaly", _("Anomaly map"), anomaly, display="anomaly"),
        OutputRole("lesions", "outputLesions", _("Lesions"), lesions, SEGMENTATION, "outline", segments=segments),
        OutputRole("table", "outputTable", _("Lesion table"), table, TABLE, ""),
        OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="spread"),
        OutputRole("figures", "outputFigures", _("Figures"), figures, TABLE, ""),
    )


def section(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """The section Detection; `form` is its layout."""
    ui = SimpleNamespace(form=sections.section(parent, _("Detection"), collapsed=True))
    row, about = sections.choiceRow, _("Which differences from the healthy image count")
    ui.polarity = row(ui.form, bindings, "polarity", _("Show what is"), about)
    fill(ui.polarity, [(_("Brighter or darker"), "any"), (_("Brighter"), "brighter"), (_("Darker"), "darker")])
    about = _(
        "Where a lesion begins. Healthy tissue: what the model measured on healthy brains. Otsu: what parts this map "
        "best. Fixed: a value of yours."
    )
    ui.threshold = row(ui.form, bindings, "threshold", _("Threshold"), about)
    fill(ui.threshold, [(_("From healthy tissue"), "healthy"), (_("Otsu"), "otsu"), (_("Fixed"), "fixed")])
    ui.level = sections.numberBox("level", 0.0, 10.0, 0.01, 3)
    about = _("A lesion is where the map is above this, in the units of the map")
    sections.row(ui.form, _("Fixed threshold"), ui.level, about)
    bindings.real("level", ui.level)
    ui.minimumVolume = sections.numberBox("minimumVolume", 0.0, 10_000.0, 5.0, 1, _(" mm³"))
    sections.row(ui.form, _("Minimum volume"), ui.minimumVolume, _("Smaller lesions are left out"))
    bindings.real("minimumVolume", ui.minimumVolume)
    ui.smoothing = sections.numberBox("smoothing", MEASURED, 20.0, -MEASURED, 2, _(" mm"))
    ui.smoothing.setSpecialValueText(_("as for healthy tissue"))
    about = _(
        "The map is smoothed by a Gaussian of this standard deviation: less noise, blurred edges. The threshold from "
        "healthy tissue was measured with one, which is the best for it."
    )
    sections.row(ui.form, _("Smoothing"), ui.smoothing, about)
    bindings.real("smoothing", ui.smoothing)
    ui.structural = sections.slider("structural", 0, 1, 0.05, 2)
    about = _("How much of the map counts only where structure differs, too, and not brightness alone; 0 is none of it")
    sections.row(ui.form, _("Structure"), ui.structural, about)
    bindings.real("structural", ui.structural)
    return ui
