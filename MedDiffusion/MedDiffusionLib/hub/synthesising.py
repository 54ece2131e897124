"""Synthesis as a panel sees it: what can be asked for, how many images, or which way from one to another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import qt
from slicer.i18n import tr as _

from .. import catalogue, choices, sections
from ..bindings import Bindings
from ..cards import CovariateInfo, ModelInfo
from ..parameters import title
from ..roles import LABELS, SEQUENCE, TABLE, InputRole, OutputRole

SIZES = ("sizeX", "sizeY", "sizeZ")
SMALLEST, LARGEST = 4, 1024  # voxels along an axis, as the engine has them
MUCH = 3  # times what the model was trained on


def inputs() -> tuple[InputRole, ...]:
    """What the images are to show, for models that can be told by a label map."""
    about = _(
        "A segmentation or a label map of what the image is to show, where. Segments that are called as those of the "
        "model are taken for these; where none is, all are taken in their order."
    )
    none = _("None: anything")
    return (InputRole("labels", "inputLabels", _("Label map"), about, LABELS, optional=True, none=none, labels=True),)


def outputs() -> tuple[OutputRole, ...]:
    """The images: one volume, or a sequence of them."""
    image = _("The images of a model of slices, one upon the other; or the one volume of another model")
    many = _("Several volumes, or the frames on the way from one image to another, as a sequence to play")
    table = _("What was asked of each image, and its seed")
    return (
        OutputRole("image", "outputVolume", _("Image"), image, always=True),
        OutputRole("sequence", "outputSequence", _("Sequence"), many, SEQUENCE, always=True, index="sample"),
        OutputRole("table", "outputTable", _("Table"), table, TABLE, "", wanted=False),
    )


def as_sequence(arguments: Mapping[str, Any], model: ModelInfo | None) -> bool:
    """Whether the images become a sequence: frames, or several volumes."""
    frames = arguments["otherSeed"] is not None or arguments["covariatesTo"] is not None
    return frames or (model is not None and model.dims == 3 and arguments["samples"] > 1)


def changing(arguments: Mapping[str, Any], model: ModelInfo | None) -> tuple[CovariateInfo, float, float] | None:
    """The one covariate that changes from frame to frame, and its ends; None where several do, or none."""
    first, last = arguments["covariates"] or {}, arguments["covariatesTo"] or {}
    moved = [each for each in (model.covariates if model else ()) if first.get(each.name) != last.get(each.name)]
    if len(moved) != 1 or not last:
        return None
    return moved[0], first[moved[0].name], last[moved[0].name]


def told(text: str) -> dict[str, float]:
    """Covariates by name, of a parameter node; those of a damaged or foreign scene are left out."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# --- whether it can be


