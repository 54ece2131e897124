"""The parts that panels are made of: they lay widgets out and know nothing of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from .bindings import Bindings
from .roles import InputRole, OutputRole

GROUP = 12  # pixels by which a group box moves what is in it
PRESET_ABOUT = {
    "fast": lambda: (_("Fast"), _("A first look: few steps")),
    "balanced": lambda: (_("Balanced"), _("The settings that are recommended")),
    "best": lambda: (_("Best"), _("The best image that the method gives, whatever it takes")),
}


def section(parent: Any, title: str, collapsed: bool = False) -> Any:
    """The form layout of a new collapsible section at the end of a layout."""
    button = ctk.ctkCollapsibleButton()
    button.text = title
    button.collapsed = collapsed
    parent.addWidget(button)
    return qt.QFormLayout(button)


def row(form: Any, title: str, widget: Any, tooltip: str = "") -> Any:
    """A labelled row; the label carries the widget's tooltip, too."""
    if tooltip:
        widget.setToolTip(tooltip)
    label = qt.QLabel(title + ":")
    label.setToolTip(widget.toolTip)
    form.addRow(label, widget)
    return widget


def choiceRow(form: Any, bindings: Bindings, parameter: str, title: str, tooltip: str) -> Any:
    """A labelled combo box that edits a parameter; its items are still to come."""
    combo = row(form, title, qt.QComboBox(), tooltip)
    combo.setObjectName(parameter)
    bindings.choice(parameter, combo)
    return combo


def beside(*widgets: Any, stretch: bool = False) -> Any:
    """Widgets in one line, as one widget."""
    line = qt.QWidget()
    layout = qt.QHBoxLayout(line)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    if stretch:
        layout.addStretch(1)
    return line


class Sentence:
    """A row for sentences below a field; it takes no room while it has nothing to say."""

    def __init__(self, form: Any, name: str) -> None:
        self.label = text(name)
        self._beside = qt.QLabel()  # without a label, a form gives wrapped text too much height
        form.addRow(self._beside, self.label)
        self.say("")

    def say(self, sentence: str) -> None:
        """Show a sentence; an empty one hides the row."""
        self.label.setText(sentence)
        self.label.setVisible(bool(sentence))
        self._beside.setVisible(bool(sentence))


def text(name: str, content: str = "") -> Any:
    """A label for sentences, which wrap and can be copied."""
    label = qt.QLabel(content)
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setOpenExternalLinks(True)
    label.setTextInteractionFlags(qt.Qt.TextBrowserInteraction)
    return label


class Notice:
    """A sentence with the standard icon of its kind, and perhaps a button; hidden while it has nothing to say."""

    def __init__(self, name: str, icon: Any, button: Any = None) -> None:
        self.widget = qt.QWidget()
        self.widget.setObjectName(name)
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 2, 0, 2)
        picture = qt.QLabel()
        picture.setPixmap(slicer.app.style().standardIcon(icon).pixmap(16, 16))
        layout.addWidget(picture, 0, qt.Qt.AlignTop)
        self.label = text(f"{name}Text")
        self.label.setTextFormat(qt.Qt.PlainText)  # names of nodes and words of errors are no HTML
        layout.addWidget(self.label, 1)
        if button is not None:
            layout.addWidget(button, 0, qt.Qt.AlignTop)
        self.say("")

    def say(self, sentence: str | None) -> None:
        """Show a sentence; none hides it."""
        self.label.setText(sentence or "")
        self.widget.setVisible(bool(sentence))


def nodeSelector(name: str, nodeTypes: Sequence[str], none: str, tooltip: str, output: bool = False) -> Any:
    """A selector of nodes of the scene; that of an output can make, rename and remove them."""
    selector = slicer.qMRMLNodeComboBox()
    selector.setObjectName(name)
    selector.nodeTypes = list(nodeTypes)
    selector.showChildNodeTypes = False
    selector.selectNodeUponCreation = output
    selector.addEnabled = selector.renameEnabled = selector.removeEnabled = output
    selector.editEnabled = False
    selector.noneEnabled = True
    selector.noneDisplay = none
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setToolTip(tooltip)
    return selector


