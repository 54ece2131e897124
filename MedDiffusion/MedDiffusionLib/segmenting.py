"""Segmentation as a panel sees it: what goes in, where a method starts, what becomes of the samples, what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from meddiff.domain import FEWEST, FLAT, MUCH
from meddiff.volume import Volume, nearest_axes

from . import catalogue, sections
from .bindings import Bindings, fill
from .cards import ModelInfo
from .roles import LABELS, SEGMENTATION, SEQUENCE, TABLE, InputRole, OutputRole
from .segmentations import place_of_segment

CHANNELS = ("inputVolume", "inputVolume2", "inputVolume3", "inputVolume4")
OPTIONS = {  # option of the job: parameter, and argument of `process`
    "fusion": "fusion",
    "uncertainty": "uncertainty",
    "low": "low",
    "high": "high",
    "minimum_volume": "minimumVolume",
    "smoothing": "smoothing",
}
STARTED = ("pd-ddpm",)  # methods that start from a first segmentation
UNLIMITED = -1e6  # of a threshold
LITTLE = 1 / 3  # of the size that a model was trained on


def inputs() -> tuple[InputRole, ...]:
    """The image, further channels, and perhaps a segmentation to start from, and one to compare with."""
    channel = _("A further image of the same place, which the model wants; on any grid, under any transform")
    first = _(
        "A segmentation or a label map on any grid, under any transform. Segments that are called as those of the "
        "model are taken for these, and the others are left out; where none is, all are taken in their order."
    )
    truth = _("A segmentation or a label map of the true segments, called as those of the model or in their order")
    labels: dict[str, Any] = {"nodeTypes": LABELS, "optional": True, "labels": True}
    return (
        InputRole("volume", CHANNELS[0], _("Volume"), _("The volume to segment")),
        *(
            InputRole(f"volume{k}", name, _("Volume {number}").format(number=k), channel, optional=True, beside=True)
            for k, name in enumerate(CHANNELS[1:], start=2)
        ),
        InputRole("first", "firstSegmentation", _("First segmentation"), first, none=_("Choose one"), **labels),
        InputRole("reference", "referenceSegmentation", _("Reference"), truth, none=_("None"), **labels),
    )


def outputs() -> tuple[OutputRole, ...]:
    """The segmentation, and how sure it is."""
    labels = _("What the samples agree on: a segment for each structure that the model knows")
    probability = _("How probable it is that a voxel belongs to any segment, 0 to 1")
    spread = _("Where the samples do not agree: high at borders that could as well lie elsewhere")
    table = _("Volume of each segment, and the Dice that the agreement of the samples foretells")
    each = _("The probability of every segment, one volume each, as a sequence; for models of several segments")
    return (
        OutputRole(
            "labels",
            "outputSegmentation",
            _("Segmentation"),
            labels,
            SEGMENTATION,
            "outline",
            always=True,
            surface=True,
        ),
        OutputRole("probability", "outputProbability", _("Probability"), probability, display="probability"),
        OutputRole("uncertainty", "outputUncertainty", _("Uncertainty"), spread, display="spread"),
        OutputRole("segments", "outputTable", _("Segment table"), table, TABLE, ""),
        OutputRole(
            "each",
            "outputEach",
            _("Probability of each"),
            each,
            SEQUENCE,
            "probability",
            wanted=False,
            files="probability",
            index="segment",
        ),
    )


def start_rows(form: Any, bindings: Bindings, first: InputRole) -> dict[str, Any]:
    """What a method starts from that starts from a first segmentation."""
    about = _("What is noised a little and then made anew: few steps are left to walk")
    rows = {"start": sections.choiceRow(form, bindings, "start", _("Start from"), about)}
    ways = ((_("The model's own network"), "baseline"), (_("A segmentation"), "segmentation"))
    fill(rows["start"], [*ways, (_("A threshold"), "threshold")])
    rows[first.parameter] = sections.inputRow(form, first, bindings)
    titles = (_("From"), _("To"))
    tooltips = (_("Voxels of this intensity and more"), _("and none that are brighter"))
    for name, title, tooltip in zip(("low", "high"), titles, tooltips, strict=True):
        rows[name] = sections.row(form, title, sections.numberBox(name, UNLIMITED, -UNLIMITED, 10, 2), tooltip)
        rows[name].setSpecialValueText(_("no limit"))
        bindings.real(name, rows[name])
    return rows


def section(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """The section Segmentation; `form` is its layout."""
    ui = SimpleNamespace(form=sections.section(parent, _("Segmentation"), collapsed=True))
    about = _(
        "How the samples become one segmentation. Mean: the most probable segment of each voxel. Vote: what most say. "
        "STAPLE: each is weighed by how well it agrees with the others."
    )
    ui.fusion = sections.choiceRow(ui.form, bindings, "fusion", _("Fusion"), about)
    fill(ui.fusion, [(_("Mean"), "mean"), (_("Vote"), "vote"), (_("STAPLE"), "staple")])
    about = _("Entropy: of the mean probabilities, 0 to 1. Variance: between the samples.")
    ui.uncertainty = sections.choiceRow(ui.form, bindings, "uncertainty", _("Uncertainty"), about)
    fill(ui.uncertainty, [(_("Entropy"), "entropy"), (_("Variance"), "variance")])
    ui.minimumVolume = sections.numberBox("minimumVolume", 0.0, 1e6, 5.0, 1, _(" mm³"))
    ui.minimumVolume.setSpecialValueText(_("keep all"))
    sections.row(ui.form, _("Remove islands below"), ui.minimumVolume, _("Pieces of a segment that are smaller go"))
    bindings.real("minimumVolume", ui.minimumVolume)
    ui.smoothing = sections.numberBox("smoothing", 0.0, 20.0, 0.25, 2, _(" mm"))
    ui.smoothing.setSpecialValueText(_("none"))
    about = _("Borders are smoothed by a Gaussian of this standard deviation: fewer steps, and fewer fine details")
    sections.row(ui.form, _("Smooth borders"), ui.smoothing, about)
    bindings.real("smoothing", ui.smoothing)
    return ui


def problems(arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
    """Channels that the model lacks or does not want, and starts that the method does not know; a sentence each."""
    found = []
    wanted = () if model is None else model.channels
    for number, name in enumerate(CHANNELS[1:], start=2):
        if arguments[name] is None and number <= len(wanted):
            found.append(_("Choose the input “{title}”.").format(title=wanted[number - 1]))
        elif arguments[name] is not None and model is not None and number > len(wanted):
            text = _("Leave out “{name}”: the model {model} wants {count} volumes.")
            found.append(text.format(name=arguments[name].GetName(), model=model.id, count=len(wanted)))
    limits = [arguments[name] for name in ("low", "high")]
    first, threshold = arguments["firstSegmentation"] is not None, any(limit is not None for limit in limits)
    if (first or threshold) and arguments["method"] not in STARTED:
        text = _("Leave out the first segmentation and the threshold, or choose the method {method}: no other has any.")
        found.append(text.format(method=", ".join(STARTED)))
    elif first and threshold:
        found.append(_("Choose a first segmentation or a threshold to start from, not both."))
    elif None not in limits and limits[0] > limits[1]:
        found.append(_("The threshold starts above its end; exchange them."))
    return found


def sizes(model: ModelInfo, grid: Volume) -> tuple[tuple[float, int], ...]:
    """Spacing (mm) and voxels along x, y and z that the network will see."""
    axes = nearest_axes(grid.direction)
    along = [grid.spacing[axis] for axis in axes], [grid.shape[::-1][axis] for axis in axes]
    return catalogue.working(model, *along)


def seen(model: ModelInfo, grid: Volume) -> tuple[int, ...]:
    """Voxels (Z, Y, X) of a volume on the grid that the network sees."""
    return tuple(count for _spacing, count in sizes(model, grid))[::-1]


def too_small(model: ModelInfo, grid: Volume) -> str:
    """Why nothing can be seen in a volume of this size; empty where something can."""
    counts = [count for _spacing, count in sizes(model, grid)]
    if min(counts[: model.dims]) >= FEWEST:
        return ""
    text = _("The volume has {size} voxels at the model's spacing; choose one of {fewest} or more along each axis.")
    return text.format(size=_times(counts), fewest=FEWEST)


def warning(model: ModelInfo, grid: Volume, values: Any) -> str | None:
    """What of a volume the model was not made for, in sentences; None where nothing is known to be."""
    found = [] if values is None or not values.size else [catalogue.about_values(model, values)]
    if not any(found) and values is not None and len(np.unique(values)) <= FLAT:
        found.append(_("the volume has hardly any different values: is it a label map?"))
    seen = sizes(model, grid)
    spacing, counts = zip(*seen, strict=True)
    if prod(counts) != prod(grid.shape):
        text = _("it will be resampled to {spacing} mm for the model, and the result back")
        found.append(text.format(spacing=_times(f"{s:g}" for s in spacing)))
    trained = model.window[::-1]
    mm = _times(f"{n * s:g}" for n, s in zip(trained, spacing, strict=False))
    shares = [n / w for n, w in zip(counts, trained, strict=False)]
    if shares and max(shares) > MUCH:
        text = _("it is much larger than what the model was trained on ({mm} mm): crop it to the {what} (Crop Volume)")
        found.append(text.format(mm=mm, what=model.anatomy))
    if shares and min(shares) < LITTLE:
        found.append(_("it shows much less than what the model was trained on ({mm} mm)").format(mm=mm))
    return "; ".join(filter(None, found)) or None


def remark(segmentation: Any, figures: Mapping[str, float]) -> str:
    """What was not found, and how good the rest is by its own account, and by a reference."""
    if segmentation is None:
        return ""
    structures = segmentation.GetSegmentation()
    names = {one: structures.GetSegment(one).GetName() for one in structures.GetSegmentIDs()}
    empty = [name for one, name in names.items() if place_of_segment(segmentation, one) is None]
    if len(empty) == len(names):
        return _("Nothing was found, and the segmentation is empty. Is it the right image, and the right model?")
    told = [_("Not found: {names}.").format(names=", ".join(empty))] if empty else []
    if "predicted_dice" in figures:
        told.append(_("Foretold Dice {dice:.2f}.").format(dice=figures["predicted_dice"]))
    if "dice" in figures:
        distance = _(", HD95 {mm:.1f} mm").format(mm=figures["hd95_mm"]) if "hd95_mm" in figures else ""
        told.append(_("Against the reference: Dice {dice:.2f}{rest}.").format(dice=figures["dice"], rest=distance))
    return " ".join(told)


def _times(values: Sequence[Any] | Any) -> str:
    return " × ".join(map(str, values))
