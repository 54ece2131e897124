"""What went wrong or came up where no test could see it: exceptions in slots and observers, messages, dialogs."""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from PySide6 import QtCore


@dataclass(frozen=True)
class SlotError:
    """An exception that Slicer would print and forget: of a slot, an observer, a virtual method."""

    error: BaseException
    where: str

    @property
    def text(self) -> str:
        return "".join(traceback.format_exception(self.error))

    def __str__(self) -> str:
        return f"{self.where}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True)
class Message:
    """A call of slicer.util's infoDisplay, warningDisplay, errorDisplay or confirm...Display."""

    level: str  # "INFO", "WARNING" or "ERROR"
    text: str
    detailed: str = ""


@dataclass(frozen=True)
class Dialog:
    """A modal dialog that came up, and what it was answered."""

    kind: str  # the class, or for a static function its name: "QFileDialog.getOpenFileName"
    title: str
    text: str
    answer: Any


slot_errors: list[SlotError] = []
messages: list[Message] = []
dialogs: list[Dialog] = []
status: list[str] = []
opened: list[str] = []  # addresses and files that were to be opened in a browser
warnings: list[str] = []  # what Qt warned of
answers: deque[Any] = deque()


def clear() -> None:
    """Forgets all, unused answers too."""
    for record in (slot_errors, messages, dialogs, status, opened, warnings):
        record.clear()
    answers.clear()


def slot_error(error: BaseException, where: str) -> None:
    """Keeps the exception and prints it, as PythonQt does."""
    slot_errors.append(SlotError(error, where))
    sys.stderr.write(f"in {where}:\n")
    traceback.print_exception(error)


def guarded(function: Callable[..., Any], where: str, *args: Any) -> Any:
    """Calls `function`; an exception is kept and printed instead of raised."""
    try:
        return function(*args)
    except Exception as error:
        slot_error(error, where)
        return None


def catch_hooks() -> None:
    """Has the exceptions that VTK and Qt print themselves (observers, virtual methods, timers) kept here as well.

    Called before every test: command lines (typer) put a hook of their own in its place.
    """
    sys.excepthook = _hook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    slot_errors.append(SlotError(error.with_traceback(trace), "an observer or a virtual method"))
    sys.__excepthook__(kind, error, trace)  # never the hook before: typer's hook may end in this one


NOISE = ("This plugin does not support propagateSizeHints",)


def catch_warnings() -> None:
    """Keeps and prints what Qt warns of, less what only the off-screen platform says."""

    def handle(kind: QtCore.QtMsgType, _context: Any, text: str) -> None:
        if kind in (QtCore.QtMsgType.QtDebugMsg, QtCore.QtMsgType.QtInfoMsg) or text.startswith(NOISE):
            return
        warnings.append(text)
        sys.stderr.write(f"Qt: {text}\n")

    QtCore.qInstallMessageHandler(handle)


def answer(kind: str, title: str, text: str, default: Any) -> Any:
    """The next answer that the test prepared, else `default`; the dialog is recorded either way."""
    value = answers.popleft() if answers else default
    dialogs.append(Dialog(kind, title, text, value))
    return value
