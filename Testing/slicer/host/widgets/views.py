"""The slice views of a main window as far as code can ask for them: their nodes and logics, without pictures."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .. import signals
from ..classes import stand_in
from .mrml_small import qMRMLWidget

VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
FOUR_UP = 3


@stand_in
class qMRMLSliceWidget(qMRMLWidget):
    """A slice view that draws nothing."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic: Any = None

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()


@stand_in
class qMRMLLayoutManager(QtCore.QObject):
    """Three slice views; no 3D view, no table, no plot."""

    threeDViewCount, tableViewCount, plotViewCount = (property(lambda self: 0) for _ in range(3))

    def __init__(self) -> None:
        super().__init__()
        self._layout = FOUR_UP
        self._widgets = {name: self._view(name, orientation) for name, orientation in VIEWS.items()}

    def _view(self, name: str, orientation: str) -> qMRMLSliceWidget:
        application, logic = slicer.app.applicationLogic(), slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(slicer.mrmlScene)
        logic.AddSliceNode(name).SetOrientation(orientation)
        logic.ResizeSliceNode(256, 256)
        application.GetSliceLogics().AddItem(logic)
        widget = qMRMLSliceWidget()
        widget._logic = logic
        return widget

    def _close(self) -> None:
        slicer.app.applicationLogic().GetSliceLogics().RemoveAllItems()
        for widget in self._widgets.values():
            widget._logic.SetMRMLScene(None)
            widget.delete()
        self._widgets.clear()

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> Any:
        return self._widgets.get(name)

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def resetSliceViews(self) -> None:
        for widget in self._widgets.values():
            widget._logic.FitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """There is none."""

    @property
    def layout(self) -> int:
        return self._layout

    @layout.setter
    def layout(self, layout: int) -> None:
        if layout != self._layout:
            self._layout = layout
            signals.emit(self, "layoutChanged", layout)


@stand_in
class qSlicerLayoutManager(qMRMLLayoutManager):
    """The one of the application."""
