"""Translation without a window: one contrast of a body from others of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from .. import catalogue, choices, segmenting, words
from ..cards import ModelInfo
from ..choices import call_arguments
from ..roles import CommonParameters, InputRole, OutputRole
from . import translating
from .painting import PaintingLogic
from .translating import CHANNELS, CONTRASTS


@parameterNodeWrapper
class MedDiffusionTranslateParameterNode(CommonParameters):
    """
    The parameters of the tab, beside those of all tasks.

    inputVolume, inputVolume2, inputVolume3 - volumes of one place, each in another contrast.
    contrast, contrast2, contrast3 - what each of them shows, a contrast of the model.
    target - the contrast that is wanted.
    reference - a volume in that contrast, which the result is compared with.
    """

    wanted: str = "uncertainty,figures"
    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    contrast: str = ""
    contrast2: str = ""
    contrast3: str = ""
    target: str = ""
    reference: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    outputUncertainty: vtkMRMLScalarVolumeNode
    outputSample: vtkMRMLScalarVolumeNode
    outputFigures: vtkMRMLTableNode


class MedDiffusionTranslateLogic(PaintingLogic):
    """Translation without a window."""

    TASK = "translate"
    ParameterNode = MedDiffusionTranslateParameterNode

    def process(
        self,
        inputVolume: vtkMRMLScalarVolumeNode | None,
        *,
        contrast: str | None = None,
        target: str | None = None,
        inputVolume2: vtkMRMLScalarVolumeNode | None = None,
        contrast2: str | None = None,
        inputVolume3: vtkMRMLScalarVolumeNode | None = None,
        contrast3: str | None = None,
        reference: vtkMRMLScalarVolumeNode | None = None,
        model: str = "",
        method: str = "",
        preset: str = "balanced",
        parameters: Mapping[str, Any] | None = None,
        samples: int = 4,
        seed: int = 0,
        device: str = "auto",
        batch: int = 8,
        wanted: Sequence[str] | None = None,
        outputVolume: vtkMRMLScalarVolumeNode | None = None,
        outputUncertainty: vtkMRMLScalarVolumeNode | None = None,
        outputSample: vtkMRMLScalarVolumeNode | None = None,
        outputFigures: vtkMRMLTableNode | None = None,
        showResult: bool = False,
        onEvent: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """
        Make one contrast of a body from others. Blocks until the results are there.

        Can be used without GUI widget.
        :param inputVolume: the volume to translate; the result lies on its grid, in its units
        :param contrast: what it shows, a contrast of the model such as "T1"
        :param target: the contrast that is wanted
        :param inputVolume2: the same place in a second contrast, on any grid, under any transform; and a third
        :param contrast2: what the second shows
        :param reference: a volume in the wanted contrast: makes the output "figures"
        :param model: id of an installed model, or its folder; empty takes the first that fits the task
        :param method: name of a method, as `meddiff methods` lists them; empty takes the first that fits the model
        :param preset: "fast", "balanced" or "best"
        :param parameters: settings of the method in place of the preset's
        :param samples: images to draw; the result is their mean, and the uncertainty their standard deviation
        :param seed: the same seed gives the same voxels
        :param device: "auto", "cpu", "cuda", "cuda:1", ...
        :param batch: slices at a time; halved when memory runs out
        :param wanted: outputs to make beside "translated": "uncertainty", "sample" (one that is drawn, as sharp as an
            image is), "figures"; None makes the first and the last
        :param outputVolume: node to fill, as the other outputs; a new one is made if it is not given
        :param showResult: show the result in the slice views, if there are any
        :param onEvent: called with the worker's events: progress, preview, warning
        :return: the output nodes by name
        :raises BadInput: the input, or a setting, cannot be used, or no method or model for this task is installed
        :raises JobFailed: the worker could not finish
        """
        return self.run(self.withDefaults(call_arguments(locals())), show=showResult, onEvent=onEvent)

    # What the task is

    def inputs(self) -> tuple[InputRole, ...]:
        """Volumes of one place, and perhaps the true one."""
        return translating.inputs()

    def outputs(self) -> tuple[OutputRole, ...]:
        """The volume in the other contrast, and where it is unsure."""
        return translating.outputs()

    def outputsOf(self, arguments: Mapping[str, Any]) -> tuple[OutputRole, ...]:
        """The same, called after the contrast."""
        target, (image, spread, sample, figures) = arguments["target"], self.outputs()
        return (
            replace(image, title=_("as {contrast}").format(contrast=target)),
            replace(spread, title=_("uncertainty as {contrast}").format(contrast=target)),
            replace(sample, title=_("sample as {contrast}").format(contrast=target)),
            figures,
        )

    def requirement(self) -> str:
        """What the task needs to be ready."""
        return _("No method for translation is installed; install the extension MedDiffusion again.")

    def advice(self) -> str:
        """Which method to take."""
        return _(words.TRANSLATE_ADVICE)

    def remark(self, made: Mapping[str, Any], figures: Mapping[str, float]) -> str:
        """How near a reference it came."""
        return translating.remark(figures)

    # From the panel to a job

    def arguments(self, parameterNode: Any) -> dict[str, Any]:
        """The arguments of `process` that the panel's parameters stand for: what it does not show is not among them."""
        found = super().arguments(parameterNode)
        model = self.model(found["model"])
        shown = translating.rows(model)
        found["target"] = parameterNode.target or None
        for number, (channel, contrast) in enumerate(zip(CHANNELS, CONTRASTS, strict=True)):
            found[channel] = found[channel] if number < shown else None
            found[contrast] = (getattr(parameterNode, contrast) or None) if found[channel] is not None else None
        return found

    def options(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the job."""
        return super().options(arguments) | {name: arguments[name] for name in ("target", *CONTRASTS)}

    def problems(self, arguments: Mapping[str, Any], model: ModelInfo | None) -> list[str]:
        """What is not told yet, or cannot be."""
        return translating.problems(arguments, model)

    def cost(self, arguments: Mapping[str, Any]) -> catalogue.Cost | None:
        """Time and memory that the job will take, on the grid that the network sees."""
        model, recipe = self.chosen(arguments)
        grid = self._grid(arguments)
        if model is None or recipe is None or grid is None:
            return None
        samples = 1 if recipe.part else arguments["samples"]  # of one pass all are the same
        return choices.cost(model, recipe, {**arguments, "samples": samples}, segmenting.seen(model, grid))
