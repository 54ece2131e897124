"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import BadInput


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a `.part` file beside `path` to write into, and renames it at the end; raises BadInput for a full disk or a
    folder that cannot be written, and leaves nothing half-written behind."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; choose another place, or make room") from error
    finally:
        with suppress(OSError):  # the folder itself may be missing, or be a file
            part.unlink(missing_ok=True)
