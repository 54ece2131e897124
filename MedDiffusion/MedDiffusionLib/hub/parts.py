"""Widgets that the tabs of the hub share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from .. import sections
from .commands import Command
from .library import size

INTERVAL = 50  # ms between two looks at a child process


class Rows:
    """A table of text that is read and chosen from, a line at a time; as high as its lines, within limits."""

    def __init__(
        self,
        name: str,
        titles: Sequence[str],
        tooltip: str,
        onChosen: Callable[[], None] | None = None,
        lines: tuple[int, int] = (3, 8),
    ) -> None:
        self._lines = lines
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
        for column in range(len(titles) - 1):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(len(titles) - 1, qt.QHeaderView.Stretch)
        if onChosen is not None:
            self.widget.connect("itemSelectionChanged()", onChosen)
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
                self.widget.setItem(line, column, item)
        self.widget.blockSignals(blocked)
        self._fit(len(rows))

    def _fit(self, rows: int) -> None:
        height = self.widget.fontMetrics().height() + 8
        self.widget.verticalHeader().setDefaultSectionSize(height)
        low, high = self._lines
        shown = min(max(rows, low), high) + 1  # and the titles
        self.widget.setFixedHeight(shown * height + 6)


def browser(name: str, tooltip: str, height: int = 160) -> Any:
    """Text with links, to be read."""
    made = qt.QTextBrowser()
    made.setObjectName(name)
    made.setToolTip(tooltip)
    made.setOpenExternalLinks(True)
    made.setMinimumHeight(height)
    return made


def openFolder(folder: Path) -> None:
    """Show a folder, or the next one above it that exists, in the system's file manager."""
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(there)))


def enable(button: Any, hindrance: str, tooltip: str) -> None:
    """A button that can be pressed, or says what is in its way."""
    button.setEnabled(not hindrance)
    button.setToolTip(hindrance or tooltip)


class Errand:
    """One command at a time in the background: a bar, a Cancel button, and how it ended in a sentence."""

    def __init__(self, name: str, onChanged: Callable[[], None]) -> None:
        self._onChanged = onChanged
        self._command: Command | None = None
        self._onDone: Callable[[dict[str, Any]], str] = lambda result: ""
        self.bar = qt.QProgressBar()
        self.bar.setObjectName(f"{name}Progress")
        self.bar.setRange(0, 0)
        self.cancelButton = sections.pushButton(
            f"{name}Cancel", _("Cancel"), _("Stop it; nothing stays behind"), self.cancel
        )
        self.running = sections.beside(self.bar, self.cancelButton)
        self.done = sections.Notice(f"{name}Done", qt.QStyle.SP_MessageBoxInformation)
        self.failed = sections.Notice(f"{name}Failed", qt.QStyle.SP_MessageBoxCritical)
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self._tick)
        self.running.setVisible(False)

    @property
    def widgets(self) -> tuple[Any, ...]:
        """What is to be laid out, one below the other."""
        return self.running, self.done.widget, self.failed.widget

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return self._command is not None

    def run(self, command: Command, text: str, onDone: Callable[[dict[str, Any]], str]) -> None:
        """Start a command; `onDone` makes the sentence from its result."""
        if self.busy:
            return
        self._command, self._onDone = command, onDone
        self.bar.setFormat(text)
        self.bar.setToolTip(text)
        command.start()
        self._show("", "")
        self._timer.start()

    def say(self, sentence: str) -> None:
        """A sentence where nothing ran."""
        self._show(sentence, "")

    def cancel(self) -> None:
        """Stop the command that runs."""
        if self._command is not None:
            self._command.cancel()
            self._end(_("Cancelled."), "")

    def close(self) -> None:
        """Stop without a word: the panel goes away."""
        self._timer.stop()
        command, self._command = self._command, None
        if command is not None:
            command.cancel()

    def _tick(self) -> None:
        command = self._command
        if command is None:
            return
        running = command.poll()
        if command.done:
            self.bar.setFormat(_("{size} so far").format(size=size(command.done)))
        if running:
            return
        if command.failure:
            self._end("", command.failure)
        else:
            self._end(self._onDone(command.result or {}), "")

    def _end(self, done: str, failed: str) -> None:
        self._timer.stop()
        self._command = None
        self._show(done, failed)

    def _show(self, done: str, failed: str) -> None:
        self.running.setVisible(self.busy)
        self.done.say(done)
        self.failed.say(failed)
        self._onChanged()
