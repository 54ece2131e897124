"""Slicer's containers and unit-aware numbers: qMRMLWidget, qSlicerWidget, qMRMLSliderWidget and their like."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import signals
from ..classes import stand_in
from .ctk_boxes import ctkCollapsibleButton
from .ctk_numbers import ctkDoubleSpinBox, ctkSliderWidget
from .ctk_ranges import ctkRangeWidget


class SceneMixin:
    """`setMRMLScene`, which tells the others by `mrmlSceneChanged`."""

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._the_scene():
            signals.raw(self, "__dict__")["_scene"] = scene
            self._scene_set()
            if "mrmlSceneChanged" in type(self)._contract.signals:  # type: ignore[attr-defined]
                signals.emit(self, "mrmlSceneChanged", scene)

    def mrmlScene(self) -> Any:
        return self._the_scene()

    def _the_scene(self) -> Any:
        return signals.raw(self, "__dict__").get("_scene")

    def _scene_set(self) -> None:
        """Called when the scene changed."""


@stand_in
class qMRMLWidget(SceneMixin, QtWidgets.QWidget):
    """A widget that knows the scene."""

    def pixmapFromIcon(self, icon: QtGui.QIcon) -> QtGui.QPixmap:
        return icon.pixmap(16, 16)

    def preInitializeApplication(self) -> None:
        """Nothing to prepare here."""

    def postInitializeApplication(self) -> None:
        """Nothing to prepare here."""


@stand_in
class qSlicerWidget(QtWidgets.QWidget):
    """A widget that knows the scene; PythonQt offers no getter."""

    setMRMLScene = SceneMixin.setMRMLScene
    _the_scene = SceneMixin._the_scene

    def _scene_set(self) -> None:
        """Called when the scene changed."""


@stand_in
class qMRMLCollapsibleButton(ctkCollapsibleButton):
    """A collapsible button that passes the scene on."""

    setMRMLScene = SceneMixin.setMRMLScene
    _the_scene = SceneMixin._the_scene

    def _scene_set(self) -> None:
        """Called when the scene changed."""


@stand_in
class qMRMLSliderWidget(SceneMixin, ctkSliderWidget):
    """A slider that shows a unit; units are not applied here."""

    @property
    def orientation(self) -> QtCore.Qt.Orientation:
        return self._slider.orientation

    @orientation.setter
    def orientation(self, orientation: QtCore.Qt.Orientation) -> None:
        self._slider.setOrientation(orientation)


@stand_in
class qMRMLSpinBox(SceneMixin, ctkDoubleSpinBox):
    """A spin box that shows a unit; units are not applied here."""


@stand_in
class qMRMLRangeWidget(ctkRangeWidget):
    """A range that shows a unit; units are not applied here."""

    setMRMLScene = SceneMixin.setMRMLScene
    _the_scene = SceneMixin._the_scene

    def _scene_set(self) -> None:
        """Called when the scene changed."""
