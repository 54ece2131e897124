"""What translation and inpainting share, which change a volume that is there: whether a model suits it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from meddiff.volume import Volume

from .. import choices, segmenting, suitability
from ..cards import ModelInfo


def guess(name: str, contrasts: Collection[str]) -> str:
    """Which of the contrasts a volume of this name shows; empty where its name does not say.

    A T1 after contrast medium (T1c, T1ce, T1-Gd) is another contrast than T1; of "t2_flair" it is the FLAIR.
    """
    after = r"(?![0-9]|[-_ ]?(C|CE|GD)(?![A-Z0-9])|[-_ ]?POST)"
    for contrast in sorted(contrasts, key=len, reverse=True):
        if re.search(rf"(?<![A-Z0-9]){re.escape(contrast.upper())}{after}", name.upper()):
            return contrast
    return ""


def unfit(model: ModelInfo | None, grid: Volume | None) -> list[str]:
    """Why nothing can be seen in a volume; a sentence, or none."""
    small = "" if model is None or grid is None else segmenting.too_small(model, grid)
    return [small] if small else []


def warning(model: ModelInfo | None, grid: Volume | None, node: Any) -> str | None:
    """Why the result may be of little use, or what will be done to the volume; None where nothing is known."""
    if model is None or grid is None:
        return None
    found = segmenting.warning(model, grid, choices.some_values(node))
    bare = model.anatomy == "brain" and model.modality == "MR"
    head = suitability.head_warning() if bare and suitability.has_skull(node, "axial") else None
    return "; ".join(filter(None, (found, head))) or None


def seen(model: ModelInfo, grid: Volume) -> tuple[int, ...]:
    """Voxels (Z, Y, X) of a volume on the grid that the network sees."""
    return tuple(count for _spacing, count in segmenting.sizes(model, grid))[::-1]
