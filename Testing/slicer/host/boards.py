"""Several pictures side by side with captions, as one PNG for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter

GAP, LINE = 10, 30  # pixels between tiles, and of a line of caption
PAPER, INK, PALE = QColor(20, 21, 24), QColor(240, 240, 242), QColor(160, 162, 170)


@dataclass(frozen=True, eq=False)
class Tile:
    """RGB pixels (rows from the top), a caption and a second, paler one after it."""

    pixels: NDArray[np.uint8]
    caption: str = ""
    note: str = ""


def board(path: str | Path, tiles: Sequence[Tile], *, columns: int = 3, title: str = "") -> Path:
    """Writes the tiles row by row, a column as wide as its widest tile, each caption below its tile."""
    return _save(_sheet(tiles, columns, title), path)


def beside(path: str | Path, panel: str | Path, tiles: Sequence[Tile], *, columns: int = 2) -> Path:
    """Writes a picture of a panel with the views of `tiles` at its right, as in Slicer's window."""
    left, right = QImage(str(panel)), _sheet(tiles, columns, "")
    sheet = QImage(left.width() + right.width(), max(left.height(), right.height()), QImage.Format.Format_RGB888)
    sheet.fill(PAPER)
    painter = QPainter(sheet)
    painter.fillRect(0, 0, left.width(), sheet.height(), left.pixelColor(2, left.height() - 2))
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width(), 0, right)
    painter.end()
    return _save(sheet, path)


def workspace(
    path: Path, grab: Callable[[Path], Any], rows: int, views: Callable[[int], Sequence[Tile]], spare: int
) -> None:
    """Writes a picture of a panel, as `grab` draws it, with `rows` of views beside it, each as high as there is room
    for but for `spare` pixels."""
    part = path.with_suffix(".part.png")
    grab(part)
    beside(path, part, views(QImage(str(part)).height() // rows - spare))
    part.unlink()


def _save(sheet: QImage, path: str | Path) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not sheet.save(str(path)):
        raise OSError(f"{path} cannot be written; check the folder and its permissions")
    return Path(path)


def _sheet(tiles: Sequence[Tile], columns: int, title: str) -> QImage:
    if not tiles or columns < 1:
        raise ValueError(f"{len(tiles)} tiles in {columns} columns; expected one or more of each")
    height = max(tile.pixels.shape[0] for tile in tiles)
    columns = min(columns, len(tiles))
    widths = [max(tile.pixels.shape[1] for tile in tiles[column::columns]) for column in range(columns)]
    rows = -(-len(tiles) // columns)
    line = LINE if any(tile.caption or tile.note for tile in tiles) else 0
    top = GAP + (LINE + GAP if title else 0)
    sheet = QImage(sum(widths) + (columns + 1) * GAP, top + rows * (height + line + GAP), QImage.Format.Format_RGB888)
    sheet.fill(PAPER)
    painter = QPainter(sheet)
    painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
    if title:
        _write(painter, QRect(GAP, GAP, sheet.width() - 2 * GAP, LINE), title, INK, 18, bold=True)
    for index, tile in enumerate(tiles):
        column, width = index % columns, widths[index % columns]
        x = GAP + sum(widths[:column]) + column * GAP
        y = top + (index // columns) * (height + line + GAP)
        _draw(painter, tile, QRect(x, y, width, height))
        _caption(painter, tile, QRect(x, y + height, width, line))
    painter.end()
    return sheet


def _draw(painter: QPainter, tile: Tile, cell: QRect) -> None:
    pixels = np.ascontiguousarray(tile.pixels)
    rows, columns, _ = pixels.shape
    image = QImage(pixels.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    painter.drawImage(cell.x() + (cell.width() - columns) // 2, cell.y() + (cell.height() - rows) // 2, image)


def _caption(painter: QPainter, tile: Tile, place: QRect) -> None:
    used = _write(painter, place.adjusted(4, 0, 0, 0), tile.caption, INK, 14, bold=True)
    _write(painter, place.adjusted(used + (16 if used else 4), 0, 0, 0), tile.note, PALE, 14)


def _write(painter: QPainter, place: QRect, text: str, colour: QColor, size: int, bold: bool = False) -> int:
    """Draws a line of text and returns its width."""
    font = QFont("DejaVu Sans")
    font.setPixelSize(size)
    font.setBold(bold)
    painter.setFont(font)
    painter.setPen(colour)
    painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
    return painter.fontMetrics().horizontalAdvance(text)
