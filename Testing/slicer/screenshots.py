"""Draws the pictures of the documentation: panels (Qt) and results (Slicer's own slice views), without a screen.

    python Testing/slicer/screenshots.py [--output docs/images] [--only NAME ...] [--list]

A picture is a function that takes the host and the path to write: `picture("name")` registers it. Results are in
`pictures_results.py`, panels in `pictures_panels.py` and `pictures_hub.py`, those of the
tutorial in `pictures_tutorial.py`, those of Diffusion Anomaly in `pictures_anomaly.py`, of Diffusion Segment in
`pictures_segment.py`, of Diffusion Register in `pictures_register.py`, of the tabs that make images in
`pictures_making.py`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROOMS = (
    "pictures_results",
    "pictures_panels",
    "pictures_hub",
    "pictures_making",
    "pictures_tutorial",
    "pictures_anomaly",
    "pictures_segment",
    "pictures_register",
)
Draw = Callable[[Any, Path], Any]
PICTURES: dict[str, Draw] = {}


def picture(name: str) -> Callable[[Draw], Draw]:
    """Registers a function that draws `<output>/<name>.png`; a name with a slash starts at the repository's root."""

    def register(draw: Draw) -> Draw:
        if name in PICTURES:
            raise ValueError(f"two pictures are named {name}")
        PICTURES[name] = draw
        return draw

    return register


def place(name: str, output: Path) -> Path:
    return (ROOT if "/" in name else output) / f"{name}.png"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these pictures alone")
    parser.add_argument("--list", action="store_true", help="say which pictures there are")
    chosen = parser.parse_args(arguments)
    sys.path[:0] = [str(folder) for folder in (HERE, ROOT / "MedDiffusion")]
    # The decorator of the rooms is in the module `screenshots`, which this file is not when it is run by its path
    pictures = importlib.import_module("screenshots").PICTURES
    for room in ROOMS:
        importlib.import_module(room)
    if unknown := set(chosen.only or ()) - set(pictures):
        parser.error(f"no picture is named {', '.join(sorted(unknown))}; known: {', '.join(pictures)}")
    if chosen.list:
        sys.stdout.write("\n".join(pictures) + "\n")
        return 0
    import host

    application = host.start()
    for name in chosen.only or pictures:
        began = time.monotonic()
        application.reset()
        path = place(name, chosen.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[name](application, path)
        sys.stdout.write(f"{path} ({path.stat().st_size // 1024} KiB, {time.monotonic() - began:.1f} s)\n")
        sys.stdout.flush()
    application.reset()
    return 0


if __name__ == "__main__":
    sys.exit(main())
