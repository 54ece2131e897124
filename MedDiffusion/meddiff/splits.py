"""Which images of a data folder may be learnt from, and which are kept to measure on: its manifest says so."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import BadInput

MANIFEST = "manifest.csv"  # in the data folder: a line of names, among them file and split


def files_of(data: Path, split: str) -> list[str]:
    """The files of a split (train or test), sorted, relative to the data folder; raises BadInput without a manifest."""
    manifest = data / MANIFEST
    if not manifest.is_file():
        raise BadInput(f"{manifest} is missing; it names the split (train or test) of every file")
    with manifest.open(newline="", encoding="utf-8") as file:
        return sorted(row["file"] for row in csv.DictReader(file) if row["split"] == split)
