"""What MedDiffusion keeps on this disk, and how to get rid of what is left over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from meddiff.places import home, installed

JOB_FOLDERS = "MedDiffusion-*"  # in Slicer's temporary folder: inputs and results on their way
HALF_DONE = (".install-*", ".remove-*")  # among the models: what an interrupted command leaves
REST = 24 * 3600.0  # seconds; what has lain still for a day belongs to nobody, not even to another Slicer


@dataclass(frozen=True)
class Place:
    """A folder that we use: what for, where, and how much is in it."""

    title: str
    folder: Path
    bytes: int


def places() -> list[Place]:
    """All folders that we write to."""
    temporary = Path(slicer.app.temporaryPath)
    jobs = sum(weight(folder) for folder in temporary.glob(JOB_FOLDERS))
    return [
        Place(_("Installed models"), installed(), weight(installed())),
        Place(_("Settings and measured speeds"), home(), weight(home()) - weight(installed())),
        Place(_("Files of jobs, while they run"), temporary, jobs),
    ]


def weight(folder: Path) -> int:
    """Bytes in a folder; what vanishes meanwhile weighs nothing."""
    return sum(_size(path) for path in folder.rglob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:
        return 0


def leftovers(now: float | None = None) -> list[Path]:
    """Folders of jobs and commands that were cut off, in which nothing has changed for a day."""
    now = time.time() if now is None else now
    found = [*Path(slicer.app.temporaryPath).glob(JOB_FOLDERS)]
    for pattern in HALF_DONE:
        found += installed().glob(pattern)
    return sorted(folder for folder in found if folder.is_dir() and now - _touched(folder) > REST)


def _touched(folder: Path) -> float:
    """When something in a folder changed last."""
    return max(_times(folder), default=0.0)


def _times(folder: Path) -> Iterator[float]:
    for path in (folder, *folder.rglob("*")):
        try:
            yield path.lstat().st_mtime
        except OSError:
            continue


def clean(folders: Sequence[Path]) -> int:
    """Delete these folders, of those that `leftovers` names; returns how many bytes are free again."""
    free = 0
    for folder in set(folders) & set(leftovers()):
        before = weight(folder)
        shutil.rmtree(folder, ignore_errors=True)
        free += before - (weight(folder) if folder.exists() else 0)
    return free
