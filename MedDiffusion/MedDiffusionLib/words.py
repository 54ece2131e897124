"""Sentences in the user's language, for modules that must also work where there is no Slicer."""

from __future__ import annotations

import sys


def _(text: str) -> str:
    """The text as Slicer translates it; as it is where Slicer is not running."""
    i18n = sys.modules.get("slicer.i18n")
    return text if i18n is None else i18n.tr(text)
