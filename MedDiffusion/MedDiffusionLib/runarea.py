"""The lower end of a panel: cost, Apply, progress, picture, what came of it, and the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from . import describe
from .preview import Preview
from .sections import Notice, beside, pushButton, text


class RunArea:
    """Shows how a job fares; `onApply` is called when its button is pressed, to start or to stop."""

    def __init__(
        self, parent: Any, onApply: Callable[[], None], copies: Mapping[str, Any], results: Any = None
    ) -> None:
        self.cost = text("cost")
        parent.addWidget(self.cost)
        self.apply = pushButton("applyButton", _("Apply"), "", onApply)
        parent.addWidget(self.apply)
        self.progress = qt.QProgressBar()
        self.progress.setObjectName("progress")
        parent.addWidget(self.progress)
        self.left = text("timeLeft")
        parent.addWidget(self.left)
        self.preview = Preview()
        parent.addWidget(self.preview.widget)
        self.status = Notice("status", qt.QStyle.SP_MessageBoxInformation)
        parent.addWidget(self.status.widget)
        self.problem = Notice("problem", qt.QStyle.SP_MessageBoxCritical)
        parent.addWidget(self.problem.widget)
        if results is not None:
            parent.addWidget(results)
        self.copies = [pushButton(name, *about) for name, about in copies.items()]
        parent.addWidget(beside(*self.copies, stretch=True))
        self.lines = self._log(parent)
        self.hide()

    def _log(self, parent: Any) -> Any:
        button = ctk.ctkCollapsibleButton()
        button.text = _("Log")
        button.collapsed = True
        parent.addWidget(button)
        lines = qt.QPlainTextEdit()
        lines.setObjectName("log")
        lines.setReadOnly(True)
        lines.setMaximumBlockCount(2000)
        lines.setMinimumHeight(100)
        lines.setToolTip(_("What the runs of this session had to say"))
        qt.QVBoxLayout(button).addWidget(lines)
        return lines

    def setButton(self, state: str, tooltip: str) -> None:
        """The button to start (`ready`, or `missing` something), to stop (`running`), or to wait (`cancelling`)."""
        texts = {"running": _("Cancel"), "cancelling": _("Cancelling…")}
        self.apply.setText(texts.get(state, _("Apply")))
        self.apply.setToolTip(tooltip)
        self.apply.setEnabled(state in ("ready", "running"))

    def showCost(self, sentence: str) -> None:
        """What the job will take, where that is known."""
        self.cost.setText(sentence)
        self.cost.setVisible(bool(sentence))

    def begin(self, sentence: str) -> None:
        """A job was started: what was said of the one before is gone."""
        self.status.say("")
        self.problem.say("")
        self.preview.clear()
        self.show(sentence)

    def show(self, sentence: str, step: int = 0, of: int = 0) -> None:
        """How far the job is."""
        self.progress.setRange(0, of)  # 0 to 0 is a bar that says: busy
        self.progress.setValue(step)
        self.left.setText(sentence)
        self.progress.setVisible(True)
        self.left.setVisible(True)

    def hide(self) -> None:
        """No job is running."""
        self.preview.clear()
        self.progress.setVisible(False)
        self.left.setVisible(False)

    def onEvent(self, event: Mapping[str, Any]) -> None:
        """What the worker tells."""
        kind = event.get("event")
        if kind == "progress":
            self.show(describe.progress(event), event["step"], event["of"])
        elif kind == "preview":
            self.preview.show(event)
        elif kind == "warning":
            self.say(event["message"])
        elif kind == "ready":
            self.show(_("Loading the model…"))
        elif kind == "log":
            self.log(event["text"])

    def say(self, sentence: str) -> None:
        """A sentence in the status line and in the log."""
        self.status.say(sentence)
        self.log(sentence)

    def fail(self, sentence: str) -> None:
        """What went wrong."""
        self.problem.say(sentence)
        self.log(sentence)

    def log(self, sentence: str) -> None:
        """A line in the log."""
        self.lines.appendPlainText(f"{time.strftime('%H:%M:%S')}  {sentence}")
