"""Ways to look at two volumes that were registered: blended, in turn, as a checkerboard, and on the path."""

from __future__ import annotations

from typing import Any

import ctk
import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from meddiff.errors import BadInput
from meddiff.volume import same_grid

from . import sections
from .bindings import fill
from .display import has_window, show
from .hierarchy import place_beside, proxy
from .nodes import grid_from_node, node_from_volume, title, volume_from_node
from .sequences import browser_of

BOARD = "MedDiffusion.checkerboard"  # role of the reference of a warped volume to its checkerboard
INTERVAL = 700  # ms that each of two images is seen
LINES = 14  # of the grid along the longest side of the volume


class Comparison:
    """The section Compare; hidden until there is something to compare."""

    def __init__(self) -> None:
        self.widget = ctk.ctkCollapsibleButton()
        self.widget.setObjectName("compareSection")
        self.widget.text = _("Compare")
        self.form = qt.QFormLayout(self.widget)
        self.view = sections.row(self.form, _("Show"), qt.QComboBox(), _("How the slice views show both volumes"))
        self.view.setObjectName("compareView")
        self.view.connect("currentIndexChanged(int)", self._onView)
        self.opacity = sections.slider("compareOpacity", 0, 1, 0.05, 2)
        self.opacity.setValue(0.5)
        sections.row(self.form, _("Moving over fixed"), self.opacity, _("0 is the fixed volume, 1 the other alone"))
        self.opacity.connect("valueChanged(double)", self._onView)
        self.squares = sections.spinBox("compareSquares", 2, 64)
        self.squares.setValue(8)
        sections.row(self.form, _("Squares"), self.squares, _("Along the longest side of the volume"))
        self.squares.connect("valueChanged(int)", self._onView)
        self.play, self.seek = slicer.qMRMLSequenceBrowserPlayWidget(), slicer.qMRMLSequenceBrowserSeekWidget()
        self.path = sections.beside(self.play, self.seek)
        self.path.layout().setStretch(1, 1)
        sections.row(self.form, _("Path"), self.path, _("Step through the path, or play it; eta goes from 0 to 1"))
        self.grid = qt.QCheckBox(_("Show the transform as a grid"))
        self.grid.setObjectName("compareGrid")
        self.grid.setToolTip(_("Lines that were straight before the moving volume was bent"))
        self.grid.connect("toggled(bool)", self._onGrid)
        self.form.addRow("", self.grid)
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self._flicker)
        self._fixed = self._warped = self._frames = self._transform = None
        self._stamp: tuple[Any, ...] = ()
        self.widget.setVisible(False)

    def show(self, fixed: Any, warped: Any, frames: Any, transform: Any) -> None:
        """What there is to compare; the views are left as they are until something is chosen."""
        self._fixed, self._warped, self._frames, self._transform = fixed, warped, frames, transform
        image = warped.GetImageData() if warped is not None else None
        made = image.GetMTime() if image is not None else 0
        stamp = (made, *(node and node.GetID() for node in (fixed, warped, frames, transform)))
        if stamp == self._stamp:
            return self._resume()
        self._stamp = stamp
        self.stop()
        both = fixed is not None and image is not None and _on_one_grid(fixed, warped)
        ways = [(_("Blended"), "blend"), (_("In turn"), "flicker"), (_("Checkerboard"), "board")] if both else []
        fill(self.view, [*ways, *([(_("On the path"), "path")] if frames is not None else [])])
        if self.view.currentIndex < 0 or self._way() in ("flicker", "board"):  # a new result is shown blended
            blocked = self.view.blockSignals(True)
            self.view.setCurrentIndex(0)
            self.view.blockSignals(blocked)
        browser = browser_of(frames) if frames is not None else None
        for part in (self.play, self.seek):
            part.setMRMLSequenceBrowserNode(browser)
        sections.showRow(self.form, self.path, browser is not None)
        self.grid.setEnabled(transform is not None)
        blocked = self.grid.blockSignals(True)
        self.grid.setChecked(transform is not None and _is_shown(transform))
        self.grid.blockSignals(blocked)
        self._rows()
        return self.widget.setVisible(image is not None)

    def _resume(self) -> None:
        """The panel is shown again."""
        if self._way() == "flicker":
            self._timer.start()

    def stop(self) -> None:
        """Let nothing go on by itself."""
        self._timer.stop()

    def _way(self) -> str:
        return self.view.itemData(self.view.currentIndex) or ""

    def _rows(self) -> None:
        sections.showRow(self.form, self.opacity, self._way() in ("blend", "path") and self._fixed is not None)
        sections.showRow(self.form, self.squares, self._way() == "board")

    def _onView(self, *_args: Any) -> None:
        """The slice views, as was chosen."""
        self.stop()
        self._rows()
        way, layers = self._way(), slicer.util.setSliceViewerLayers
        if way == "path":
            shown = proxy(self._frames)
            back, front = (shown, None) if self._fixed is None else (self._fixed, shown)
            layers(background=back, foreground=front, foregroundOpacity=self.opacity.value)
        elif way == "board":
            layers(background=checkerboard(self._fixed, self._warped, int(self.squares.value)), foreground=None)
        elif way:
            layers(background=self._fixed, foreground=self._warped, foregroundOpacity=self.opacity.value)
            self._resume()

    def _flicker(self) -> None:
        """The one, then the other."""
        composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        if composite is not None:
            slicer.util.setSliceViewerLayers(foregroundOpacity=0.0 if composite.GetForegroundOpacity() > 0.5 else 1.0)

    def _onGrid(self, shown: bool) -> None:
        if self._transform is not None:
            show_grid(self._transform, self._warped, shown)


