"""A picture of the image as it stands, from the grey values that the worker sends."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

SIDE = 192  # pixels


class Preview:
    """A label that shows one picture, and hides when there is none."""

    def __init__(self) -> None:
        self.widget = qt.QLabel()
        self.widget.setObjectName("preview")
        self.widget.setAlignment(qt.Qt.AlignCenter)
        self.widget.setToolTip(_("One slice of the image as it stands"))
        self.clear()

    def show(self, event: Mapping[str, Any]) -> None:
        """The picture of a `preview` event: rows and columns, and 8-bit grey values in base64."""
        rows, columns = event["shape"]
        grey = base64.b64decode(event["grey8"])
        if len(grey) == rows * columns:
            self.widget.setPixmap(picture(np.frombuffer(grey, np.uint8).reshape(rows, columns), SIDE))
            self.widget.setVisible(True)

    def clear(self) -> None:
        """No picture."""
        self.widget.clear()
        self.widget.setVisible(False)


def picture(grey: np.ndarray, side: int) -> Any:
    """A pixmap of 8-bit grey values (Y, X), as large as fits into a square of so many pixels."""
    rows, columns = grey.shape
    pixmap = qt.QPixmap()
    # Portable grey map: the one way to hand over bytes that is the same in every Qt binding; as bytes, since a
    # QByteArray made of them may end at the first zero
    pixmap.loadFromData(b"P5 %d %d 255\n" % (columns, rows) + np.ascontiguousarray(grey, np.uint8).tobytes())
    return pixmap.scaled(side, side, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
