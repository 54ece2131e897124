"""A table of text in a panel, to be read and chosen from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt


class Rows:
    """Lines of text, one of which can be chosen; as high as its lines, within limits. `right` are columns of numbers.

    `onChosen` is told when another line is chosen, `onPressed` each time that one is clicked on, with whether twice.
    """

    def __init__(
        self,
        name: str,
        titles: Sequence[str],
        tooltip: str,
        onChosen: Callable[[], None] | None = None,
        lines: tuple[int, int] = (3, 8),
        *,
        right: Sequence[int] = (),
        onPressed: Callable[[bool], None] | None = None,
    ) -> None:
        self._lines, self._right = lines, tuple(right)
        self.widget = qt.QTableWidget()
        self.widget.setObjectName(name)
        self.widget.setToolTip(tooltip)
        self.widget.setColumnCount(len(titles))
        self.widget.setHorizontalHeaderLabels(list(titles))
        self.widget.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.widget.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.widget.setTextElideMode(qt.Qt.ElideMiddle)
        self.widget.setWordWrap(False)
        self.widget.verticalHeader().setVisible(False)
        header = self.widget.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(qt.Qt.AlignLeft)
        for column in range(len(titles)):
            wide = column == len(titles) - 1 or (column > 1 and column in self._right)
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if wide else qt.QHeaderView.ResizeToContents)
        for column in self._right:
            self.widget.horizontalHeaderItem(column).setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        if onChosen is not None:
            self.widget.connect("itemSelectionChanged()", onChosen)
        if onPressed is not None:
            self.widget.connect("cellClicked(int,int)", lambda _row, _column: onPressed(False))
            self.widget.connect("cellDoubleClicked(int,int)", lambda _row, _column: onPressed(True))
        self.show([])

    @property
    def chosen(self) -> int:
        """The line that is chosen; -1 for none."""
        lines = self.widget.selectionModel().selectedRows()
        return lines[0].row() if lines else -1

    def choose(self, line: int) -> None:
        """Choose a line; -1 chooses none."""
        if line < 0:
            self.widget.clearSelection()
        else:
            self.widget.selectRow(line)

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these lines, in silence, with nothing chosen."""
        blocked = self.widget.blockSignals(True)
        self.widget.clearSelection()
        self.widget.setRowCount(len(rows))
        for line, row in enumerate(rows):
            for column, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if column in self._right:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                self.widget.setItem(line, column, item)
        self.widget.blockSignals(blocked)
        self._fit(len(rows))

    def _fit(self, rows: int) -> None:
        height = self.widget.fontMetrics().height() + 8
        self.widget.verticalHeader().setDefaultSectionSize(height)
        low, high = self._lines
        shown = min(max(rows, low), high) + 1  # and the titles
        self.widget.setFixedHeight(shown * height + 6)
