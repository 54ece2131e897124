"""Where things lie on this machine: the user's folder and the folders of models. Needs the standard library alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

CARD = "model.json"
WEIGHTS = "weights.safetensors"


def home() -> Path:
    """The user's data folder, where this platform keeps such things; `MEDDIFF_HOME` overrides it."""
    if given := os.environ.get("MEDDIFF_HOME"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "MedDiffusion")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MedDiffusion"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "meddiffusion")


def installed() -> Path:
    """The folder that `meddiff models install` fills."""
    return home() / "models"


def search_path() -> list[Path]:
    """Folders of models, first match wins: `MEDDIFF_MODELS`, the user's, those that came with the package."""
    given = os.environ.get("MEDDIFF_MODELS", "").split(os.pathsep)
    package = Path(__file__).resolve().parent.parent
    shipped = [package / "Resources" / "Models", package / "meddiff_models"]  # source tree and Slicer; site-packages
    return [*(Path(entry).expanduser() for entry in given if entry), installed(), *shipped]


def model_folders() -> Iterator[Path]:
    """Every folder with a card, in the order of the search path, which may also name a model itself."""
    for root in search_path():
        alone = (root / CARD).is_file()
        children = [root] if alone else sorted(root.iterdir()) if root.is_dir() else []
        for folder in children:
            if not folder.name.startswith(".") and (folder / CARD).is_file():  # hidden ones are being installed
                yield folder
