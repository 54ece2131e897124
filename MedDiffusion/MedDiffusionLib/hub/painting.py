"""What translation and inpainting share, which change a volume that is there: whether a model suits it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from meddiff.domain import knows_no_skull

from .. import choices, segmenting, suitability
from ..cards import ModelInfo
from ..logic import DiffusionLogic


def guess(name: str, contrasts: Collection[str]) -> str:
    """Which of the contrasts a volume of this name shows; empty where its name does not say.

    A T1 after contrast medium (T1c, T1ce, T1-Gd) is another contrast than T1; of "t2_flair" it is the FLAIR.
    """
    after = r"(?![0-9]|[-_ ]?(C|CE|GD)(?![A-Z0-9])|[-_ ]?POST)"
    for contrast in sorted(contrasts, key=len, reverse=True):
        if re.search(rf"(?<![A-Z0-9]){re.escape(contrast.upper())}{after}", name.upper()):
            return contrast
    return ""


class PaintingLogic(DiffusionLogic):
    """A task that changes a volume."""

    def problems(self, arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
        """What of a task's own is not told yet, or cannot be; a sentence each."""
        raise NotImplementedError

    def missingInputs(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is to be chosen and said, and a volume in which nothing can be seen."""
        model = self.model(arguments["model"])
        if found := super().missingInputs(arguments) + self.problems(arguments, model):
            return found
        grid = self._grid(arguments)
        small = "" if model is None or grid is None else segmenting.too_small(model, grid)
        return [small] if small else []

    def warning(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the result may be of little use, or what will be done to the volume; None where nothing is known."""
        model, grid, node = self.model(arguments["model"]), self._grid(arguments), self.source(arguments)
        if model is None or grid is None:
            return None
        found = segmenting.warning(model, grid, choices.some_values(node))
        bare = knows_no_skull(model.anatomy, model.task, model.dims)
        head = suitability.head_warning() if bare and suitability.has_skull(node, "axial") else None
        return "; ".join(filter(None, (found, head))) or None
