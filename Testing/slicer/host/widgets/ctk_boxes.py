"""CTK's boxes that fold: ctkCollapsibleButton, ctkCollapsibleGroupBox, and small containers."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in

Qt = QtCore.Qt
ARROW = 9


WISH = "visibilityToParent"  # whether a child of a folded box is to be seen when the box opens


class Folding:
    """A box whose children disappear while it is collapsed; what they were told meanwhile holds afterwards."""

    _collapsed: bool
    _forcing: bool

    def _fold_children(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and not child.isWindow():
                self._fold_child(child)

    def _fold_child(self, child: QtWidgets.QWidget) -> None:
        self._forcing = True
        wish = child.property(WISH)
        child.setVisible(not self._collapsed and (wish is None or wish))
        if wish is None or wish:
            child.setAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def _child_added(self, event: QtCore.QChildEvent) -> None:
        child = event.child()
        if event.added() and isinstance(child, QtWidgets.QWidget):
            child.installEventFilter(self)
            if self._collapsed:
                self._fold_child(child)

    def setVisible(self, visible: bool) -> None:
        self._forcing = True
        super().setVisible(visible)
        self._forcing = False

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        kind, kinds = event.type(), QtCore.QEvent.Type
        if not self._forcing and kind in (kinds.ShowToParent, kinds.HideToParent):
            child.setProperty(WISH, kind == kinds.ShowToParent)
            if kind == kinds.ShowToParent and self._collapsed:
                self._fold_child(child)
        return False


def draw_arrow(painter: QtGui.QPainter, rect: QtCore.QRect, down: bool, colour: QtGui.QColor) -> None:
    painter.save()
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    pen = QtGui.QPen(colour, 1.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    x, y = rect.center().x() + 0.5, rect.center().y() + 0.5
    a, b = ARROW / 2, ARROW / 4
    points = [(x - a, y - b), (x, y + b), (x + a, y - b)] if down else [(x - b, y - a), (x + b, y), (x - b, y + a)]
    painter.drawPolyline([QtCore.QPointF(*point) for point in points])
    painter.restore()


@stand_in
class ctkCollapsibleButton(Folding, QtWidgets.QAbstractButton):
    """A header that shows or hides what lies below it; checked means open."""

    def __init__(self, *args: Any) -> None:
        text = args[0] if args and isinstance(args[0], str) else ""
        parent = args[-1] if args and isinstance(args[-1], QtWidgets.QWidget) else None
        self._collapsed, self._collapsed_height, self._forcing = False, 10, False
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._margins()
        self.toggled.connect(self._on_toggled)

    def _header(self) -> int:
        return self.fontMetrics().height() + 9

    def _margins(self) -> None:
        self.setContentsMargins(2, self._header() + 1, 2, 2)
        self.setMinimumHeight(self._header() + 2)

    def _on_toggled(self, checked: bool) -> None:
        self._fold(not checked)

    def _fold(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._fold_children()
        self.setMaximumHeight(self._header() + 2 if collapsed else 16777215)  # Qt's own size hint serves else
        self.setChecked(not collapsed)
        self.updateGeometry()
        self.update()
        signals.emit(self, "contentsCollapsed", collapsed)

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, collapsed: bool) -> None:
        self._fold(bool(collapsed))

    @property
    def collapsedHeight(self) -> int:
        return self._collapsed_height

    @collapsedHeight.setter
    def collapsedHeight(self, height: int) -> None:
        self._collapsed_height = height

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        self._child_added(event)

    def changeEvent(self, event: QtCore.QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QtCore.QEvent.Type.FontChange:
            self._margins()

    def hitButton(self, where: QtCore.QPoint) -> bool:
        return where.y() <= self._header()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        palette = self.palette
        line = palette.color(QtGui.QPalette.ColorRole.Mid)
        line.setAlpha(110)
        head = QtCore.QRectF(0.5, 0.5, self.width - 1, self._header())
        painter.setPen(QtGui.QPen(line))
        if not self._collapsed:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QtCore.QRectF(0.5, 0.5, self.width - 1, self.height - 1), 4, 4)
        painter.setBrush(palette.color(QtGui.QPalette.ColorRole.Button).darker(104))
        painter.drawRoundedRect(head, 4, 4)
        ink = palette.color(QtGui.QPalette.ColorRole.ButtonText)
        draw_arrow(painter, QtCore.QRect(6, 0, 16, self._header()), not self._collapsed, ink)
        painter.setPen(ink)
        flags = (
            int(Qt.AlignmentFlag.AlignVCenter) | int(Qt.AlignmentFlag.AlignLeft) | Qt.TextFlag.TextShowMnemonic.value
        )
        painter.drawText(QtCore.QRect(28, 0, self.width - 32, self._header() + 1), flags, self.text)
        painter.end()


@stand_in
class ctkCollapsibleGroupBox(Folding, QtWidgets.QGroupBox):
    """A group box that folds away below its title; checked means open."""

    def __init__(self, *args: Any) -> None:
        self._collapsed, self._collapsed_height, self._forcing = False, 14, False
        super().__init__(*args)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._on_toggled)

    def _on_toggled(self, checked: bool) -> None:
        self._fold(not checked)

    def _fold(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self._fold_children()
        self.setMaximumHeight(self.fontMetrics().height() + 8 if collapsed else 16777215)
        self.setFlat(collapsed)
        self.setChecked(not collapsed)
        self.updateGeometry()

    @property
    def collapsed(self) -> bool:
        return self._collapsed

    @collapsed.setter
    def collapsed(self, collapsed: bool) -> None:
        self._fold(bool(collapsed))

    @property
    def collapsedHeight(self) -> int:
        return self._collapsed_height

    @collapsedHeight.setter
    def collapsedHeight(self, height: int) -> None:
        self._collapsed_height = height

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        self._child_added(event)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionGroupBox()
        self.initStyleOption(option)
        style, box, parts = self.style(), QtWidgets.QStyle.ComplexControl.CC_GroupBox, QtWidgets.QStyle.SubControl
        tick = style.subControlRect(box, option, parts.SC_GroupBoxCheckBox, self)
        label = style.subControlRect(box, option, parts.SC_GroupBoxLabel, self)
        ink = self.palette.color(QtGui.QPalette.ColorRole.WindowText)
        if not self._collapsed:
            option.subControls = parts.SC_GroupBoxFrame
            painter.drawComplexControl(box, option)
        draw_arrow(painter, tick, not self._collapsed, ink)
        painter.setPen(ink)
        painter.drawText(label.adjusted(2, 0, 40, 0), int(Qt.AlignmentFlag.AlignVCenter), self.title)
        painter.end()


@stand_in
class ctkExpandableWidget(QtWidgets.QFrame):
    """A frame that the user can resize."""

    def updateSizeHint(self) -> None:
        self.updateGeometry()


@stand_in
class ctkDynamicSpacer(QtWidgets.QWidget):
    """A spacer that can be switched."""


@stand_in
class ctkExpandButton(QtWidgets.QToolButton):
    """A tool button with an arrow."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setArrowType(Qt.ArrowType.RightArrow)
        self.setAutoRaise(True)


@stand_in
class ctkFlowLayout(QtWidgets.QLayout):
    """A layout that breaks its line when it is full."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._items: list[QtWidgets.QLayoutItem] = []

    def addItem(self, item: QtWidgets.QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QtWidgets.QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QtWidgets.QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QtCore.QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QtCore.QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QtCore.QSize:
        return self.minimumSize()

    def minimumSize(self) -> QtCore.QSize:
        size = QtCore.QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def _place(self, rect: QtCore.QRect, move: bool) -> int:
        x, y, line, gap = rect.x(), rect.y(), 0, 6
        for item in self._items:
            hint = item.sizeHint()
            if x + hint.width() > rect.right() + 1 and line:
                x, y, line = rect.x(), y + line + gap, 0
            if move:
                item.setGeometry(QtCore.QRect(QtCore.QPoint(x, y), hint))
            x, line = x + hint.width() + gap, max(line, hint.height())
        return y + line - rect.y()
