"""The processors of this machine by name, asked of a worker process, because only the engine knows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from .runner import Worker

PATIENCE = 60.0  # s: the first import of torch is slow on a cold disk


class DeviceList:
    """What can be chosen; `ask` completes it in the background, once a session."""

    _found: tuple[tuple[str, str], ...] = ()  # (title, name), shared by all panels

    def __init__(self, onFound: Callable[[], None]) -> None:
        self._onFound = onFound
        self.makeWorker: Callable[[], Worker] = Worker
        self._worker: Worker | None = None
        self._until = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(100)
        self._timer.connect("timeout()", self._tick)

    def items(self, chosen: str = "auto") -> list[tuple[str, str]]:
        """(title, name) of each device; one that was chosen elsewhere stays on the list."""
        items = [(_("Automatic: the fastest"), "auto"), *(DeviceList._found or ((_("CPU"), "cpu"),))]
        return items if chosen in {name for _title, name in items} else [*items, (chosen, chosen)]

    def ask(self) -> None:
        """Ask the engine, unless it has answered before; the answer comes by `onFound`."""
        if DeviceList._found or self._worker is not None:
            return
        self._worker = self.makeWorker()
        self._until = time.monotonic() + PATIENCE
        try:
            self._worker.start()
        except OSError:  # a job will say why; the list stays as it is
            self._worker = None
            return
        self._worker.send({"describe": True})
        self._timer.start()

    def close(self) -> None:
        """Ask no more."""
        self._timer.stop()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop(0)  # it has nothing to lose, and the window waits

    def _tick(self) -> None:
        if self._worker is None:
            return
        for event in self._worker.poll():
            if event.get("event") == "system":
                DeviceList._found = tuple(_device(device) for device in event["devices"])
                self.close()
                return self._onFound()
        if not self._worker.running or time.monotonic() > self._until:
            self.close()
        return None


def _device(device: Mapping[str, Any]) -> tuple[str, str]:
    """The title, with what memory it has, or why it cannot be used."""
    title = device["title"]
    if not device.get("works", True):
        return _("{device} (cannot be used: {why})").format(device=title, why=device.get("why", "")), device["name"]
    memory = device.get("memory")
    return (f"{title}, {memory / 1e9:.0f} GB" if memory else title), device["name"]
