"""CTK's small widgets: buttons, combo boxes, the search box, the message box, the text browser that fits."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in

Qt = QtCore.Qt


@stand_in
class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box with an icon as its indicator."""


@stand_in
class ctkPushButton(QtWidgets.QPushButton):
    """A push button whose text can be aligned."""


@stand_in
class ctkMenuButton(QtWidgets.QPushButton):
    """A push button with a menu at its side."""


@stand_in
class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box in it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._state, self._toggle = Qt.CheckState.Unchecked, False

    @property
    def checkState(self) -> Qt.CheckState:
        return self._state

    @checkState.setter
    def checkState(self, state: Qt.CheckState) -> None:
        if state != self._state:
            self._state = state
            if self._toggle:
                self.setCheckable(state != Qt.CheckState.Unchecked)
            signals.emit(self, "checkStateChanged", state)
            signals.emit(self, "checkBoxToggled", state != Qt.CheckState.Unchecked)

    @property
    def checkBoxControlsButtonToggleState(self) -> bool:
        return self._toggle

    @checkBoxControlsButtonToggleState.setter
    def checkBoxControlsButtonToggleState(self, controls: bool) -> None:
        self._toggle = bool(controls)


@stand_in
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._default_text = ""

    @property
    def defaultText(self) -> str:
        return self._default_text

    @defaultText.setter
    def defaultText(self, text: str) -> None:
        self._default_text = text
        self.setPlaceholderText(text)

    @property
    def currentUserDataAsString(self) -> str:
        return str(self.currentData or "")

    @currentUserDataAsString.setter
    def currentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))


@stand_in
class ctkSearchBox(QtWidgets.QLineEdit):
    """A line edit to search with."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Search...")
        self.setClearButtonEnabled(True)


@stand_in
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box with "Don't show this message again"."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._key = ""

    @property
    def dontShowAgainSettingsKey(self) -> str:
        return self._key

    @dontShowAgainSettingsKey.setter
    def dontShowAgainSettingsKey(self, key: str) -> None:
        self._key = key

    @property
    def dontShowAgainVisible(self) -> bool:
        return self.checkBox() is not None

    @dontShowAgainVisible.setter
    def dontShowAgainVisible(self, visible: bool) -> None:
        self.setCheckBox(QtWidgets.QCheckBox("Don't show this message again", self) if visible else None)

    @property
    def dontShowAgain(self) -> bool:
        box = self.checkBox()
        return box is not None and box.checked

    @dontShowAgain.setter
    def dontShowAgain(self, checked: bool) -> None:
        self.dontShowAgainVisible = True
        self.checkBox().setChecked(bool(checked))

    def onFinished(self, code: int) -> None:
        if self._key and self.dontShowAgain:
            QtCore.QSettings().setValue(self._key, code)


@stand_in
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as tall as its text; a long text shows its first line and "Show details"."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed, self._more, self._less, self._kind, self._long = (
            True,
            "Show details...",
            "Hide details.",
            "",
            "",
        )
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setOpenLinks(False)
        self.connect("textChanged()", self._fit)
        self.connect("anchorClicked(QUrl)", self._on_anchor)

    def _on_anchor(self, url: QtCore.QUrl) -> None:
        if url.toString() in ("#show", "#hide"):
            self.collapsed = url.toString() == "#hide"
        else:
            QtGui.QDesktopServices.openUrl(url)

    def _show(self) -> None:
        if not self._kind:
            return
        first, _, rest = self._long.partition("<br>" if self._kind == "html" else "\n")
        link = (
            f' <a href="#{"show" if self._collapsed else "hide"}">{self._more if self._collapsed else self._less}</a>'
        )
        full = self._long if self._kind == "html" else self._long.replace("\n", "<br>")
        self.setHtml((first if self._collapsed else full) + (link if rest else ""))

    def _set_long(self, kind: str, text: str) -> None:
        self._kind, self._long = kind, text
        self._show()

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, collapsed: bool) -> None:
        self._collapsed = bool(collapsed)
        self._show()

    @property
    def showDetailsText(self) -> str:
        return self._more

    @showDetailsText.setter
    def showDetailsText(self, text: str) -> None:
        self._more = text
        self._show()

    @property
    def hideDetailsText(self) -> str:
        return self._less

    @hideDetailsText.setter
    def hideDetailsText(self, text: str) -> None:
        self._less = text
        self._show()

    def collapsibleText(self) -> str:
        return self._long

    def setCollapsibleHtml(self, text: str) -> None:
        self._set_long("html", text)

    def setCollapsiblePlainText(self, text: str) -> None:
        self._set_long("plain", text)

    def setCollapsibleText(self, text: str) -> None:
        self._set_long("html" if "<" in text else "plain", text)

    def _fit(self) -> None:
        document = self.document.clone()
        document.setTextWidth(max(self.viewport().width, 100))
        self.setFixedHeight(int(document.size.height()) + 2 * self.frameWidth + 2)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._fit()


@stand_in
class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows a colour and lets one pick another."""

    def __init__(self, *args: Any) -> None:
        super().__init__(args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None)
        self._colour = QtGui.QColor("black")
        self._show()

    def _show(self) -> None:
        picture = QtGui.QPixmap(16, 16)
        picture.fill(self._colour)
        self.setIcon(QtGui.QIcon(picture))
        self.setText(self._colour.name())

    @property
    def color(self) -> QtGui.QColor:
        return QtGui.QColor(self._colour)

    @color.setter
    def color(self, colour: QtGui.QColor) -> None:
        if QtGui.QColor(colour) != self._colour:
            self._colour = QtGui.QColor(colour)
            self._show()
            signals.emit(self, "colorChanged", self._colour)
            signals.emit(self, "colorNameChanged", self._colour.name())

    @property
    def colorName(self) -> str:
        return self._colour.name()

    @colorName.setter
    def colorName(self, name: str) -> None:
        self.color = QtGui.QColor(name)
