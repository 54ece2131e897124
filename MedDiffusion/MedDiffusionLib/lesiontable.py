"""The lesions that were found, line by line in the panel: the next click goes to where one of them lies."""

from __future__ import annotations

from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from . import tables, views
from .rows import Rows
from .segmentations import place_of_segment

COLUMNS = ("lesion", "volume_mm3", "peak", *tables.PLACE)  # of the worker's table, as far as they are shown


class LesionTable:
    """Shows a table node; choosing a line, also by the arrow keys, brings the slice views to the lesion."""

    def __init__(self) -> None:
        self.widget = ctk.ctkCollapsibleButton()
        self.widget.setObjectName("lesionSection")
        self.widget.text = _("Lesions")
        about = _("Choose a line, or go through them by the arrow keys: the slice views go there. Twice centres it.")
        titles = ("#", _("Volume (mm³)"), _("Peak"), _("R (mm)"), _("A (mm)"), _("S (mm)"))
        right = range(len(titles))
        self.rows = Rows("lesions", titles, about, self._onChosen, lines=(2, 8), right=right, onPressed=self._jump)
        self.rows.widget.setAlternatingRowColors(True)
        qt.QVBoxLayout(self.widget).addWidget(self.rows.widget)
        self._columns: dict[str, list[Any]] = {}
        self._shown: tuple[Any, ...] = ()
        self._lesions: Any = None
        self.widget.setVisible(False)

    def show(self, table: Any, lesions: Any) -> None:
        """The lesions of a table node, and the segmentation that has one segment for each; hidden without a table."""
        self._lesions = lesions
        stamp = () if table is None else (table.GetID(), table.GetMTime())
        if stamp == self._shown:
            return
        self._shown = stamp
        found = {} if table is None else tables.read(table)
        self._columns = found if set(COLUMNS) <= set(found) else {}
        lines = zip(*(self._columns[name] for name in COLUMNS), strict=True) if self._columns else ()
        self.rows.show([_line(*line) for line in lines])
        self.widget.setVisible(bool(self._columns))

    def place(self, line: int) -> tuple[float, float, float]:
        """Where the lesion of a line lies now, RAS mm: its segment may have been moved or edited since, or be gone."""
        number = self._columns["lesion"][line]
        found = place_of_segment(self._lesions, f"Segment_{number}")
        return found or tuple(self._columns[axis][line] for axis in tables.PLACE)

    def _onChosen(self) -> None:
        self._jump(False)

    def _jump(self, twice: bool) -> None:
        line = self.rows.chosen
        if line >= 0:
            views.jump(self.place(line), centre=twice)


def _line(number: int, volume: float, peak: float, *place: float) -> list[str]:
    return [str(number), f"{volume:.0f}", f"{peak:.3g}", *(f"{each:.1f}" for each in place)]
