"""Watching VTK objects from a Qt widget without keeping the widget alive or calling a dead one."""

from __future__ import annotations

import weakref
from typing import Any

import shiboken6
import vtk

from .. import reports


class Watch:
    """The observers of one widget; gone with `stop` or with the widget."""

    def __init__(self, owner: Any) -> None:
        self._owner = weakref.ref(owner)
        self._tags: list[tuple[Any, int]] = []

    def add(self, subject: Any, event: Any, method: str) -> None:
        """Calls the owner's `method()` on an event; its exceptions are reported."""

        def call(caller: Any, name: str) -> None:
            owner = self._owner()
            if owner is None or not shiboken6.isValid(owner):
                self.stop()
            else:
                reports.guarded(getattr(owner, method), f"{type(owner).__name__}.{method}")

        self._tags.append((subject, subject.AddObserver(event, call)))

    def stop(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


SCENE_EVENTS = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndImportEvent", "EndCloseEvent")
MODIFIED = vtk.vtkCommand.ModifiedEvent
