"""Registration as a panel sees it: what goes in, how it is done, what comes out, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from . import catalogue, choices, pairs, sections, segmenting, views
from .bindings import Bindings, fill
from .cards import ModelInfo, SegmentInfo
from .hierarchy import provenance, proxy
from .nodes import grid_from_node
from .roles import LABELS, PATH, SEGMENTATION, SEQUENCE, TABLE, TRANSFORM, InputRole, OutputRole
from .sequences import sequence_from_volumes, volumes_from_sequence

OPTIONS = ("align", "deformation", "similarity")  # of the job, and arguments of `process`
PAIR = ("fixedVolume", "movingVolume", "fixedLabels", "movingLabels", "initialTransform")
FRAMES = {"sequence": None, "firstFrame": 1, "lastFrame": 0}  # and what they are for two volumes
LINEAR = ("vtkMRMLLinearTransformNode", "vtkMRMLTransformNode")
ALIGN_SECONDS = 1.5  # of an affine map and what else goes by beside the network, on two cores
STEP_SECONDS = 2.0  # of a step of refinement, for each megavoxel
SERIES = ("ddm-4d",)  # methods whose images lie on each other already


def inputs() -> tuple[InputRole, ...]:
    """Two volumes, or a sequence; labels of either, and where to begin."""
    fixed, moving = _("The volume that stays"), _("The volume that is brought onto the fixed one")
    series = _("A 4D sequence of volumes, two frames of which are registered: the first one moves")
    carried = _("A label map or a segmentation of the moving volume, which is brought along")
    truth = _("A label map or a segmentation of the fixed volume, which what was brought along is compared with")
    initial = _(
        "A rigid or affine transform that, applied to the moving volume, brings it near to the fixed one. Transforms "
        "that lie over the volumes count already: the registration starts from what is seen."
    )
    labels: dict[str, Any] = {"nodeTypes": LABELS, "optional": True, "none": _("None"), "labels": True}
    return (
        InputRole("fixed", "fixedVolume", _("Fixed"), fixed, optional=True, none=_("Choose one")),
        InputRole("volume", "movingVolume", _("Moving"), moving, optional=True, none=_("Choose one")),
        InputRole("sequence", "sequence", _("Sequence"), series, (SEQUENCE,), optional=True, none=_("Choose one")),
        InputRole("moving_labels", "movingLabels", _("Labels of moving"), carried, **labels),
        InputRole("fixed_labels", "fixedLabels", _("Labels of fixed"), truth, **labels),
        InputRole(
            "initial", "initialTransform", _("Initial transform"), initial, LINEAR, optional=True, none=_("None")
        ),
    )


def outputs() -> tuple[OutputRole, ...]:
    """The moving volume in its new place, the transform there and back, and the way."""
    warped = _("The moving volume on the grid of the fixed one")
    there = _("On the grid of the fixed volume: the moving volume, and what belongs to it, goes under it")
    back = _("The way back, on the grid of the moving volume: the fixed volume goes under it. Diffeomorphic ones only.")
    size = _(
        "The Jacobian determinant: below 1 (blue) the moving volume was smaller here and has grown, above 1 (red) it "
        "has shrunk; at 0 and below, it folds"
    )
    labels = _("The labels of the moving volume, brought along")
    table = _("Similarity before and after, folds, how far there and back leads astray, Dice where there are labels")
    frames = _("The moving volume on its way, as a sequence that plays: eta is 0 where it begins, and 1 where it fits")
    steps = _("Similarity to the fixed volume, folds, and how far the deformation reaches, at each step of the path")
    return (
        OutputRole("warped", "outputVolume", _("Warped"), warped, always=True),
        OutputRole("displacement", "outputTransform", _("Transform"), there, TRANSFORM, ""),
        OutputRole("inverse", "outputInverse", _("Inverse transform"), back, TRANSFORM, "", wanted=False, subject=True),
        OutputRole("jacobian", "outputJacobian", _("Jacobian"), size, display="jacobian"),
        OutputRole("labels", "outputLabels", _("Labels"), labels, SEGMENTATION, "outline"),
        OutputRole("registration", "outputTable", _("Registration table"), table, TABLE, ""),
        OutputRole("frames", "outputFrames", _("Path"), frames, SEQUENCE, files="frame", index=PATH),
        OutputRole("path", "outputPathTable", _("Path table"), steps, TABLE, "", wanted=False),
    )


def kind_row(form: Any, bindings: Bindings) -> None:
    """What is registered: two volumes, or two frames of a sequence."""
    kinds = {"volumes": qt.QRadioButton(_("Two volumes")), "frames": qt.QRadioButton(_("Two frames of a sequence"))}
    kinds["volumes"].setToolTip(_("Any two volumes of the scene, on any grids, under any linear transforms"))
    kinds["frames"].setToolTip(_("Two phases of a 4D series, such as a beating heart; what is between them is made"))
    sections.row(form, _("From"), sections.beside(*kinds.values(), stretch=True), _("What is registered"))
    bindings.radio("pairKind", kinds)


def frame_rows(form: Any, bindings: Bindings) -> dict[str, Any]:
    """Which two frames."""
    rows = {"firstFrame": sections.spinBox("firstFrame", 1, 9999), "lastFrame": sections.spinBox("lastFrame", 0, 9999)}
    rows["lastFrame"].setSpecialValueText(_("the last"))
    sections.row(form, _("From frame"), rows["firstFrame"], _("The frame that moves, counted from 1"))
    sections.row(form, _("To frame"), rows["lastFrame"], _("The frame that it is brought onto"))
    for name, box in rows.items():
        bindings.integer(name, box)
    return rows


def section(parent: Any, bindings: Bindings) -> SimpleNamespace:
    """The section Registration; `form` is its layout."""
    ui = SimpleNamespace(form=sections.section(parent, _("Registration"), collapsed=True))
    about = _(
        "What comes before the deformation. Automatic: an affine map, unless an initial transform is given, or the "
        "frames are of one series."
    )
    ui.align = sections.choiceRow(ui.form, bindings, "align", _("Alignment"), about)
    ways = [(_("Automatic"), "auto"), (_("Affine"), "affine"), (_("Rigid"), "rigid")]
    fill(ui.align, [*ways, (_("Centres on each other"), "centres"), (_("None"), "none")])
    about = _("Diffeomorphic: nothing folds, and there is a way back. Free: what the network says, as it is.")
    ui.deformation = sections.choiceRow(ui.form, bindings, "deformation", _("Deformation"), about)
    fill(ui.deformation, [(_("Diffeomorphic"), "diffeomorphic"), (_("Free"), "free")])
    about = _(
        "What is compared by the alignment and the refinement. Intensities: local correlation. Textures: MIND, for "
        "images of different modalities. Automatic: textures where the intensities do not go together."
    )
    ui.similarity = sections.choiceRow(ui.form, bindings, "similarity", _("Compare"), about)
    fill(ui.similarity, [(_("Automatic"), "auto"), (_("Intensities"), "correlation"), (_("Textures"), "mind")])
    return ui


def missing(arguments: Mapping[str, Any]) -> list[str]:
    """What is to be chosen; a sentence each."""
    if arguments["sequence"] is not None:
        return []
    titles = {role.parameter: role.title for role in inputs()}
    text = _("Choose the input “{title}”.")
    return [text.format(title=titles[name]) for name in ("fixedVolume", "movingVolume") if arguments[name] is None]


def alignment(arguments: Mapping[str, Any]) -> str:
    """What the engine is to do first: it takes any start for one that was meant, also that which two parent transforms
    make."""
    told = arguments["align"]
    if told != "auto" or arguments["sequence"] is not None or arguments["initialTransform"] is not None:
        return told
    parents = [node and node.GetParentTransformNode() for node in pairs.pair(arguments)]
    return told if parents[0] is parents[1] or arguments["method"] in SERIES else "affine"


def grids(arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """The grids of the moving and of the fixed volume."""
    moving, fixed = pairs.pair(arguments)
    return grid_from_node(moving), grid_from_node(fixed)


def too_small(model: ModelInfo, arguments: Mapping[str, Any]) -> list[str]:
    """Why nothing can be seen in one of the volumes; a sentence, or none."""
    return list(filter(None, (segmenting.too_small(model, grid) for grid in grids(arguments))))[:1]


def warning(model: ModelInfo, arguments: Mapping[str, Any]) -> str | None:
    """What of the pair the model was not made for, in sentences; None where nothing is known to be."""
    words: dict[str, list[str]] = {}
    for node, grid in zip(pairs.pair(arguments), grids(arguments), strict=True):
        if told := segmenting.warning(model, grid, choices.some_values(node)):
            words.setdefault(told, []).append(f"“{node.GetName()}”")
    found = [f"{_(' and ').join(names)}: {told}" for told, names in words.items()]
    if arguments["sequence"] is None and pairs.are_apart(arguments):
        text = _("the volumes have no room in common{more}")
        centred = arguments["initialTransform"] is None and arguments["align"] != "none"
        found.append(text.format(more=_(": their centres will be put on each other") if centred else ""))
    return "; ".join(found) or None


def cost(model: ModelInfo, recipe: Any, arguments: Mapping[str, Any]) -> catalogue.Cost:
    """Time and memory that the job will take, on the grid that the network sees."""
    grid = grids(arguments)[1]
    seen = tuple(count for _spacing, count in segmenting.sizes(model, grid))
    settings = choices.settings_of(recipe, arguments["preset"], arguments["parameters"] or {})
    more = STEP_SECONDS * settings.get("refine", 0) * prod(seen) / 1e6
    more += ALIGN_SECONDS if alignment(arguments) in ("auto", "affine", "rigid") else 0.0
    how = (1, seen[::-1], "axial", arguments["device"])
    return catalogue.estimate(model, recipe, settings, *how, batch=1, more=more)


def segments(arguments: Mapping[str, Any]) -> tuple[SegmentInfo, ...]:
    """What the labels that are brought along show, as it was drawn."""
    found = pairs.segments_of(arguments.get("movingLabels"))
    return tuple(SegmentInfo(one.GetName(), None, one.GetColor(), one.GetTerminology() or "") for one in found)


def in_time(path: Any, arguments: Mapping[str, Any]) -> None:
    """Between two frames of a series, a path goes on in its time, or whatever its index is."""
    series = arguments.get("sequence")
    if path is None or series is None or series.GetIndexType() != series.NumericIndex:
        return
    numbers = arguments["firstFrame"], arguments["lastFrame"] or series.GetNumberOfDataNodes()
    begin, end = (float(series.GetNthIndexValue(number - 1)) for number in numbers)
    volumes = volumes_from_sequence(path)
    values = np.linspace(begin, end, len(volumes)).tolist()
    name, unit = series.GetIndexName(), series.GetIndexUnit() or ""
    sequence_from_volumes(volumes, path.GetName(), name, unit, values, node=path)


def show(made: Mapping[str, Any], source: Any) -> None:
    """The warped volume over the fixed one; of a sequence, what lies between its frames."""
    if source is not None and source.IsA(SEQUENCE):
        views.blend(proxy(made["frames"]) if "frames" in made else made["warped"])
    else:
        views.blend(source, made["warped"])


def remark(made: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    """What was compared, where that is not what people expect; what it is worth: images, labels, deformation."""
    settings = (provenance(made["warped"]) or {}).get("settings") or {} if "warped" in made else {}
    told = [_("Textures (MIND) were compared.")] if settings.get("similarity") == "mind" else []
    if {"similarity_before", "similarity_after"} <= set(figures):
        text = _("Similarity {similarity_before:.2f} before, {similarity_after:.2f} after.")
        told.append(text.format_map(figures))
    if {"dice_before", "dice_after"} <= set(figures):
        told.append(_("Dice {dice_before:.2f} before, {dice_after:.2f} after.").format_map(figures))
    if "folds_percent" in figures:
        told.append(_("Folds: {folds_percent:.2g} % of the voxels.").format_map(figures))
    if "inverse_consistency_mm" in figures:
        told.append(_("There and back leads {inverse_consistency_mm:.2g} mm astray.").format_map(figures))
    return " ".join(told)
