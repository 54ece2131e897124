"""A picture of the image as it stands, from the grey values that the worker sends."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

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
        # Portable grey map: the one way to hand over bytes that is the same in every Qt binding
        data = b"P5 %d %d 255\n" % (columns, rows) + base64.b64decode(event["grey8"])
        pixmap = qt.QPixmap()
        if not pixmap.loadFromData(data):  # as bytes: a QByteArray made of them may end at the first zero
            return
        self.widget.setPixmap(pixmap.scaled(SIDE, SIDE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
        self.widget.setVisible(True)

    def clear(self) -> None:
        """No picture."""
        self.widget.clear()
        self.widget.setVisible(False)