def _on_one_grid(one: Any, other: Any) -> bool:
    return one.GetImageData() is not None and same_grid(*map(grid_from_node, (one, other)))


def _is_shown(transform: Any) -> bool:
    display = transform.GetDisplayNode()
    return display is not None and bool(display.GetVisibility() and display.GetVisibility2D())


def show_grid(transform: Any, volume: Any, shown: bool) -> None:
    """A transform as a grid in the slice views, its lines as dense as suits the size of a volume; or not."""
    if transform.GetDisplayNode() is None:
        transform.CreateDefaultDisplayNodes()
    display, grid = transform.GetDisplayNode(), grid_from_node(volume)
    spacing = max(n * s for n, s in zip(grid.shape[::-1], grid.spacing, strict=True)) / LINES
    with slicer.util.NodeModify(display):
        display.SetVisualizationMode(display.VIS_MODE_GRID)
        display.SetGridSpacingMm(spacing)
        display.SetGridResolutionMm(spacing / 5)
        display.SetGridLineDiameterMm(spacing / 20)
        display.SetVisibility(shown)
        display.SetVisibility2D(shown)


def checkerboard(fixed: Any, warped: Any, squares: int = 8) -> Any:
    """A volume node of cubes of both, in turn, in the grey levels of the fixed one: that of the warped volume, or a new
    one. Raises BadInput for volumes on two grids."""
    one, other = volume_from_node(fixed), volume_from_node(warped)
    if not same_grid(one, other):
        raise BadInput(f"{title(warped)} lies on another grid than {title(fixed)}; register them again")
    side = max(n * s for n, s in zip(one.shape[::-1], one.spacing, strict=True)) / squares
    cubes = sum(
        np.floor(index * step / side).astype(int)
        for index, step in zip(np.ogrid[tuple(map(slice, one.shape))], one.spacing[::-1], strict=True)
    )
    array = np.where(cubes % 2 == 0, one.array, _in_greys_of(fixed, warped, other.array)).astype(np.float32)
    known = warped.GetNodeReference(BOARD)
    node = node_from_volume(one.with_array(array), f"{warped.GetName()} checkerboard", node=known)
    warped.SetNodeReferenceID(BOARD, node.GetID())
    place_beside(node, fixed)
    show(node, "image", like=fixed)
    return node


def _in_greys_of(fixed: Any, warped: Any, array: np.ndarray) -> np.ndarray:
    """Voxels of the warped volume in the grey levels of the fixed one, by the windows of both."""
    if not (has_window(fixed) and has_window(warped)):
        return array
    (window, level), (other, middle) = ((d.GetWindow(), d.GetLevel()) for d in map(_display, (fixed, warped)))
    return (array.astype(float) - middle) * (window / other) + level


def _display(node: Any) -> Any:
    return node.GetDisplayNode()
