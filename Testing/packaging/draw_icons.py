"""Draws the icons of the extension and its modules: SVG by code, and PNG of 128 pixels rendered from them by Qt.

    python Testing/packaging/draw_icons.py

One family: a brain seen from above on a dark tile, and noise that turns into it. Only what SVG Tiny knows is used (no
masks, clips or filters), since Slicer's Qt draws nothing else.
"""

from __future__ import annotations

import math
import os
import random
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZE = 128
LIGHT, DARK = "#eef6f7", "#12283f"
ACCENTS = {"mark": "#63d2c6", "recon": "#63d2c6", "segment": "#a5dc6a", "register": "#f6c453", "anomaly": "#ff8168"}

Point = tuple[float, float]


def brain(cx: float = 64, cy: float = 65, scale: float = 1.0, turn: float = 0.0, count: int = 240) -> list[Point]:
    """The outline of a brain from above: an oval, narrower in front, with rounded folds and a notch at each pole."""
    points = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        across, along = math.sin(angle), math.cos(angle)  # starts in front, goes round clockwise
        half_turn = math.acos(along)  # 0 in front, pi at the back, the same on both sides
        fold = 0.965 + 0.05 * math.sqrt(abs(math.sin(6.28 * half_turn + 0.10)))
        notch = 1 - 0.10 * math.exp(-((across / 0.10) ** 2))
        x = 41.5 * (1 - 0.08 * along) * across * fold * scale
        y = -49 * along * fold * notch * scale
        points.append((cx + x * math.cos(turn) - y * math.sin(turn), cy + x * math.sin(turn) + y * math.cos(turn)))
    return points


# Furrows of the right half, as cubic curves in the coordinates of the tile; the left half mirrors them.
FURROWS = (
    ((73, 36), (80, 32), (80, 42), (88, 37)),
    ((83, 54), (79, 46), (88, 44), (94, 50)),
    ((71, 60), (80, 57), (84, 68), (99, 62)),
    ((72, 78), (79, 72), (82, 82), (95, 77)),
    ((73, 94), (79, 89), (81, 97), (87, 92)),
)


def inside(point: Point, polygon: list[Point]) -> bool:
    """Whether the point lies in the polygon."""
    x, y = point
    odd = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            odd = not odd
    return odd


def column(x: float, polygon: list[Point], inset: float) -> tuple[float, float] | None:
    """Where the vertical line at x enters and leaves the polygon, `inset` inside its edge."""
    cuts = sorted(
        y1 + (y2 - y1) * (x - x1) / (x2 - x1)
        for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True)
        if (x1 > x) != (x2 > x)
    )
    return (cuts[0] + inset, cuts[-1] - inset) if len(cuts) > 1 and cuts[-1] - cuts[0] > 2 * inset else None


def path(points: list[Point], closed: bool = True, **style: object) -> str:
    """A polygon or a line through points."""
    text = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")
    return f'<path d="{text}"{attributes(style)}/>'


def dot(x: float, y: float, radius: float, fill: str, opacity: float = 1.0) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.2f}"{attributes({"fill": fill, "fill_opacity": opacity})}/>'


def line(x1: float, y1: float, x2: float, y2: float, **style: object) -> str:
    """A straight line with round ends."""
    where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {where} stroke-linecap="round"{attributes(style)}/>'


def attributes(style: dict[str, object]) -> str:
    """Keyword arguments as attributes of SVG; an opacity of 1 goes without saying."""
    made = ""
    for key, value in style.items():
        if not (key.endswith("opacity") and value == 1):
            made += f' {key.replace("_", "-")}="{f"{value:.2f}" if isinstance(value, float) else value}"'
    return made


def furrows(sides: Sequence[int], curves: Sequence[Sequence[Point]] = FURROWS) -> list[str]:
    """The furrows of one half or both."""
    style = {"fill": "none", "stroke": DARK, "stroke_width": 3.2, "stroke_linecap": "round"}
    made = []
    for side in sides:
        for curve in curves:
            (a, b), *rest = [(64 + side * (x - 64), y) for x, y in curve]
            controls = " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)
            made.append(f'<path d="M{a:.1f} {b:.1f}C{controls}"{attributes(style)}/>')
    return made


def half(polygon: list[Point], side: int, gap: float = 0) -> list[Point]:
    """The half of a polygon right (1) or left (-1) of the middle of the tile, `gap` away from it."""
    edge = 64 + side * gap
    return [(max(x, edge), y) if side > 0 else (min(x, edge), y) for x, y in polygon]


def moved(point: Point, turn: float, by: Point, around: Point) -> Point:
    """A point turned around another, then shifted."""
    x, y = point[0] - around[0], point[1] - around[1]
    c, s = math.cos(turn), math.sin(turn)
    return around[0] + c * x - s * y + by[0], around[1] + s * x + c * y + by[1]


def ticks(count: int) -> list[float]:
    """Angles once round the circle."""
    return [2 * math.pi * i / count for i in range(count)]


def spaced(points: list[Point], step: float) -> list[Point]:
    """Points along a line through points, `step` apart."""
    made, left = [], 0.0
    for a, b in pairwise(points):
        length = math.dist(a, b)
        while left < length:
            share = left / length
            made.append((a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share))
            left += step
        left -= length
    return made


