"""Pictures of nodes, drawn off-screen by Slicer's own slice logic and displayable managers.

The nodes are copied, with their display, into a scene of this file's own: what is drawn is what Slicer would draw, and
nothing is added to the scene of the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

Pixels = NDArray[np.uint8]
PRESETS = ("Axial", "Coronal", "Sagittal")


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels` (rows from the top, columns, RGB); `from_ras` brings a place in RAS mm to (column, row, depth)."""

    pixels: Pixels
    from_ras: NDArray[np.float64]

    def position(self, ras: Sequence[float]) -> tuple[float, float, float]:
        """Column and row of the place, and its distance to the plane in mm."""
        x, y, z, _ = self.from_ras @ [*ras, 1]
        return x, self.pixels.shape[0] - 1 - y, z

    def at(self, ras: Sequence[float]) -> tuple[int, int, int]:
        """The colour of the pixel at the place."""
        column, row, _ = (round(value) for value in self.position(ras))
        height, width = self.pixels.shape[:2]
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"{tuple(ras)} lies at ({column}, {row}), outside the picture of {width} x {height}")
        return tuple(int(value) for value in self.pixels[row, column])


class Scene:
    """A scene with what drawing needs, for one picture."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetMRMLScene(self.scene)
        colors = self.application.GetColorLogic()
        colors.SetMRMLScene(self.scene)
        colors.AddDefaultColorNodes()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        self.segmentations = slicer.vtkSlicerSegmentationsModuleLogic()  # registers its node classes
        self.segmentations.SetMRMLScene(self.scene)
        self.segmentations.SetMRMLApplicationLogic(self.application)
        self.copies: dict[str, Any] = {}

    def copy(self, node: Any) -> Any:
        """The twin of a volume or segmentation node: data, place, display; None of None."""
        if node is None:
            return None
        if node.GetID() not in self.copies:
            twin = self.scene.AddNewNodeByClass(node.GetClassName(), node.GetName())
            twin.CopyContent(node, False)
            self._place(node, twin)
            self._show(node, twin)
            self.copies[node.GetID()] = twin
        return self.copies[node.GetID()]

    def _place(self, node: Any, twin: Any) -> None:
        parent = node.GetParentTransformNode()
        if parent is None:
            return
        chain = vtk.vtkGeneralTransform()
        parent.GetTransformToWorld(chain)
        whole = self.scene.AddNewNodeByClass("vtkMRMLTransformNode")
        whole.SetAndObserveTransformToParent(chain)
        twin.SetAndObserveTransformNodeID(whole.GetID())

    def _show(self, node: Any, twin: Any) -> None:
        twin.CreateDefaultDisplayNodes()
        source, display = node.GetDisplayNode(), twin.GetDisplayNode()
        if source is None:
            return
        colors = source.GetColorNode()
        display.CopyContent(source)
        if colors is None:
            return
        known = self.scene.GetNodeByID(colors.GetID())
        if known is None or known.GetName() != colors.GetName():
            known = self.scene.CreateNodeByClass(colors.GetClassName())
            known.UnRegister(None)
            known.Copy(colors)
            known = self.scene.AddNode(known)
        display.SetAndObserveColorNodeID(known.GetID())


def slice_picture(
    background: Any,
    *,
    segmentation: Any = None,
    transform: Any = None,
    foreground: Any = None,
    label: Any = None,
    opacity: float = 0.5,
    fill: float = 0.35,
    orientation: str = "Axial",
    aligned: bool = False,
    offset: float | None = None,
    through: Sequence[float] | None = None,
    size: tuple[int, int] = (400, 400),
    zoom: float = 1.0,
    legend: Any = None,
    legend_title: str | None = None,
) -> Picture:
    """A slice of `background` at `offset` mm along its normal, or `through` a place (RAS mm), else through the middle.

    `foreground` is blended with `opacity`, `label` (a label map node) with 0.6, the segments of `segmentation` filled
    with `fill`, `transform` drawn as its display says; `legend` is the volume whose colour legend is drawn, titled with
    its name; `zoom` above 1 shows less than the whole; `aligned` turns the plane to the nearest axes of the background,
    so that an oblique volume shows its own voxels.
    """
    if orientation not in PRESETS:
        raise ValueError(f"orientation is {orientation!r}; expected one of {', '.join(PRESETS)}")
    stage = Scene()
    view = _SliceView(stage, size)
    volume = stage.copy(background)
    view.composite.SetBackgroundVolumeID(volume.GetID())
    if foreground is not None:
        view.composite.SetForegroundVolumeID(stage.copy(foreground).GetID())
        view.composite.SetForegroundOpacity(opacity)
    if label is not None:
        view.composite.SetLabelVolumeID(stage.copy(label).GetID())
        view.composite.SetLabelOpacity(0.6)
    if segmentation is not None:
        display = stage.copy(segmentation).GetDisplayNode()
        display.SetOpacity2DFill(display.GetOpacity2DFill() * fill)
    if transform is not None:
        stage.copy(transform)
    if legend is not None:
        _add_legend(stage, stage.copy(legend), legend_title)
    view.node.SetOrientation(orientation)
    if aligned:
        view.node.RotateToVolumePlane(volume)
    view.look(offset, through, zoom)
    return view.draw()


def _add_legend(stage: Scene, volume: Any, title: str | None) -> None:
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volume.GetDisplayNode())
    legend.SetTitleText(volume.GetName() if title is None else title)
    legend.SetNumberOfLabels(5)
    legend.SetLabelFormat("%.3g")
    legend.SetSize(0.12, 0.5)
    legend.SetPosition(0.97, 0.5)
    for properties in (legend.GetTitleTextProperty(), legend.GetLabelTextProperty()):
        properties.ShadowOff()
        properties.SetBackgroundColor(0, 0, 0)  # numbers can be read on bright images, too
        properties.SetBackgroundOpacity(0.5)
    legend.SetVisibility(True)


def _window(size: tuple[int, int]) -> tuple[Any, Any]:
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
    window = vtk.vtkRenderWindow()  # tries X, EGL and OSMesa in turn, and warns of each that is not there
    vtk.vtkLogger.SetStderrVerbosity(verbosity)
    window.SetOffScreenRendering(1)
    window.SetSize(*size)
    window.SetMultiSamples(4)
    renderer = vtk.vtkRenderer()
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    interactor.Initialize()
    return window, renderer


def _grab(window: Any) -> Pixels:
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    flat = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.ascontiguousarray(flat.reshape(height, width, -1)[::-1, :, :3])


class _SliceView:
    """What a slice widget of Slicer does, without the widget."""

    MANAGERS = (
        "vtkMRMLSegmentationsDisplayableManager2D",
        "vtkMRMLColorLegendDisplayableManager",
        "vtkMRMLTransformsDisplayableManager2D",
    )

    def __init__(self, stage: Scene, size: tuple[int, int]) -> None:
        self.size = size
        self.window, renderer = _window(size)
        renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(stage.application)
        self.logic.SetMRMLScene(stage.scene)
        self.node = self.logic.AddSliceNode("Red")
        self.composite = self.logic.GetSliceCompositeNode()
        stage.application.GetSliceLogics().RemoveAllItems()
        stage.application.GetSliceLogics().AddItem(self.logic)
        self.mapper = vtk.vtkImageMapper()  # the blend of the layers is 8-bit colour already
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self.mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(actor)  # before those of the overlays, or translucent fills blend with black
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self.group = _managers(factory, stage, renderer, self.node, self.MANAGERS)

    def look(self, offset: float | None, through: Sequence[float] | None, zoom: float) -> None:
        self.logic.ResizeSliceNode(*self.size)
        self.logic.FitSliceToBackground()
        x, y, z = self.node.GetFieldOfView()
        self.node.SetFieldOfView(x / zoom, y / zoom, z)
        if offset is not None:
            self.logic.SetSliceOffset(offset)
        if through is not None:
            self.node.JumpSliceByOffsetting(*through)
        self.logic.UpdateSliceNode()

    def draw(self) -> Picture:
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())
        pixels = _grab(self.window)
        matrix = np.reshape([self.node.GetXYToRAS().GetElement(i, j) for i in range(4) for j in range(4)], (4, 4))
        self.group.SetMRMLDisplayableNode(None)
        self.logic.SetMRMLScene(None)
        return Picture(pixels, np.linalg.inv(matrix))


def surface_picture(
    segmentation: Any, *, size: tuple[int, int] = (400, 400), azimuth: float = 20.0, elevation: float = 15.0
) -> Pixels:
    """The segments as smooth surfaces, seen from in front, turned by `azimuth` and `elevation` degrees."""
    stage = Scene()
    twin = stage.copy(segmentation)
    if not twin.GetSegmentation().GetNumberOfSegments() or not twin.CreateClosedSurfaceRepresentation():
        raise ValueError(f"the segmentation {segmentation.GetName()!r} has no surface; expected segments in it")
    twin.GetDisplayNode().SetVisibility3D(True)
    twin.GetDisplayNode().SetPreferredDisplayRepresentationName3D("Closed surface")
    window, renderer = _window(size)
    node = stage.scene.AddNewNodeByClass("vtkMRMLViewNode")
    camera = stage.scene.AddNewNodeByClass("vtkMRMLCameraNode")
    camera.SetLayoutName(node.GetLayoutName())
    renderer.GradientBackgroundOn()
    renderer.SetBackground(0.16, 0.17, 0.21)
    renderer.SetBackground2(0.30, 0.32, 0.38)
    factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
    group = _managers(factory, stage, renderer, node, ("vtkMRMLSegmentationsDisplayableManager3D",))
    eye = renderer.GetActiveCamera()
    eye.SetPosition(0, 1, 0)
    eye.SetFocalPoint(0, 0, 0)
    eye.SetViewUp(0, 0, 1)
    eye.Azimuth(azimuth)
    eye.Elevation(elevation)
    renderer.ResetCamera()
    eye.Zoom(1.3)
    renderer.ResetCameraClippingRange()
    pixels = _grab(window)
    group.SetMRMLDisplayableNode(None)
    return pixels


def _managers(factory: Any, stage: Scene, renderer: Any, node: Any, names: Sequence[str]) -> Any:
    """The displayable managers `names` at work on a view."""
    factory.SetMRMLApplicationLogic(stage.application)
    for name in names:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.Initialize(factory, renderer)
    group.SetMRMLDisplayableNode(node)
    return group


def write_png(pixels: Pixels, path: str | Path) -> Path:
    """Writes RGB pixels, the first row on top."""
    image = vtk.vtkImageData()
    height, width, _ = pixels.shape
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(pixels[::-1].reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(image)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    writer.SetFileName(str(path))
    writer.Write()
    return Path(path)


def slice_png(path: str | Path, background: Any, **options: Any) -> Path:
    """`slice_picture` in a file."""
    return write_png(slice_picture(background, **options).pixels, path)
