"""The scene as the application keeps it: logics of the modules, colour tables, subject hierarchy items."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk

# The application's own modules whose logic an extension may ask for: attribute of slicer.modules -> logic class.
LOGICS = {
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}
# What the subject hierarchy's plugins show as items.
IN_HIERARCHY = (
    *("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode", "vtkMRMLTransformNode"),
    *("vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLSequenceNode"),
)
PERCEPTUAL = ("viridis", "plasma", "inferno", "magma", "cividis")  # colour files of the application


def write_share(folder: Path) -> None:
    """The application's files that slicer-core reads when they are there: perceptually uniform colour tables, and
    `GenericColors`, which label maps have by default (with colours of our own)."""
    from matplotlib import colormaps

    (folder / "ColorFiles").mkdir(parents=True, exist_ok=True)
    hues = [colorsys.hsv_to_rgb(0.618 * label % 1, 0.55, 0.9) if label else (0.0, 0.0, 0.0) for label in range(256)]
    tables = {name.capitalize(): colormaps[name](range(256))[:, :3] for name in PERCEPTUAL}
    for name, rows in {**tables, "GenericColors": hues}.items():
        colours = (" ".join(str(round(255 * part)) for part in row) for row in rows)
        lines = [
            f"{place} {place} {colour} {0 if rows is hues and not place else 255}"
            for place, colour in enumerate(colours)
        ]
        text = "\n".join(["# Color table file", f"# {name}, 256 values", *lines, ""])
        (folder / "ColorFiles" / f"{name}.txt").write_text(text, encoding="utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Without VTK's warnings and errors."""
    before = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.SetGlobalWarningDisplay(0)
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(before)


class ApplicationScene:
    """The one scene of the session, `slicer.mrmlScene`, and what observes it."""

    def __init__(self, home: str) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetHomeDirectory(home)
        self.application.SetShareDirectory("share")
        write_share(Path(home, "share"))
        self.application.SetMRMLScene(self.scene)
        self._cache(str(Path(home, "cache")))
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        with quiet():  # the terminologies are files of the application too, which are not there
            self.logics: dict[str, Any] = {name: self._logic(name, kind) for name, kind in LOGICS.items()}
        self.hierarchy()
        for event, method in (
            (slicer.vtkMRMLScene.NodeAddedEvent, self._on_added),
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._on_removed),
        ):
            self.scene.AddObserver(event, method)
        self.scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, self._on_imported)
        self.scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, self._on_closed)
        self._at_start = self._identifiers()

    def _cache(self, folder: str) -> None:
        """The managers of downloads, whose folder bundles are unpacked into."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(folder)
        cache.SetMRMLScene(self.scene)
        manager.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(manager)

    def _logic(self, name: str, kind: str) -> Any:
        logic = getattr(slicer, kind)()
        logic.SetMRMLApplicationLogic(self.application)
        if name == "Colors" and hasattr(self.application, "SetColorLogic"):
            self.application.SetColorLogic(logic)
        logic.SetMRMLScene(self.scene)
        self.application.SetModuleLogic(name, logic)
        return logic

    def hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def _add_item(self, node: Any) -> None:
        if node is None or node.GetHideFromEditors() or not any(node.IsA(kind) for kind in IN_HIERARCHY):
            return
        hierarchy = self.hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, _scene: Any, _event: str, node: Any) -> None:
        if not self.scene.IsImporting():
            self._add_item(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removed(self, _scene: Any, _event: str, node: Any) -> None:
        hierarchy = self.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None and node is not None else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _on_imported(self, *_: Any) -> None:
        for index in range(self.scene.GetNumberOfNodes()):
            self._add_item(self.scene.GetNthNode(index))

    def _on_closed(self, *_: Any) -> None:
        self.hierarchy().RemoveAllItems(False)  # the folders

    def restore(self) -> None:
        """A scene as at the start: the singletons that modules made (parameter nodes) go too."""
        self.scene.Clear(0)
        nodes = [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]
        for node in nodes:
            if node.GetID() not in self._at_start:
                self.scene.RemoveNode(node)
        self.scene.ClearUndoStack()

    def _identifiers(self) -> set[str]:
        return {self.scene.GetNthNode(index).GetID() for index in range(self.scene.GetNumberOfNodes())}
