"""A host for Slicer modules in tests: real MRML (slicer-core), real Qt (PySide6), no Slicer application.

`host.start()` installs `qt`, `ctk` and `slicer` as an extension of Slicer finds them. Every name of a CTK or Slicer Qt
class that is not in `contract.json` raises, and so does what Qt 5 does not have. With `SLICER_SOURCE=<folder>` the host
takes Slicer's own Python files instead of its stand-ins.
"""

from __future__ import annotations

from .session import Host, Module
from .starting import start

__all__ = ["Host", "Module", "start"]
