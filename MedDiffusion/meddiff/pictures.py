"""Figures of slices side by side, on black, drawn without a window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INK, PAPER, LINE = "#e6e6e6", "#101014", "#4ade80"


@dataclass(frozen=True)
class Panel:
    """A slice (Y, X), what stands above and below it, its range, the label of its colour bar (none: grey), and a
    mask whose outline is drawn."""

    image: np.ndarray
    title: str
    caption: str
    top: float
    bar: str | None = None
    outline: np.ndarray | None = None


def draw(panels: Sequence[Panel], title: str, path: Path, rows: int = 2) -> Path:
    """Write the panels, column by column, as a PNG file, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = -(-len(panels) // rows)
    height, width = panels[0].image.shape
    size = (3.4 * columns + 0.8, rows * (3.4 * height / width + 0.6) + 0.5)
    layout = ConstrainedLayoutEngine(h_pad=0.08, compress=True)
    figure = Figure(figsize=size, dpi=120, facecolor=PAPER, layout=layout)
    figure.suptitle(title, color=INK, fontsize=13)
    axes = figure.subplots(rows, columns, squeeze=False).ravel("F")
    for axis, panel in zip(axes, panels, strict=False):
        shown = axis.imshow(panel.image, cmap="inferno" if panel.bar else "gray", vmin=0, vmax=panel.top)
        if panel.outline is not None and panel.outline.any():
            axis.contour(panel.outline, levels=[0.5], colors=LINE, linewidths=0.9)
        axis.set_title(panel.title, color=INK, fontsize=12)
        axis.set_xlabel(panel.caption, color=INK, fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if panel.bar:
            bar = figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.03)
            bar.set_label(panel.bar, color=INK, fontsize=9)
            bar.ax.tick_params(colors=INK, labelsize=8)
            bar.outline.set_visible(False)
    for axis in axes[len(panels) :]:
        axis.remove()
    part = path.with_name(path.name + ".part")
    try:
        FigureCanvasAgg(figure).print_png(str(part))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