def fileSelector(name: str, filters: Sequence[str], tooltip: str) -> Any:
    """A line for the path of a file, with a button to browse and the files used before."""
    line = ctk.ctkPathLineEdit()
    line.setObjectName(name)
    line.filters = ctk.ctkPathLineEdit.Files
    line.nameFilters = list(filters)
    line.settingKey = f"MedDiffusion/{name}"
    line.setToolTip(tooltip)
    return line


def inputRow(form: Any, role: InputRole, bindings: Bindings) -> Any:
    """The row of one input."""
    if role.isFile:
        widget = fileSelector(role.parameter, role.filters, role.about)
        bindings.path(role.parameter, widget)
    else:
        none = role.none or (_("None") if role.optional else _("Choose one"))
        widget = nodeSelector(role.parameter, role.nodeTypes, none, role.about)
        bindings.node(role.parameter, widget)
    return row(form, role.title, widget)


def outputRows(form: Any, roles: Sequence[OutputRole], bindings: Bindings) -> dict[str, Any]:
    """A row for each output: whether it is wanted, and the node that it goes to."""
    boxes, selectors = {}, {}
    for role in roles:
        selector = nodeSelector(role.parameter, (role.nodeClass,), _("Create new"), role.about, output=True)
        selector.baseName = role.title
        bindings.node(role.parameter, selector)
        label = _plainTitle(role) if role.always else _ticked(role, selector)
        label.setToolTip(role.about)
        label.setMinimumHeight(selector.sizeHint.height())
        form.addRow(label, selector)
        selectors[role.name] = selector
        if not role.always:
            boxes[role.name] = label
    bindings.ticks("wanted", boxes)
    return selectors


def _ticked(role: OutputRole, selector: Any) -> Any:
    """The title of an output that can be left out."""
    box = qt.QCheckBox(role.title + ":")
    box.setObjectName(f"want_{role.parameter}")
    box.setChecked(True)
    box.connect("toggled(bool)", selector.setEnabled)
    return box


def _plainTitle(role: OutputRole) -> Any:
    """The title of an output that is always made, in line with those that have a box."""
    style = slicer.app.style()
    room = style.pixelMetric(qt.QStyle.PM_IndicatorWidth) + style.pixelMetric(qt.QStyle.PM_CheckBoxLabelSpacing)
    label = qt.QLabel(role.title + ":")
    label.setContentsMargins(room, 0, 0, 0)
    return label


def alignLabels(forms: Sequence[Any], nested: Sequence[Any] = ()) -> int:
    """One width for the labels of all forms, also those in a group box, so that their fields stand below each other.

    Returns the width of the nested ones.
    """
    outer, inner = [label for f in forms for label in _labels(f)], [label for f in nested for label in _labels(f)]
    widths = [label.sizeHint.width() for label in outer] + [label.sizeHint.width() + GROUP for label in inner]
    for label in outer:
        label.setMinimumWidth(max(widths))
    for label in inner:
        label.setMinimumWidth(max(widths) - GROUP)
    return max(widths) - GROUP


def _labels(form: Any) -> list[Any]:
    items = (form.itemAt(row, qt.QFormLayout.LabelRole) for row in range(form.rowCount()))
    return [item.widget() for item in items if item is not None]


