"""Widgets and the parameters that they edit, kept equal in both directions.

By hand rather than by the parameter node's own GUI connectors, which overwrite ranges, items and node types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _


@dataclass(frozen=True)
class Binding:
    """One widget: how its value is read and written."""

    parameter: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class Bindings:
    """All widgets of a panel; without a parameter node (a scene is closing), edits go nowhere."""

    def __init__(self, onEdited: Callable[[str], None]) -> None:
        """`onEdited(parameter)` is told of each edit by hand, while its change of the parameter node still pends."""
        self._bindings: list[Binding] = []
        self._node: Any = None
        self._writing = False
        self._onEdited = onEdited

    def setNode(self, parameterNode: Any) -> None:
        """Edit these parameters from now on; the widgets show them at once."""
        self._node = parameterNode
        self.update()

    def update(self) -> None:
        """The parameters, shown by the widgets."""
        if self._node is None:
            return
        self._writing = True
        try:
            for binding in self._bindings:
                binding.write(getattr(self._node, binding.parameter))
        finally:
            self._writing = False

    def _edited(self, binding: Binding) -> None:
        if self._node is None or self._writing:
            return
        value = binding.read()
        if value == getattr(self._node, binding.parameter):
            return
        with slicer.util.NodeModify(self._node):
            setattr(self._node, binding.parameter, value)
            self._onEdited(binding.parameter)

    def add(self, parameter: str, read: Callable[[], Any], write: Callable[[Any], None]) -> Callable[..., None]:
        """The slot to connect to the widget's signal of change."""
        binding = Binding(parameter, read, write)
        self._bindings.append(binding)
        return lambda *_: self._edited(binding)

    # One method for each kind of widget

    def choice(self, parameter: str, combo: Any) -> None:
        """A QComboBox, by the data of its items."""
        slot = self.add(parameter, lambda: combo.itemData(combo.currentIndex) or "", lambda v: select(combo, v))
        combo.connect("currentIndexChanged(int)", slot)

    def integer(self, parameter: str, spinBox: Any) -> None:
        """A QSpinBox; of what lies beyond its range, it shows the end."""

        def write(value: int) -> None:
            spinBox.setValue(min(max(value, spinBox.minimum), spinBox.maximum))

        slot = self.add(parameter, lambda: int(spinBox.value), write)
        spinBox.connect("valueChanged(int)", slot)

    def real(self, parameter: str, slider: Any, most: float = 0.0) -> None:
        """A ctkSliderWidget or QDoubleSpinBox; what its decimals cannot show is rounded.

        It ends where people usually do; up to `most`, it makes room for what a script has set.
        """

        def write(value: float) -> None:
            slider.maximum = max(slider.maximum, min(value, most))
            slider.setValue(value)

        slot = self.add(parameter, lambda: round(slider.value, slider.decimals), write)
        slider.connect("valueChanged(double)", slot)

    def line(self, parameter: str, lineEdit: Any) -> None:
        """A QLineEdit, once a word is complete."""
        slot = self.add(parameter, lambda: lineEdit.text, lineEdit.setText)
        lineEdit.connect("editingFinished()", slot)

    def tick(self, parameter: str, checkBox: Any) -> None:
        """A QCheckBox."""
        slot = self.add(parameter, lambda: bool(checkBox.checked), checkBox.setChecked)
        checkBox.connect("toggled(bool)", slot)

    def path(self, parameter: str, lineEdit: Any) -> None:
        """A ctkPathLineEdit."""
        slot = self.add(parameter, lambda: lineEdit.currentPath, lineEdit.setCurrentPath)
        lineEdit.connect("currentPathChanged(QString)", slot)

    def node(self, parameter: str, selector: Any) -> None:
        """A qMRMLNodeComboBox."""
        slot = self.add(parameter, selector.currentNode, selector.setCurrentNode)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", slot)

    def radio(self, parameter: str, buttons: dict[str, Any]) -> None:
        """QRadioButtons, each by the value that it stands for."""

        def write(value: str) -> None:
            if value in buttons:
                buttons[value].setChecked(True)

        slot = self.add(parameter, lambda: next((v for v, b in buttons.items() if b.checked), ""), write)
        for button in buttons.values():
            button.connect("toggled(bool)", lambda on: slot() if on else None)

    def ticks(self, parameter: str, boxes: dict[str, Any]) -> None:
        """QCheckBoxes, as the names of the ticked ones separated by commas."""

        def write(value: str) -> None:
            for name, box in boxes.items():
                box.setChecked(name in value.split(","))

        slot = self.add(parameter, lambda: ",".join(n for n, b in boxes.items() if b.checked), write)
        for box in boxes.values():
            box.connect("toggled(bool)", slot)


def select(combo: Any, data: Any) -> None:
    """Choose the item with this data; where there is none, nothing is chosen."""
    combo.setCurrentIndex(combo.findData(data))


def with_chosen(items: Sequence[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    """(text, data) items, and what is chosen and is not among them, which says so: nothing is replaced in silence."""
    if not chosen or chosen in {data for _text, data in items}:
        return [*items]
    return [*items, (_("{name} (not available)").format(name=chosen), chosen)]


def fill(combo: Any, items: list[tuple[str, Any]]) -> None:
    """Put (text, data) items into a QComboBox in silence, keeping what is chosen where it is still there."""
    if items == [(combo.itemText(index), combo.itemData(index)) for index in range(combo.count)]:
        return
    blocked = combo.blockSignals(True)
    chosen = combo.itemData(combo.currentIndex)
    combo.clear()
    for text, data in items:
        combo.addItem(text, data)
    select(combo, chosen)
    combo.blockSignals(blocked)