def grain(polygon: list[Point], seed: int, start: float, end: float, step: float, colour: str) -> list[str]:
    """Noise: dots on a grid that is more and more in order from `start` to `end` (x), and lies in the polygon there."""
    rng = random.Random(seed)
    made = []
    y = 14.0
    while y < 116:
        x = 12.0
        while x < end:
            order = min(max((x - start) / (end - start), 0), 1)
            stray = (1 - order) ** 1.3 * 9
            px, py = x + rng.gauss(0, stray), y + rng.gauss(0, stray)
            home = inside((px, py), polygon)
            chance = 1 if home else 0
            if not home and 11 < px < end and 11 < py < 117:
                away = min(math.dist((px, py), q) for q in polygon)
                chance = (1 - order) * math.exp(-((away / 9) ** 2)) * 0.75
            if rng.random() < chance:
                radius = step * (0.16 + 0.24 * order) * rng.uniform(0.8, 1.2)
                made.append(dot(px, py, radius, colour, 0.45 + 0.55 * order))
            x += step
        y += step
    return made


def tile(body: list[str], title: str) -> str:
    """A whole icon: the dark tile with rounded corners, and what is on it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">',
            f"<title>{title}</title>",
            '<defs><linearGradient id="tile" x1="0" y1="0" x2="0" y2="1">',
            '<stop offset="0" stop-color="#24486a"/><stop offset="1" stop-color="#10253b"/></linearGradient></defs>',
            '<rect x="2" y="2" width="124" height="124" rx="27" fill="url(#tile)"/>',
            *body,
            "</svg>\n",
        ]
    )


def right_half() -> list[str]:
    """What all icons of reconstruction-like results share: the right half of the brain, furrowed."""
    return [path(half(brain(), 1, gap=2), fill=LIGHT), *furrows(sides=(1,))]


def mark() -> list[str]:
    """The mark of the family: noise on the left that turns into a brain on the right."""
    return [*grain(brain(), seed=SEED, start=14, end=62, step=7.0, colour=ACCENTS["mark"]), *right_half()]


def hub() -> list[str]:
    """A shelf of models, one tint for each task, beside the half brain."""
    tints = ("recon", "segment", "register", "anomaly", "recon", "segment")
    shelf = []
    for i, tint in enumerate(tints):
        x, y = 18 + 22 * (i % 2), 31 + 24 * (i // 2)
        shelf.append(f'<rect x="{x}" y="{y}" width="18" height="20" rx="5" fill="{ACCENTS[tint]}"/>')
    return [*shelf, *right_half()]


def recon() -> list[str]:
    """The sparse lines of a fast scan on the left, the image that they belong to on the right."""
    lines = []
    for x in (27, 36, 46.5, 53, 59.5):
        if cut := column(x, brain(), inset=3):
            lines.append(line(x, cut[0], x, cut[1], stroke=ACCENTS["recon"], stroke_width=4))
    return [*lines, *right_half()]


def segment() -> list[str]:
    """The image on the left, its regions on the right."""
    made = [path(half(brain(), -1, gap=2), fill=LIGHT), *furrows(sides=(-1,))]
    edge = half(brain(), 1, gap=2)
    bands = ((0, 45, "#d6f3ad"), (49, 82, ACCENTS["segment"]), (86, 128, "#6cbf5f"))
    for top, bottom, colour in bands:
        waves = [(x, y, 3.5 * math.sin((x - 66) / 8)) for x, y in edge]
        made.append(path([(x, min(max(y, top + wave), bottom + wave)) for x, y, wave in waves], fill=colour))
    return made


def register() -> list[str]:
    """A half that has slipped, and the dotted place where it belongs."""
    place = [point for point in brain() if point[0] < 61]
    slipped = [moved(point, turn=0.17, by=(-4, 6), around=(45, 65)) for point in half(brain(scale=0.88), -1, gap=3)]
    dots = [dot(x, y, 2.3, LIGHT, 0.85) for x, y in spaced(place, 8.2)]
    return [*dots, path(slipped, fill=ACCENTS["register"]), *right_half()]


def anomaly() -> list[str]:
    """A brain in which one spot stands out."""
    made = [path(half(brain(), side, gap=2), fill=LIGHT) for side in (-1, 1)]
    spot = []
    for angle in ticks(60):
        radius = 12.5 + 1.6 * math.sin(3 * angle + 1)
        spot.append((83 + radius * math.cos(angle), 65 + radius * math.sin(angle)))
    ring = [(83 + (x - 83) * 1.33, 65 + (y - 65) * 1.33) for x, y in spot]
    made += furrows(sides=(-1,)) + furrows(sides=(1,), curves=(FURROWS[0], FURROWS[-1]))
    return [*made, path(ring, fill=DARK), path(spot, fill=ACCENTS["anomaly"])]


SEED = 7
ICONS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "docs/images/MedDiffusion": ("MedDiffusion", mark),
    "MedDiffusion/Resources/Icons/MedDiffusion": ("MedDiffusion", hub),
    "DiffusionRecon/Resources/Icons/DiffusionRecon": ("Diffusion Recon", recon),
    "DiffusionSegment/Resources/Icons/DiffusionSegment": ("Diffusion Segment", segment),
    "DiffusionRegister/Resources/Icons/DiffusionRegister": ("Diffusion Register", register),
    "DiffusionAnomaly/Resources/Icons/DiffusionAnomaly": ("Diffusion Anomaly", anomaly),
}


def main(folder: Path = ROOT) -> None:
    """Write each icon as SVG and as PNG below `folder`."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import QByteArray
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    _app = QGuiApplication.instance() or QGuiApplication([])
    for name, (title, draw) in ICONS.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = tile(draw(), title)
        target.with_suffix(".svg").write_text(text, encoding="utf-8", newline="\n")
        image = QImage(SIZE, SIZE, QImage.Format.Format_ARGB32)
        image.fill(0)
        painter = QPainter(image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        QSvgRenderer(QByteArray(text.encode())).render(painter)
        painter.end()
        image.save(str(target.with_suffix(".png")))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
