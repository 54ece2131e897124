"""Editors of a method's parameters, generated from its signature: range, tooltip and default come from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from .bindings import fill, select
from .choices import settings_of


class ParameterEditors:
    """A form with one editor for each parameter of a recipe; `onEdited(overrides)` is told what was set by hand."""

    def __init__(self, onEdited: Callable[[dict[str, Any]], None]) -> None:
        """Nothing to edit yet."""
        self.widget = qt.QGroupBox()
        self.widget.setObjectName("recipeParameters")
        self.widget.setToolTip(_("What the method can be told, beside the preset"))
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._labelWidth = 0
        self._form: Any = None
        self._recipe: Any = None
        self._preset = ""
        self._overrides: dict[str, Any] = {}
        self._onEdited = onEdited
        self._writing = False
        self.editors: dict[str, Any] = {}

    def setLabelWidth(self, width: int) -> None:
        """Stand in line with the labels of other forms."""
        self._labelWidth = width

    def show(self, recipe: Any, preset: str, overrides: Mapping[str, Any]) -> None:
        """The parameters of `recipe` (None: no editors) at the preset's values, then those set by hand."""
        if recipe is not self._recipe and recipe != self._recipe:
            self._build(recipe)
        self._recipe, self._preset, self._overrides = recipe, preset, dict(overrides)
        if recipe is None:
            return
        settings = settings_of(recipe, preset, overrides)
        self._writing = True
        try:
            for parameter in recipe.parameters:
                write(self.editors[parameter.name], parameter, settings[parameter.name])
        finally:
            self._writing = False

    def _build(self, recipe: Any) -> None:
        if self._form is not None:
            self._layout.removeWidget(self._form)
            self._form.hide()
            self._form.deleteLater()
        self._form, self.editors = None, {}
        self.widget.setVisible(recipe is not None and bool(recipe.parameters))
        if recipe is None:
            return
        self.widget.setTitle(recipe.title)
        self._form = qt.QWidget()
        form = qt.QFormLayout(self._form)
        for parameter in recipe.parameters:
            editor = self.editors[parameter.name] = make(parameter, recipe, self._edited)
            form.addRow(title(parameter.name) + ":", editor)
            form.labelForField(editor).setToolTip(editor.toolTip)
            form.labelForField(editor).setMinimumWidth(self._labelWidth)
        self._layout.addWidget(self._form)

    def _edited(self, parameter: Any) -> None:
        if self._writing:
            return
        value = read(self.editors[parameter.name], parameter)
        if value == settings_of(self._recipe, self._preset, {})[parameter.name]:
            self._overrides.pop(parameter.name, None)
        else:
            self._overrides[parameter.name] = value
        self._onEdited(dict(self._overrides))


def make(parameter: Any, recipe: Any, onEdited: Callable[[Any], None]) -> Any:
    """The editor that suits the kind of a parameter."""
    if parameter.kind == "bool":
        editor = qt.QCheckBox()
        editor.connect("toggled(bool)", lambda _on: onEdited(parameter))
    elif parameter.kind == "choice":
        editor = qt.QComboBox()
        fill(editor, [(str(choice), choice) for choice in parameter.choices])
        editor.connect("currentIndexChanged(int)", lambda _index: onEdited(parameter))
    else:
        editor = _number(parameter, recipe)
        editor.connect("valueChanged(double)", lambda _value: onEdited(parameter))
    editor.setObjectName(f"parameter_{parameter.name}")
    editor.setToolTip(tooltip(parameter))
    return editor


def _number(parameter: Any, recipe: Any) -> Any:
    """A slider; where what is usual lies in a corner of the range, a box to type into."""
    usual = [parameter.default, *(preset.get(parameter.name, parameter.low) for preset in recipe.presets.values())]
    reach = parameter.high - parameter.low
    slides = max(usual) - parameter.low >= reach / 10
    editor = ctk.ctkSliderWidget() if slides else qt.QDoubleSpinBox()
    decimals = decimals_of(parameter, recipe)
    editor.setDecimals(decimals)
    editor.minimum, editor.maximum = float(parameter.low), float(parameter.high)
    editor.singleStep = 10.0**-decimals
    return editor


def read(editor: Any, parameter: Any) -> Any:
    """What an editor says, as the type of its parameter."""
    if parameter.kind == "bool":
        return bool(editor.checked)
    if parameter.kind == "choice":
        return editor.itemData(editor.currentIndex)
    return round(editor.value) if parameter.kind == "int" else round(editor.value, editor.decimals)


def write(editor: Any, parameter: Any, value: Any) -> None:
    """Show a value in its editor; what is no number, of a scene from elsewhere, is told by the tooltip of Apply."""
    if parameter.kind == "bool":
        editor.setChecked(bool(value))
    elif parameter.kind == "choice":
        select(editor, value)
    else:
        with suppress(TypeError, ValueError, OverflowError):
            editor.setValue(float(value))


def decimals_of(parameter: Any, recipe: Any) -> int:
    """As many decimals as its range, its default and its presets need, and one more to choose between them."""
    if parameter.kind == "int":
        return 0
    values = [parameter.low, parameter.high, parameter.default]
    values += [preset[parameter.name] for preset in recipe.presets.values() if parameter.name in preset]
    places = max(max(0, -Decimal(repr(float(v))).normalize().as_tuple().exponent) for v in values)
    return min(max(2, places), 6)


def title(name: str) -> str:
    """A parameter's name for people."""
    words = name.replace("_", " ").replace("-", " ")
    return words[:1].upper() + words[1:]


def tooltip(parameter: Any) -> str:
    """What a parameter does, its range and its default."""
    about = parameter.about[:1].upper() + parameter.about[1:]
    if parameter.kind in ("int", "float"):
        text = _("{about} ({low} to {high}; default {default})")
        return text.format(about=about, low=f"{parameter.low:g}", high=f"{parameter.high:g}", default=parameter.default)
    return _("{about} (default {default})").format(about=about, default=parameter.default)