def problems(arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
    """What the model cannot be asked for; a sentence each."""
    if model is None:
        return []
    found = _of_class(arguments, model)
    for name in ("covariates", "covariatesTo"):
        given = arguments[name] or {}
        if not isinstance(given, Mapping):
            found.append(_("The covariates are {given!r}; expected names and numbers.").format(given=given))
            continue
        infos = [catalogue.ParameterInfo(c.name, "float", 0.0, c.low, c.high, "") for c in model.covariates]
        found += [text for text in choices.complaints(infos, given) if text not in found]
    first, last = arguments["covariates"] or {}, arguments["covariatesTo"]
    if last is not None and {*first} != {*last}:
        found.append(_("Name the same covariates at both ends of the way."))
    if as_sequence(arguments, None) and arguments["samples"] < 2:
        found.append(_("A way from one image to another has two frames or more."))
    return found + _of_grid(arguments, model)


def _of_class(arguments: Mapping[str, Any], model: ModelInfo) -> list[str]:
    found = []
    for name, known in (("label", model.labels), ("state", model.states)):
        if arguments[name] is not None and arguments[name] not in known:
            text = _("The model “{model}” does not know “{what}”; choose another class, or another model.")
            found.append(text.format(model=model.id, what=arguments[name]))
    if arguments["state"] is not None and arguments["label"] is None:
        found.append(_("A state is one of a class: choose the class, too."))
    return found


def _of_grid(arguments: Mapping[str, Any], model: ModelInfo) -> list[str]:
    labels, size = arguments["inputLabels"], arguments["size"]
    if labels is not None and not model.sees_labels:
        text = _("Leave out the label map: the model “{model}” cannot be told of one.")
        return [text.format(model=model.id)]
    if labels is not None and size is not None:
        return [_("Leave out the size: the image is made on the grid of the label map.")]
    if size is None:
        return [] if model.window or labels is not None else [_("Give a size: the model does not say how large.")]
    usual, fits = (model.window or (0,) * model.dims)[::-1], len(size) == model.dims
    numbers = [n or w for n, w in zip(size, usual, strict=True)] if fits else []
    if fits and all(isinstance(n, int) and SMALLEST <= n <= LARGEST for n in numbers):
        return []
    text = _("The size is {size}; expected {dims} numbers of voxels from {low} to {high}.")
    return [text.format(size=size, dims=model.dims, low=SMALLEST, high=LARGEST)]


def shape(arguments: Mapping[str, Any], model: ModelInfo) -> tuple[int, ...] | None:
    """Voxels ((Z,) Y, X) of one image; None where that is not known without looking into a segmentation."""
    labels = arguments["inputLabels"]
    if labels is not None:
        image = labels.GetImageData() if labels.IsA("vtkMRMLVolumeNode") else None
        return image.GetDimensions()[::-1] if image is not None else model.window or None
    given = (arguments["size"] or (0,) * model.dims)[::-1]
    found = tuple(n or w for n, w in zip(given, model.window or (0,) * model.dims, strict=False))
    return found if len(found) == model.dims and all(found) else None


def cost(model: ModelInfo, recipe: Any, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
    """Time and memory that the images take."""
    size = shape(arguments, model)
    if size is None:
        return None
    flat = model.dims == 2  # then an image is a slice of the stack
    samples, grid = (1, (arguments["samples"], *size)) if flat else (arguments["samples"], size)
    return choices.cost(model, recipe, {**arguments, "samples": samples}, grid)


def warning(arguments: Mapping[str, Any], model: ModelInfo) -> str | None:
    """Why the image may be of little use."""
    size = shape(arguments, model)
    if size and model.window and any(n > MUCH * w for n, w in zip(size, model.window, strict=False)):
        trained = " × ".join(str(n) for n in model.window[::-1])
        return _("it is much larger than what the model was trained on ({size} voxels)").format(size=trained)
    return None


# --- what is asked for


class Covariates:
    """An editor for each covariate of the model, which cannot leave the range that the model knows."""

    def __init__(self, onEdited: Callable[[dict[str, float]], None]) -> None:
        self.widget = qt.QWidget()
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._form, self._infos, self._width = None, (), 0
        self._onEdited, self._writing = onEdited, False
        self.rows: dict[str, tuple[Any, Any]] = {}

    def setLabelWidth(self, width: int) -> None:
        """Stand in line with the labels of the form."""
        self._width = width

    def show(self, infos: tuple[CovariateInfo, ...], given: Mapping[str, float]) -> None:
        """What is told, and what is not."""
        if infos != self._infos:
            self._build(infos)
        self._writing = True
        for info in infos:
            box, slider = self.rows[info.name]
            box.setChecked(info.name in given)
            slider.setEnabled(info.name in given)
            if isinstance(given.get(info.name), (int, float)):
                slider.setValue(given[info.name])
        self._writing = False

    def _build(self, infos: tuple[CovariateInfo, ...]) -> None:
        if self._form is not None:
            self._layout.removeWidget(self._form)
            self._form.hide()
            self._form.deleteLater()
        self._infos, self._form, self.rows = infos, qt.QWidget(), {}
        form = qt.QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        for info in infos:
            box, slider = qt.QCheckBox(title(info.name) + ":"), ranged(f"covariate_{info.name}", info)
            box.setObjectName(f"tell_{info.name}")
            box.setToolTip(_("Tell the model; without it, it chooses by itself"))
            box.setMinimumWidth(self._width)
            box.connect("toggled(bool)", lambda _on: self._edited())
            slider.connect("valueChanged(double)", lambda _value: self._edited())
            form.addRow(box, slider)
            self.rows[info.name] = box, slider
        self._layout.addWidget(self._form)
        self.widget.setVisible(bool(infos))

    def _edited(self) -> None:
        if not self._writing:
            told = {info.name: (*self.rows[info.name], digits(info)) for info in self._infos}
            self._onEdited({name: round(s.value, places) for name, (box, s, places) in told.items() if box.checked})


def ranged(name: str, info: CovariateInfo) -> Any:
    """A slider over what the model knows of a covariate, in the middle."""
    slider = sections.slider(name, info.low, info.high, 1.0, 0)
    range_of(slider, info)
    slider.setValue((info.low + info.high) / 2)
    return slider


def digits(info: CovariateInfo) -> int:
    """Decimals that tell values of a covariate apart."""
    reach = info.high - info.low
    return 0 if reach >= 20 else 1 if reach >= 2 else 3


def range_of(slider: Any, info: CovariateInfo) -> None:
    """Let a slider run over what the model knows of a covariate."""
    slider.minimum, slider.maximum = info.low, info.high
    slider.setDecimals(digits(info))
    slider.singleStep = 10.0 ** -digits(info)
    slider.suffix = "" if info.unit in ("", "1") else f" {info.unit}"
    text = _("{low} to {high}{unit}, as the model has seen")
    slider.setToolTip(text.format(low=f"{info.low:g}", high=f"{info.high:g}", unit=slider.suffix))


def section(parent: Any, bindings: Bindings, covariates: Covariates) -> SimpleNamespace:
    """The section What is made; `form` is its layout."""
    ui = SimpleNamespace(form=sections.section(parent, _("What is made")))
    row = sections.choiceRow
    ui.label = row(ui.form, bindings, "label", _("Class"), _("What the images show; the model knows these"))
    ui.state = row(ui.form, bindings, "state", _("State"), _("Of the class"))
    ui.form.addRow(covariates.widget)
    about = _(
        "Different images; or frames of one image that turns into another: that of another seed, or the same with "
        "another covariate"
    )
    ui.way = row(ui.form, bindings, "way", _("Make"), about)
    about = _("The last frame is the first image of this seed")
    ui.otherSeed = sections.row(ui.form, _("Other seed"), sections.spinBox("otherSeed", 0, 2**31 - 1), about)
    bindings.integer("otherSeed", ui.otherSeed)
    ui.along = row(ui.form, bindings, "along", _("Along"), _("The covariate that changes from frame to frame"))
    ui.alongTo = sections.row(ui.form, _("To"), sections.slider("alongTo", 0, 1, 0.1, 1), _("Of the last frame"))
    bindings.real("alongTo", ui.alongTo)
    ui.sizes = [_size(bindings, name, axis) for name, axis in zip(SIZES, "xyz", strict=True)]
    about = _("Voxels along x, y and z; models do best at the size that they were trained on")
    ui.size = sections.row(ui.form, _("Size"), sections.beside(*ui.sizes), about)
    return ui


def _size(bindings: Bindings, name: str, axis: str) -> Any:
    box = sections.spinBox(name, 0, LARGEST)
    box.setToolTip(_("Voxels along {axis}; 0 is as the model was trained").format(axis=axis))
    bindings.integer(name, box)
    return box


def ways(model: ModelInfo | None) -> list[tuple[str, str]]:
    """What can be made by a model."""
    found = [(_("Different images"), "samples"), (_("A way to another seed"), "seeds")]
    along = model is not None and model.covariates
    return [*found, (_("A way along a covariate"), "covariate")] if along else found
