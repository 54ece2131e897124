"""All images of a result at once, small, in rows and columns; a click shows one in the slice views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from .. import hierarchy, views
from ..nodes import FLIP, grid_from_node
from ..preview import picture
from ..roles import SEQUENCE
from ..sequences import browser_of
from ..tables import to_world

SIDE, COLUMNS, MOST = 96, 4, 64  # pixels of one image, images in a row, and images
STACK = 2  # dimensions of images that lie one upon the other


class Sheet:
    """Shows the images of a stack of independent slices, or the middle of each volume of a sequence."""

    def __init__(self) -> None:
        self.widget = qt.QWidget()
        self.widget.setObjectName("sheet")
        self.widget.setToolTip(_("All images at once; a click shows one in the slice views"))
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._grid: Any = None
        self._shown: Any = None
        self.buttons: list[Any] = []
        self.show(None)

    def show(self, node: Any) -> None:
        """The images of a volume or of a sequence; of a single one there is nothing to choose."""
        state = (node.GetID(), node.GetMTime()) if node is not None else ()
        if state == self._shown:
            return
        self._shown = state
        if self._grid is not None:
            self._layout.removeWidget(self._grid)
            self._grid.hide()
            self._grid.deleteLater()
        self._grid, self.buttons = qt.QWidget(), []
        grid = qt.QGridLayout(self._grid)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        found = list(images(node)) if node is not None else []
        for number, (pixels, caption, show) in enumerate(found if len(found) > 1 else []):
            self.buttons.append(self._button(number, pixels, caption, show))
            grid.addWidget(self.buttons[-1], number // COLUMNS, number % COLUMNS)
        grid.setColumnStretch(COLUMNS, 1)
        self._layout.addWidget(self._grid)
        self.widget.setVisible(bool(self.buttons))

    def _button(self, number: int, pixels: np.ndarray, caption: str, show: Callable[[], None]) -> Any:
        button = qt.QToolButton()
        button.setObjectName(f"image_{number}")
        button.setIcon(qt.QIcon(picture(pixels, SIDE)))
        button.setIconSize(qt.QSize(SIDE, SIDE))
        button.setAutoRaise(True)
        button.setToolTip(caption)
        button.connect("clicked()", show)
        return button


def images(node: Any) -> Iterator[tuple[np.ndarray, str, Callable[[], None]]]:
    """Grey values (Y, X) as the window of the node has them, what an image is, and what shows it."""
    if node.IsA(SEQUENCE):
        shown = hierarchy.proxy(node)
        for number in range(min(node.GetNumberOfDataNodes(), MOST)):
            array = slicer.util.arrayFromVolume(node.GetNthDataNode(number))
            yield _grey(array[len(array) // 2], shown), _place(node, number), _frame(node, number)
        return
    size = ((hierarchy.provenance(node) or {}).get("settings") or {}).get("size") or ()
    if len(size) == STACK and node.GetImageData() is not None:
        for number, array in enumerate(slicer.util.arrayFromVolume(node)[:MOST]):
            yield _grey(array, node), _("Image {number}").format(number=number + 1), _slice(node, number)


def _grey(array: np.ndarray, node: Any) -> np.ndarray:
    """8 bits, by the window of the node that shows it."""
    display = node.GetDisplayNode() if node is not None else None
    low, high = float(array.min()), float(array.max())
    if display is not None and display.GetWindow() > 0:
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    part = np.nan_to_num((array.astype(float) - low) / ((high - low) or 1.0))
    return (255 * part.clip(0, 1)).astype(np.uint8)


def _place(sequence: Any, number: int) -> str:
    words = (sequence.GetIndexName(), sequence.GetNthIndexValue(number), sequence.GetIndexUnit())
    return " ".join(filter(None, words))


def _frame(sequence: Any, number: int) -> Callable[[], None]:
    """Let the browser stand at this frame, and the views show it."""

    def show() -> None:
        browser = browser_of(sequence)
        if browser is not None:
            browser.SetSelectedItemNumber(number)
            views.blend(hierarchy.proxy(sequence))

    return show


def _slice(node: Any, number: int) -> Callable[[], None]:
    """Let the views show this slice of a stack."""

    def show() -> None:
        views.blend(node)
        x, y, _z = node.GetImageData().GetDimensions()
        place = FLIP @ grid_from_node(node).affine @ ((x - 1) / 2, (y - 1) / 2, number, 1.0)
        views.jump(to_world(place[:3], node.GetParentTransformNode()))

    return show
