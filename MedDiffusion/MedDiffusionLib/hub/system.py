"""This computer as the worker process sees it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from .. import install
from ..process import Worker

PATIENCE = 90.0  # s: torch is slow to load for the first time


def ask() -> Worker:
    """A worker that has been asked what it has to compute with; it answers by an event `system`."""
    worker = Worker()
    worker.start()
    worker.send({"describe": True})
    return worker


def rows(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The answer of the worker as lines of a table."""
    found = [(_("MedDiffusion"), str(told.get("meddiff") or _("not found")))]
    found.append((_("PyTorch"), str(told.get("torch") or _("not installed"))))
    found.append((_("Python"), str(told.get("python", ""))))
    return found + [(str(device["title"]), device_text(device)) for device in told.get("devices", ())]


def device_text(device: Mapping[str, Any]) -> str:
    """Whether a device computes, and how much memory it has."""
    if not device.get("works", False):
        return _("cannot be used: {why}").format(why=device.get("why") or _("no reason given"))
    memory, free = (device.get(name, 0) / 2**30 for name in ("memory", "free"))
    if not memory:
        return _("works")
    text = _("works, {memory:.1f} GB of memory, {free:.1f} GB free") if free else _("works, {memory:.1f} GB of memory")
    return text.format(memory=memory, free=free)


def conclusion(told: Mapping[str, Any]) -> str:
    """On which device jobs run, and what could be better."""
    before = bool(told.get("torch")) + len(told.get("devices") or ())  # sentences about what the table shows
    return " ".join(install.sentences(told)[before:])
