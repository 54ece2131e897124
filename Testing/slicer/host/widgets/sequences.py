"""qMRMLSequenceBrowserPlayWidget and qMRMLSequenceBrowserSeekWidget: step through a sequence."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from ..classes import stand_in
from .follow import MODIFIED, Watch
from .mrml_small import qMRMLWidget


class BrowserWidget:
    """Keeps a sequence browser node and shows its state."""

    def _init_browser(self) -> None:
        self._node: Any = None
        self._watch = Watch(self)

    def setMRMLSequenceBrowserNode(self, node: Any) -> None:
        self._watch.stop()
        self._node = node
        if node is not None:
            self._watch.add(node, MODIFIED, "_refresh")
        self._refresh()

    def _refresh(self) -> None:
        raise NotImplementedError


@stand_in
class qMRMLSequenceBrowserPlayWidget(BrowserWidget, qMRMLWidget):
    """The buttons: first, back, play, forward, last."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._init_browser()
        self._loop, self._timer = True, QtCore.QTimer(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        kinds, self._buttons = QtWidgets.QStyle.StandardPixmap, []
        for kind, does in (
            (kinds.SP_MediaSkipBackward, self.onVcrFirst),
            (kinds.SP_MediaSeekBackward, self.onVcrPrevious),
            (kinds.SP_MediaPlay, self.onVcrPlayPause),
            (kinds.SP_MediaSeekForward, self.onVcrNext),
            (kinds.SP_MediaSkipForward, self.onVcrLast),
        ):
            button = QtWidgets.QToolButton(self)
            button.setIcon(self.style().standardIcon(kind))
            button.connect("clicked()", does)
            layout.addWidget(button)
            self._buttons.append(button)
        self._timer.connect("timeout()", self.onVcrNext)
        self._refresh()

    def _refresh(self) -> None:
        some = self._node is not None and self._node.GetNumberOfItems() > 0
        for button in self._buttons:
            button.setEnabled(some)
        playing = some and self._node.GetPlaybackActive()
        if playing and not self._timer.isActive():
            self._timer.start(max(int(1000 / max(self._node.GetPlaybackRateFps(), 0.1)), 1))
        elif not playing:
            self._timer.stop()

    def onVcrFirst(self) -> None:
        self._node.SelectFirstItem()

    def onVcrLast(self) -> None:
        self._node.SelectLastItem()

    def onVcrNext(self) -> None:
        self._node.SelectNextItem(1)

    def onVcrPrevious(self) -> None:
        self._node.SelectNextItem(-1)

    def onVcrPlayPause(self) -> None:
        self.setPlaybackEnabled(not self._node.GetPlaybackActive())

    def setPlaybackEnabled(self, enabled: bool) -> None:
        self._node.SetPlaybackActive(bool(enabled))

    def setPlaybackLoopEnabled(self, enabled: bool) -> None:
        self._node.SetPlaybackLooped(bool(enabled))

    def setPlaybackRateFps(self, rate: float) -> None:
        self._node.SetPlaybackRateFps(float(rate))


@stand_in
class qMRMLSequenceBrowserSeekWidget(BrowserWidget, qMRMLWidget):
    """The slider over the items of a sequence."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._init_browser()
        self._slider, self._text = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self), QtWidgets.QLabel(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._text)
        self._slider.connect("valueChanged(int)", self.setSelectedItemNumber)
        self._refresh()

    def _refresh(self) -> None:
        count = self._node.GetNumberOfItems() if self._node is not None else 0
        self._slider.setEnabled(count > 0)
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, max(count - 1, 0))
        self._slider.setValue(self._node.GetSelectedItemNumber() if count else 0)
        self._slider.blockSignals(blocked)
        self._text.setText(self._node.GetFormattedIndexValue(self._node.GetSelectedItemNumber()) if count else "")

    def slider(self) -> QtWidgets.QSlider:
        return self._slider

    def setSelectedItemNumber(self, number: int) -> None:
        if self._node is not None:
            self._node.SetSelectedItemNumber(number)