def methodSection(parent: Any, bindings: Bindings, advice: str = "") -> SimpleNamespace:
    """Model, method, preset and samples; `advice` says which method to take."""
    ui = SimpleNamespace(form=section(parent, _("Method")))
    ui.model = row(ui.form, _("Model"), qt.QComboBox(), _("What has learnt how such images look"))
    bindings.choice("model", ui.model)
    ui.modelDetails = Sentence(ui.form, "modelDetails")
    ui.domain = Notice("domainWarning", qt.QStyle.SP_MessageBoxWarning)
    ui.form.addRow(ui.domain.widget)
    ui.method = row(ui.form, _("Method"), qt.QComboBox(), _("How the model is used"))
    bindings.choice("method", ui.method)
    ui.methodDetails = Sentence(ui.form, "methodDetails")
    ui.advice = Sentence(ui.form, "advice")
    ui.advice.say(advice)
    ui.presets = {}
    for preset, about in PRESET_ABOUT.items():
        title, tooltip = about()
        ui.presets[preset] = qt.QRadioButton(title)
        ui.presets[preset].setToolTip(tooltip)
    row(ui.form, _("Quality"), beside(*ui.presets.values(), stretch=True), _("From quick to thorough"))
    bindings.radio("preset", ui.presets)
    ui.changed = Sentence(ui.form, "changedParameters")
    about = _("Draws from what the model thinks possible: their mean is the image, their spread the uncertainty")
    ui.samples = row(ui.form, _("Samples"), spinBox("samples", 1, 64), about)
    bindings.integer("samples", ui.samples)
    for widget, name in ((ui.model, "model"), (ui.method, "method")):
        widget.setObjectName(f"{name}Selector")
        widget.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        widget.setMinimumContentsLength(12)
    return ui


def advancedSection(parent: Any, bindings: Bindings, editors: Any, onDice: Callable[[], None]) -> SimpleNamespace:
    """The method's own parameters, seed, device, batch, and what stays in memory."""
    ui = SimpleNamespace(form=section(parent, _("Advanced"), collapsed=True))
    ui.form.addRow(editors)
    ui.seed = spinBox("seed", 0, 2**31 - 1)
    ui.seed.setToolTip(_("The same seed gives the same voxels"))
    ui.dice = qt.QToolButton()
    ui.dice.setObjectName("diceButton")
    ui.dice.setIcon(slicer.app.style().standardIcon(qt.QStyle.SP_BrowserReload))
    ui.dice.setToolTip(_("Draw another seed"))
    ui.dice.connect("clicked()", onDice)
    line = beside(ui.seed, ui.dice)
    line.layout().setStretch(0, 1)
    row(ui.form, _("Seed"), line, ui.seed.toolTip)
    bindings.integer("seed", ui.seed)
    ui.device = row(ui.form, _("Device"), qt.QComboBox(), _("The processor that the network runs on"))
    ui.device.setObjectName("deviceSelector")
    bindings.choice("device", ui.device)
    about = _("Slices at a time: more is faster on a GPU and needs more memory. It is halved when memory runs out.")
    ui.batch = row(ui.form, _("Batch"), spinBox("batch", 1, 64), about)
    bindings.integer("batch", ui.batch)
    ui.keepWarm = qt.QCheckBox(_("Keep the model loaded between runs"))
    ui.keepWarm.setObjectName("keepWarm")
    ui.keepWarm.setToolTip(_("The next run starts at once; the memory of the model stays in use"))
    ui.form.addRow("", ui.keepWarm)
    bindings.tick("keepWarm", ui.keepWarm)
    return ui


def spinBox(name: str, low: int, high: int) -> Any:
    """Whole numbers."""
    box = qt.QSpinBox()
    box.setObjectName(name)
    box.setRange(low, high)
    return box


def pushButton(name: str, title: str, tooltip: str, onClick: Callable[[], None]) -> Any:
    """A button that does something."""
    button = qt.QPushButton(title)
    button.setObjectName(name)
    button.setToolTip(tooltip)
    button.connect("clicked()", onClick)
    return button


def slider(name: str, low: float, high: float, step: float, decimals: int) -> Any:
    """A number, by dragging or by typing."""
    widget = ctk.ctkSliderWidget()
    widget.setObjectName(name)
    widget.synchronizeSiblings = widget.SynchronizeWidth  # by itself it has the decimals of its neighbours, too
    widget.setDecimals(decimals)
    widget.minimum, widget.maximum, widget.singleStep = low, high, step
    return widget


def numberBox(name: str, low: float, high: float, step: float, decimals: int, suffix: str = "") -> Any:
    """A number, by typing, with its unit."""
    box = qt.QDoubleSpinBox()
    box.setObjectName(name)
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setSuffix(suffix)
    return box


def showRow(form: Any, field: Any, visible: bool) -> None:
    """Show or hide a row of a form."""
    form.labelForField(field).setVisible(visible)
    field.setVisible(visible)
