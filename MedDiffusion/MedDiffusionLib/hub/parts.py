"""Widgets that the tabs of the hub share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from .. import sections
from .commands import Command
from .library import size

INTERVAL = 50  # ms between two looks at a child process


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
